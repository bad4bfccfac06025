#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/blocks.h"
#include "tensor/half.h"

namespace sampan {

// The inner loops that the k-quant encoders share. Sums run over four lanes that are added at the
// end, so that compilers can use vectors without changing the order of float operations.

inline constexpr int kFitLanes = 4;

// Sums over a group for codes q: weights times q, q² and x q.
struct CodeSums {
  float wq = 0;
  float wqq = 0;
  float wxq = 0;
};

// codes[i] = x[i] * inverse_scale + shift, rounded (ties to even) and clamped to [least, most].
template <int kSize>
inline void round_codes(const float* x, float inverse_scale, float shift, int least, int most,
                        float* codes) {
  constexpr float kRounder = 0x1.8p23f;  // adding it leaves no bits behind the point
  const float low = static_cast<float>(least), high = static_cast<float>(most);
  for (int i = 0; i < kSize; ++i) {
    float value = x[i] * inverse_scale + shift;
    value = value > low ? value : low;
    value = value < high ? value : high;
    codes[i] = (value + kRounder) - kRounder;
  }
}

inline float add_lanes(const float lanes[kFitLanes]) {
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

template <int kSize>
inline CodeSums sum_codes(const float* x, const float* w, const float* codes) {
  float wq[kFitLanes] = {}, wqq[kFitLanes] = {}, wxq[kFitLanes] = {};
  for (int i = 0; i < kSize; i += kFitLanes) {
    for (int l = 0; l < kFitLanes; ++l) {
      const float weighted = w[i + l] * codes[i + l];
      wq[l] += weighted;
      wqq[l] += weighted * codes[i + l];
      wxq[l] += weighted * x[i + l];
    }
  }
  return {add_lanes(wq), add_lanes(wqq), add_lanes(wxq)};
}

// Σ w (scale q - minimum - x)²
template <int kSize>
inline float squared_error(const float* x, const float* w, const float* codes, float scale,
                           float minimum) {
  float sums[kFitLanes] = {};
  for (int i = 0; i < kSize; i += kFitLanes) {
    for (int l = 0; l < kFitLanes; ++l) {
      const float difference = scale * codes[i + l] - minimum - x[i + l];
      sums[l] += w[i + l] * difference * difference;
    }
  }
  return add_lanes(sums);
}

// A scale as a half can hold it, finite; one too small for a half becomes the least half rather
// than nothing.
inline float round_to_half(float value) {
  constexpr float kMaxHalf = 65504.0f, kLeastHalf = 0x1p-24f;
  if (value == 0) return 0;
  const float magnitude = std::clamp(value < 0 ? -value : value, kLeastHalf, kMaxHalf);
  const float rounded = f16_to_float(float_to_f16(magnitude));
  return value < 0 ? -rounded : rounded;
}

// A copy of kCount elements and the weights of their squared errors, brought into a range in which
// no sum of the search overflows and no inverse is infinite. Magnitudes beyond what a block can
// hold (65504 * 127 * 127) are cut, those far below its least step are zero. Weights are 1, or the
// importances divided by their largest, with a floor so that elements of no importance still get
// codes that suit them.
template <int kCount>
struct FitInput {
  float x[kCount];
  float w[kCount];

  FitInput(const float* values, const float* importance) {
    constexpr float kLargest = 2e9f, kLeast = 1e-12f, kLeastWeight = 1e-6f;
    for (int i = 0; i < kCount; ++i) {
      const float clamped = std::clamp(values[i], -kLargest, kLargest);
      x[i] = clamped > kLeast || clamped < -kLeast ? clamped : 0.0f;
      w[i] = 1.0f;
    }
    if (importance == nullptr) return;
    const float largest = *std::max_element(importance, importance + kCount);
    if (!(largest > 1e-30f)) return;
    for (int i = 0; i < kCount; ++i) w[i] = std::max(importance[i] / largest, kLeastWeight);
  }
};

// Calls encode(input) → Block for every kCount elements of a row.
template <int kCount, typename Block, Block encode(const FitInput<kCount>&)>
void encode_blocks(const float* x, std::int64_t n, const float* importance, std::byte* out) {
  for (std::int64_t i = 0; i < n / kCount; ++i) {
    const FitInput<kCount> input(x + i * kCount,
                                 importance == nullptr ? nullptr : importance + i * kCount);
    const Block block = encode(input);
    std::memcpy(out + i * static_cast<std::int64_t>(sizeof(Block)), &block, sizeof(Block));
  }
}

}  // namespace sampan
