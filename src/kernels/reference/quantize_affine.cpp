// Q2_K, Q4_K, Q5_K: y = (d * scale) * q - (dmin * min) with small integers scale and min a group, d
// and dmin a super-block.
//
// Minimises the weighted squared error in two steps. (1) Each group alone with a real scale and
// minimum: candidates for the scale, each followed by the least-squares scale and minimum of its
// codes. (2) All groups together: d and dmin are set for the largest scale and minimum, each group
// takes the best of the integer scales around its own (with the minimum that suits the codes), then
// d and dmin are fitted to all codes; repeated while the error falls.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/reference/block_scales.h"
#include "kernels/reference/codec.h"
#include "kernels/reference/group_fit.h"
#include "tensor/blocks.h"
#include "tensor/half.h"

namespace sampan {
namespace {

template <int kGroupSize, int kMaxCodeValue, int kMaxScaleValue, int kCandidateCount>
struct AffineFormat {
  static constexpr int kSize = kGroupSize;
  static constexpr int kGroups = kSuperBlockElements / kGroupSize;
  static constexpr int kMaxCode = kMaxCodeValue;
  static constexpr int kMaxScale = kMaxScaleValue;  // of minima too
  // Candidates map the group's range to kMaxCode + 1, … kMaxCode - 1 steps.
  static constexpr int kCandidates = kCandidateCount;
};
using FormatQ2 = AffineFormat<16, 3, 15, 10>;
using FormatQ4 = AffineFormat<32, 15, 63, 12>;
using FormatQ5 = AffineFormat<32, 31, 63, 10>;
constexpr int kRounds = 2;

using SuperBlockInput = FitInput<kSuperBlockElements>;

struct RealFit {
  float scale = 0;
  float minimum = 0;
  float gain = 0;  // squared error of nothing minus that of the fit
};

// A super-block as integers.
template <typename F>
struct AffineCodes {
  float d = 0;
  float dmin = 0;
  int scales[F::kGroups] = {};
  int minima[F::kGroups] = {};
  float error = 0;
};

template <int kSize>
struct Group {
  const float* x;
  const float* w;
  float sum_w;
  float sum_wx;
};

// Least squares x ~ scale * q - minimum for given codes, minimum >= 0.
template <int kSize>
RealFit fit_codes(const Group<kSize>& group, const CodeSums& sums) {
  RealFit fit;
  const float determinant = group.sum_w * sums.wqq - sums.wq * sums.wq;
  // Codes that are all the same leave rounding errors only.
  const bool solvable = determinant > 1e-5f * group.sum_w * sums.wqq;
  if (solvable) {
    fit.scale = (group.sum_w * sums.wxq - group.sum_wx * sums.wq) / determinant;
    fit.minimum = (sums.wq * sums.wxq - sums.wqq * group.sum_wx) / determinant;
  }
  if (!solvable || fit.minimum <= 0) {
    fit.minimum = 0;
    fit.scale = sums.wqq > 0 ? sums.wxq / sums.wqq : 0;
  }
  fit.gain = fit.scale * sums.wxq - fit.minimum * group.sum_wx;
  return fit;
}

template <typename F>
RealFit try_codes(const Group<F::kSize>& group, float inverse_scale, float minimum) {
  float codes[F::kSize];
  round_codes<F::kSize>(group.x, inverse_scale, minimum * inverse_scale, 0, F::kMaxCode, codes);
  return fit_codes(group, sum_codes<F::kSize>(group.x, group.w, codes));
}

template <typename F>
RealFit fit_group(const Group<F::kSize>& group) {
  const auto [least, largest] = std::minmax_element(group.x, group.x + F::kSize);
  const float minimum = std::max(0.0f, -*least);
  const float range = std::max(*largest, 0.0f) + minimum;
  RealFit best;
  if (!(range > 0)) return best;
  for (int i = 0; i < F::kCandidates; ++i) {
    const float steps = static_cast<float>(F::kMaxCode) + 1.0f -
                        2.0f * static_cast<float>(i) / static_cast<float>(F::kCandidates);
    const RealFit fit = try_codes<F>(group, steps / range, minimum);
    if (fit.gain > best.gain && fit.scale > 0) best = fit;
  }
  if (best.gain <= 0) return {0, minimum, 0};
  for (int i = 0; i < 2; ++i) {
    const RealFit fit = try_codes<F>(group, 1.0f / best.scale, best.minimum);
    if (!(fit.gain > best.gain) || !(fit.scale > 0)) break;
    best = fit;
  }
  return best;
}

struct Choice {
  int scale = 0;
  int minimum = 0;
  float error = 0;
  CodeSums sums;
};

// The codes and the error of a group under integers; `better_minimum` is the real minimum that
// would suit the codes.
template <typename F>
Choice evaluate(const Group<F::kSize>& group, float d, float dmin, int scale, int minimum,
                float* better_minimum) {
  float codes[F::kSize];
  const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(minimum);
  const float inverse = s > 0 ? 1.0f / s : 0.0f;
  round_codes<F::kSize>(group.x, inverse, m * inverse, 0, F::kMaxCode, codes);
  Choice choice{scale, minimum, squared_error<F::kSize>(group.x, group.w, codes, s, m),
                sum_codes<F::kSize>(group.x, group.w, codes)};
  *better_minimum = group.sum_w > 0 ? (s * choice.sums.wq - group.sum_wx) / group.sum_w : 0.0f;
  return choice;
}

int to_integer(float value, float unit, int max_value) {
  if (!(unit > 0)) return 0;
  const float ratio = value / unit;
  return ratio >= static_cast<float>(max_value) ? max_value
                                                : static_cast<int>(std::max(0.0f, ratio) + 0.5f);
}

template <typename F>
Choice choose_integers(const Group<F::kSize>& group, float d, float dmin, int scale, int minimum) {
  float better_minimum = 0;
  Choice best = evaluate<F>(group, d, dmin, scale, minimum, &better_minimum);
  const auto consider = [&](int s, int m) {
    const Choice choice = evaluate<F>(group, d, dmin, s, m, &better_minimum);
    if (choice.error < best.error) best = choice;
  };
  const int centre = to_integer(better_minimum, dmin, F::kMaxScale);
  if (centre != minimum) consider(scale, centre);
  for (const int s : {scale - 1, scale + 1}) {
    if (s < 0 || s > F::kMaxScale) continue;
    const int start = best.minimum;
    consider(s, start);
    const int next = to_integer(better_minimum, dmin, F::kMaxScale);
    if (next != start) consider(s, next);
  }
  return best;
}

// Chooses integers for all groups around those of `codes`; then fits d and dmin to them (into
// next_d, next_dmin).
template <typename F>
void improve(const Group<F::kSize>* groups, AffineCodes<F>& codes, float* next_d,
             float* next_dmin) {
  float a = 0, b = 0, c = 0, x1 = 0, x2 = 0;
  codes.error = 0;
  for (int g = 0; g < F::kGroups; ++g) {
    const Choice choice =
        choose_integers<F>(groups[g], codes.d, codes.dmin, codes.scales[g], codes.minima[g]);
    codes.scales[g] = choice.scale;
    codes.minima[g] = choice.minimum;
    codes.error += choice.error;
    const float s = static_cast<float>(choice.scale), m = static_cast<float>(choice.minimum);
    a += s * s * choice.sums.wqq;
    b += s * m * choice.sums.wq;
    c += m * m * groups[g].sum_w;
    x1 += s * choice.sums.wxq;
    x2 += m * groups[g].sum_wx;
  }
  const float determinant = a * c - b * b;
  *next_d = codes.d;
  *next_dmin = codes.dmin;
  if (determinant > 1e-6f * a * c) {
    *next_d = (x1 * c - b * x2) / determinant;
    *next_dmin = (b * x1 - a * x2) / determinant;
  } else if (a > 0 && c <= 0) {
    *next_d = x1 / a;
  }
}

template <typename F>
AffineCodes<F> fit_super_block(const Group<F::kSize>* groups) {
  RealFit fits[F::kGroups];
  float max_scale = 0, max_minimum = 0;
  for (int g = 0; g < F::kGroups; ++g) {
    fits[g] = fit_group<F>(groups[g]);
    max_scale = std::max(max_scale, fits[g].scale);
    max_minimum = std::max(max_minimum, fits[g].minimum);
  }
  AffineCodes<F> codes;
  codes.d = round_to_half(max_scale / static_cast<float>(F::kMaxScale));
  codes.dmin = round_to_half(max_minimum / static_cast<float>(F::kMaxScale));
  for (int g = 0; g < F::kGroups; ++g) {
    codes.scales[g] = to_integer(fits[g].scale, codes.d, F::kMaxScale);
    codes.minima[g] = to_integer(fits[g].minimum, codes.dmin, F::kMaxScale);
  }
  float d = 0, dmin = 0;
  improve<F>(groups, codes, &d, &dmin);
  for (int round = 0; round < kRounds; ++round) {
    AffineCodes<F> next = codes;
    next.d = round_to_half(std::max(d, 0.0f));
    next.dmin = round_to_half(std::max(dmin, 0.0f));
    improve<F>(groups, next, &d, &dmin);
    if (!(next.error < codes.error)) break;
    codes = next;
  }
  return codes;
}

// Fits a super-block of x and rounds its elements to codes.
template <typename F>
AffineCodes<F> encode_super_block(const SuperBlockInput& input,
                                  std::uint8_t codes[kSuperBlockElements]) {
  Group<F::kSize> groups[F::kGroups];
  for (int g = 0; g < F::kGroups; ++g) {
    groups[g] = {input.x + g * F::kSize, input.w + g * F::kSize, 0, 0};
    for (int i = 0; i < F::kSize; ++i) {
      groups[g].sum_w += groups[g].w[i];
      groups[g].sum_wx += groups[g].w[i] * groups[g].x[i];
    }
  }
  const AffineCodes<F> result = fit_super_block<F>(groups);
  for (int g = 0; g < F::kGroups; ++g) {
    float rounded[F::kSize];
    const float s = result.d * static_cast<float>(result.scales[g]);
    const float m = result.dmin * static_cast<float>(result.minima[g]);
    const float inverse = s > 0 ? 1.0f / s : 0.0f;
    round_codes<F::kSize>(groups[g].x, inverse, m * inverse, 0, F::kMaxCode, rounded);
    for (int i = 0; i < F::kSize; ++i) {
      codes[g * F::kSize + i] = static_cast<std::uint8_t>(rounded[i]);
    }
  }
  return result;
}

BlockQ2_K encode_q2_k(const SuperBlockInput& input) {
  std::uint8_t codes[kSuperBlockElements];
  const auto fit = encode_super_block<FormatQ2>(input, codes);
  BlockQ2_K block{};
  block.d = float_to_f16(fit.d);
  block.dmin = float_to_f16(fit.dmin);
  for (int g = 0; g < 16; ++g) {
    block.scales[g] = static_cast<std::uint8_t>(fit.scales[g] | fit.minima[g] << 4);
  }
  for (int i = 0; i < 256; ++i) {
    std::uint8_t& byte = block.qs[i / 128 * 32 + i % 32];
    byte = static_cast<std::uint8_t>(byte | codes[i] << (2 * (i / 32 % 4)));
  }
  return block;
}

// d, dmin and the packed scales of Q4_K and Q5_K.
template <typename Block, typename F>
void put_scales(const AffineCodes<F>& fit, Block& block) {
  std::uint8_t scales[8], minima[8];
  for (int g = 0; g < 8; ++g) {
    scales[g] = static_cast<std::uint8_t>(fit.scales[g]);
    minima[g] = static_cast<std::uint8_t>(fit.minima[g]);
  }
  block.d = float_to_f16(fit.d);
  block.dmin = float_to_f16(fit.dmin);
  pack_scales_q4_k(scales, minima, block.scales);
}

// The low four bits of the codes, two groups of 32 a run of 32 bytes.
void put_nibbles(const std::uint8_t codes[kSuperBlockElements], std::uint8_t qs[128]) {
  for (int i = 0; i < 128; ++i) {
    const int low = codes[i / 32 * 64 + i % 32] & 15;
    const int high = codes[i / 32 * 64 + 32 + i % 32] & 15;
    qs[i] = static_cast<std::uint8_t>(low | high << 4);
  }
}

BlockQ4_K encode_q4_k(const SuperBlockInput& input) {
  std::uint8_t codes[kSuperBlockElements];
  BlockQ4_K block{};
  put_scales(encode_super_block<FormatQ4>(input, codes), block);
  put_nibbles(codes, block.qs);
  return block;
}

BlockQ5_K encode_q5_k(const SuperBlockInput& input) {
  std::uint8_t codes[kSuperBlockElements];
  BlockQ5_K block{};
  put_scales(encode_super_block<FormatQ5>(input, codes), block);
  put_nibbles(codes, block.qs);
  for (int i = 0; i < 256; ++i) {
    std::uint8_t& byte = block.qh[i % 32];
    byte = static_cast<std::uint8_t>(byte | codes[i] >> 4 << (i / 32));
  }
  return block;
}

}  // namespace

QuantizeFunction find_quantize_affine(DType dtype) {
  switch (dtype) {
    case DType::kQ2_K:
      return encode_blocks<kSuperBlockElements, BlockQ2_K, encode_q2_k>;
    case DType::kQ4_K:
      return encode_blocks<kSuperBlockElements, BlockQ4_K, encode_q4_k>;
    case DType::kQ5_K:
      return encode_blocks<kSuperBlockElements, BlockQ5_K, encode_q5_k>;
    default:
      return nullptr;
  }
}

}  // namespace sampan
