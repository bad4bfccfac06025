#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/math.h"

// For the sources of this folder alone: everything has internal linkage.
namespace sampan {
namespace {

constexpr int kVector = 4;  // floats a register; the 16 virtual lanes are four of them

// exp_f32 in 4 lanes.
inline float32x4_t exp_lanes(float32x4_t x) {
  const float32x4_t round = vdupq_n_f32(kExpRound);
  const float32x4_t shifted = vfmaq_f32(round, x, vdupq_n_f32(kExpLog2E));
  const float32x4_t n = vsubq_f32(shifted, round);
  float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(kExpLn2High));
  r = vfmsq_f32(r, n, vdupq_n_f32(kExpLn2Low));
  float32x4_t p = vfmaq_f32(vdupq_n_f32(kExpC5), vdupq_n_f32(kExpC6), r);
  p = vfmaq_f32(vdupq_n_f32(kExpC4), p, r);
  p = vfmaq_f32(vdupq_n_f32(kExpC3), p, r);
  p = vfmaq_f32(vdupq_n_f32(kExpC2), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
  const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(shifted), 23);
  p = vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), exponent));
  p = vbslq_f32(vcltq_f32(x, vdupq_n_f32(kExpLowest)), vdupq_n_f32(0.0f), p);
  p = vbslq_f32(vcgtq_f32(x, vdupq_n_f32(kExpHighest)), vdupq_n_f32(__builtin_inff()), p);
  return vbslq_f32(vceqq_f32(x, x), p, x);
}

// The tree of kernels/lanes.h.
inline float fold_lanes(const float32x4_t (&lanes)[4]) {
  const float32x4_t low = vaddq_f32(lanes[0], lanes[2]);
  const float32x4_t high = vaddq_f32(lanes[1], lanes[3]);
  const float32x4_t four = vaddq_f32(low, high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vpadds_f32(two);
}

// The first n <= 4 of x, zeros behind them; reads no further.
inline float32x4_t load_some(const float* x, std::int64_t n) {
  float padded[kVector] = {};
  __builtin_memcpy(padded, x, static_cast<std::size_t>(n) * sizeof(float));
  return vld1q_f32(padded);
}
inline void store_some(float* x, float32x4_t v, std::int64_t n) {
  float padded[kVector];
  vst1q_f32(padded, v);
  __builtin_memcpy(x, padded, static_cast<std::size_t>(n) * sizeof(float));
}

}  // namespace
}  // namespace sampan
