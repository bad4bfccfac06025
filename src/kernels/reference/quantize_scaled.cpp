// Q3_K, Q6_K, IQ4_XS: y = (d * scale) * value with a small integer scale a group and d a
// super-block; IQ4_NL: y = d * value. value is an integer of a range, or one of the 16 of
// kIQ4Values.
//
// Minimises the weighted squared error as quantize_affine.cpp does, without minima: each group
// alone with a real scale, then all groups together over the integer scales near it and d.

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

// The 4-bit code of the nearest of kIQ4Values for values v in [-128, 128), by floor(2 v): every
// border between two values is a multiple of one half.
struct NearestIQ4 {
  std::uint8_t code[512];
  float value[512];
};

constexpr NearestIQ4 make_nearest_iq4() {
  NearestIQ4 table{};
  for (int i = 0; i < 512; ++i) {
    const int four_v = 2 * (i - 256) + 1;  // the middle of the interval
    std::size_t best = 0;
    for (std::size_t k = 1; k < 16; ++k) {
      const int error = four_v - 4 * kIQ4Values[k], least = four_v - 4 * kIQ4Values[best];
      if (error * error < least * least) best = k;
    }
    table.code[i] = static_cast<std::uint8_t>(best);
    table.value[i] = kIQ4Values[best];
  }
  return table;
}

constexpr NearestIQ4 kNearestIQ4 = make_nearest_iq4();

std::size_t iq4_interval(float v) {
  const float clamped = std::min(std::max(v, -128.0f), 127.5f);
  return static_cast<std::size_t>(2.0f * clamped + 256.0f);
}

// Codes are the values: -4 … 3.
template <int kLow, int kHigh>
struct Integers {
  static constexpr float kFirst = kLow, kLast = kHigh;
  template <int kSize>
  static void round(const float* x, float inverse_scale, float* values) {
    round_codes<kSize>(x, inverse_scale, 0.0f, kLow, kHigh, values);
  }
};

struct IQ4Table {
  static constexpr float kFirst = -127, kLast = 113;
  template <int kSize>
  static void round(const float* x, float inverse_scale, float* values) {
    for (int i = 0; i < kSize; ++i) {
      values[i] = kNearestIQ4.value[iq4_interval(x[i] * inverse_scale)];
    }
  }
};

// kSteps candidates of the scale map the group's extreme element to (1 + kReach) … (1 - kReach)
// times the first value, and as many to the last value.
template <typename ValuesType, int kGroupSize, int kLeastScaleValue, int kMostScaleValue>
struct ScaledFormat {
  using Values = ValuesType;
  static constexpr int kSize = kGroupSize;
  static constexpr int kGroups = kSuperBlockElements / kGroupSize;
  static constexpr int kLeastScale = kLeastScaleValue;
  static constexpr int kMostScale = kMostScaleValue;
};
using FormatQ3 = ScaledFormat<Integers<-4, 3>, 16, -32, 31>;
using FormatQ6 = ScaledFormat<Integers<-32, 31>, 16, -128, 127>;
using FormatIQ4 = ScaledFormat<IQ4Table, 32, -32, 31>;

constexpr int kRounds = 2;

using SuperBlockInput = FitInput<kSuperBlockElements>;
constexpr int kCandidates = 8;

// How far candidates reach from the scale that maps the extreme element to the end of the range: up
// to one value further.
template <typename Values>
constexpr float reach() {
  return Values::kFirst == -127 ? 0.15f : 1.0f / -Values::kFirst;
}

struct ScaleFit {
  float scale = 0;
  float gain = 0;
};

template <typename F>
CodeSums try_scale(const float* x, const float* w, float inverse_scale) {
  float values[F::kSize];
  F::Values::template round<F::kSize>(x, inverse_scale, values);
  return sum_codes<F::kSize>(x, w, values);
}

ScaleFit fit_values(const CodeSums& sums) {
  if (!(sums.wqq > 0)) return {};
  const float scale = sums.wxq / sums.wqq;
  return {scale, scale * sums.wxq};
}

template <typename F>
ScaleFit fit_group(const float* x, const float* w) {
  const float extreme = *std::max_element(
      x, x + F::kSize, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  ScaleFit best;
  if (extreme == 0) return best;
  for (const float end : {F::Values::kFirst, F::Values::kLast}) {
    for (int i = 0; i < kCandidates; ++i) {
      const float step = 1.0f - 2.0f * static_cast<float>(i) / kCandidates;
      const float target = end * (1.0f + step * reach<typename F::Values>());
      const ScaleFit fit = fit_values(try_scale<F>(x, w, target / extreme));
      if (fit.gain > best.gain) best = fit;
    }
  }
  for (int i = 0; i < 2 && best.scale != 0; ++i) {
    const ScaleFit fit = fit_values(try_scale<F>(x, w, 1.0f / best.scale));
    if (!(fit.gain > best.gain)) break;
    best = fit;
  }
  return best;
}

template <typename F>
struct ScaledCodes {
  float d = 0;
  int scales[F::kGroups] = {};
  float gain = 0;
};

template <typename F>
int to_scale(float scale, float d) {
  if (d == 0) return 0;
  const float ratio =
      std::clamp(scale / d, static_cast<float>(F::kLeastScale), static_cast<float>(F::kMostScale));
  return static_cast<int>(std::nearbyint(ratio));
}

// Takes the best of the integer scales around those of `codes` for each group; returns the d that
// fits all their values best.
template <typename F>
float improve(const SuperBlockInput& input, ScaledCodes<F>& codes) {
  float numerator = 0, denominator = 0;
  codes.gain = 0;
  for (int g = 0; g < F::kGroups; ++g) {
    CodeSums best_sums;
    float best_gain = 0;
    int best = 0;
    for (int scale = codes.scales[g] - 1; scale <= codes.scales[g] + 1; ++scale) {
      if (scale < F::kLeastScale || scale > F::kMostScale || scale == 0) continue;
      const float s = codes.d * static_cast<float>(scale);
      const CodeSums sums = try_scale<F>(input.x + g * F::kSize, input.w + g * F::kSize, 1.0f / s);
      const float gain = s * (2.0f * sums.wxq - s * sums.wqq);
      if (gain > best_gain) best_gain = gain, best_sums = sums, best = scale;
    }
    codes.scales[g] = best;
    codes.gain += best_gain;
    numerator += static_cast<float>(best) * best_sums.wxq;
    denominator += static_cast<float>(best) * static_cast<float>(best) * best_sums.wqq;
  }
  return denominator > 0 ? numerator / denominator : codes.d;
}

template <typename F>
ScaledCodes<F> fit_super_block(const SuperBlockInput& input) {
  float fits[F::kGroups];
  float extreme = 0;
  for (int g = 0; g < F::kGroups; ++g) {
    fits[g] = fit_group<F>(input.x + g * F::kSize, input.w + g * F::kSize).scale;
    if (std::fabs(fits[g]) > std::fabs(extreme)) extreme = fits[g];
  }
  ScaledCodes<F> codes;
  codes.d = round_to_half(extreme / static_cast<float>(F::kLeastScale));
  if (codes.d == 0) return codes;
  for (int g = 0; g < F::kGroups; ++g) codes.scales[g] = to_scale<F>(fits[g], codes.d);
  float d = improve<F>(input, codes);
  for (int round = 0; round < kRounds; ++round) {
    ScaledCodes<F> next = codes;
    next.d = round_to_half(d);
    if (next.d == 0) break;
    d = improve<F>(input, next);
    if (!(next.gain > codes.gain)) break;
    codes = next;
  }
  return codes;
}

// The values of all elements under the fit.
template <typename F>
void round_super_block(const SuperBlockInput& input, const ScaledCodes<F>& fit, float values[256]) {
  for (int g = 0; g < F::kGroups; ++g) {
    const float s = fit.d * static_cast<float>(fit.scales[g]);
    F::Values::template round<F::kSize>(input.x + g * F::kSize, s != 0 ? 1.0f / s : 0.0f,
                                        values + g * F::kSize);
  }
}

BlockQ3_K encode_q3_k(const SuperBlockInput& input) {
  const auto fit = fit_super_block<FormatQ3>(input);
  float values[256];
  round_super_block<FormatQ3>(input, fit, values);
  BlockQ3_K block{};
  std::uint8_t scales[16];
  for (int g = 0; g < 16; ++g) scales[g] = static_cast<std::uint8_t>(fit.scales[g] + 32);
  pack_scales_q3_k(scales, block.scales);
  block.d = float_to_f16(fit.d);
  for (int i = 0; i < 256; ++i) {
    const int code = static_cast<int>(values[i]) + 4;
    std::uint8_t& low = block.qs[i / 128 * 32 + i % 32];
    std::uint8_t& high = block.hmask[i % 32];
    low = static_cast<std::uint8_t>(low | (code & 3) << (2 * (i / 32 % 4)));
    high = static_cast<std::uint8_t>(high | code >> 2 << (i / 32));
  }
  return block;
}

BlockQ6_K encode_q6_k(const SuperBlockInput& input) {
  const auto fit = fit_super_block<FormatQ6>(input);
  float values[256];
  round_super_block<FormatQ6>(input, fit, values);
  BlockQ6_K block{};
  for (int g = 0; g < 16; ++g) block.scales[g] = static_cast<std::int8_t>(fit.scales[g]);
  block.d = float_to_f16(fit.d);
  for (int i = 0; i < 256; ++i) {
    const int code = static_cast<int>(values[i]) + 32;
    const int half = i / 128, field = i / 32 % 4;
    std::uint8_t& low = block.ql[64 * half + i % 64];
    std::uint8_t& high = block.qh[32 * half + i % 32];
    low = static_cast<std::uint8_t>(low | (code & 15) << (4 * (field / 2)));
    high = static_cast<std::uint8_t>(high | code >> 4 << (2 * field));
  }
  return block;
}

// 32 elements as nibbles of kIQ4Values.
void put_iq4_codes(const float* x, float scale, std::uint8_t qs[16]) {
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  for (int j = 0; j < 16; ++j) {
    const int low = kNearestIQ4.code[iq4_interval(x[j] * inverse)];
    const int high = kNearestIQ4.code[iq4_interval(x[j + 16] * inverse)];
    qs[j] = static_cast<std::uint8_t>(low | high << 4);
  }
}

BlockIQ4_XS encode_iq4_xs(const SuperBlockInput& input) {
  const auto fit = fit_super_block<FormatIQ4>(input);
  BlockIQ4_XS block{};
  block.d = float_to_f16(fit.d);
  for (int g = 0; g < 8; ++g) {
    const int scale = fit.scales[g] + 32;
    block.scales_l[g / 2] =
        static_cast<std::uint8_t>(block.scales_l[g / 2] | (scale & 15) << (4 * (g % 2)));
    block.scales_h = static_cast<std::uint16_t>(block.scales_h | scale >> 4 << (2 * g));
    put_iq4_codes(input.x + 32 * g, fit.d * static_cast<float>(fit.scales[g]), block.qs + 16 * g);
  }
  return block;
}

BlockIQ4_NL encode_iq4_nl(const FitInput<kBlockElements>& input) {
  BlockIQ4_NL block;
  const float d = round_to_half(fit_group<FormatIQ4>(input.x, input.w).scale);
  block.d = float_to_f16(d);
  put_iq4_codes(input.x, d, block.qs);
  return block;
}

}  // namespace

QuantizeFunction find_quantize_scaled(DType dtype) {
  switch (dtype) {
    case DType::kQ3_K:
      return encode_blocks<kSuperBlockElements, BlockQ3_K, encode_q3_k>;
    case DType::kQ6_K:
      return encode_blocks<kSuperBlockElements, BlockQ6_K, encode_q6_k>;
    case DType::kIQ4_NL:
      return encode_blocks<kBlockElements, BlockIQ4_NL, encode_iq4_nl>;
    case DType::kIQ4_XS:
      return encode_blocks<kSuperBlockElements, BlockIQ4_XS, encode_iq4_xs>;
    default:
      return nullptr;
  }
}

}  // namespace sampan
