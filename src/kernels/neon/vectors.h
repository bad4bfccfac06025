#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/lanes.h"

// Registers of floats as kernels/vectors/ sees them. For the sources of this folder alone:
// everything has internal linkage.
namespace sampan {
namespace {

using Floats = float32x4_t;
constexpr int kVector = 4;  // floats a register
constexpr int kRegisters = 32;
constexpr int kLaneVectors = kLanes / kVector;  // that hold the 16 virtual lanes

enum class Bf16 : std::uint16_t {};

inline Floats zeros() { return vdupq_n_f32(0.0f); }
inline Floats broadcast(float x) { return vdupq_n_f32(x); }

// kVector numbers, widened; no alignment needed.
inline Floats load(const float* x) {
  return vreinterpretq_f32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(x)));
}
inline Floats load(const std::uint16_t* x) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(reinterpret_cast<const std::uint8_t*>(x))));
}
inline Floats load(const std::int8_t* x) {
  std::uint32_t codes;
  __builtin_memcpy(&codes, x, sizeof(codes));
  const int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(codes)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}
inline Floats load(const Bf16* x) {
  const uint8x8_t bits = vld1_u8(reinterpret_cast<const std::uint8_t*>(x));
  return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(bits), 16));
}
inline void store(float* x, Floats v) { vst1q_f32(x, v); }
inline void store(std::uint16_t* x, Floats v) {
  vst1_u16(x, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

// The first or second of each of kVector pairs of BF16 numbers.
inline uint32x4_t load_pairs(const std::byte* x) {
  return vreinterpretq_u32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(x)));
}
inline Floats first_of_pairs(const std::byte* x) {
  return vreinterpretq_f32_u32(vshlq_n_u32(load_pairs(x), 16));
}
inline Floats second_of_pairs(const std::byte* x) {
  return vreinterpretq_f32_u32(vandq_u32(load_pairs(x), vdupq_n_u32(0xFFFF0000u)));
}

inline Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
inline Floats subtract(Floats a, Floats b) { return vsubq_f32(a, b); }
inline Floats multiply(Floats a, Floats b) { return vmulq_f32(a, b); }
inline Floats divide(Floats a, Floats b) { return vdivq_f32(a, b); }
inline Floats maximum(Floats a, Floats b) { return vmaxnmq_f32(a, b); }  // a NaN is not the maximum
// sum + a * b and sum - a * b, rounded once.
inline Floats add_product(Floats a, Floats b, Floats sum) { return vfmaq_f32(sum, a, b); }
inline Floats subtract_product(Floats a, Floats b, Floats sum) { return vfmsq_f32(sum, a, b); }
inline float square_root(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }

// Lanes where something holds.
using Mask = uint32x4_t;
inline Mask is_less(Floats a, Floats b) { return vcltq_f32(a, b); }
inline Mask is_nan(Floats a) { return vmvnq_u32(vceqq_f32(a, a)); }
// first <= i < end for lane i.
inline Mask is_within(std::int32_t first, std::int32_t end) {
  static constexpr std::int32_t kNumbers[kVector] = {0, 1, 2, 3};
  const int32x4_t index = vld1q_s32(kNumbers);
  return vandq_u32(vcgeq_s32(index, vdupq_n_s32(first)), vcltq_s32(index, vdupq_n_s32(end)));
}
inline Floats choose(Mask mask, Floats where, Floats elsewhere) {
  return vbslq_f32(mask, where, elsewhere);
}
inline Floats keep_where(Mask mask, Floats x) {
  return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(x)));
}
inline Floats zero_where(Mask mask, Floats x) {
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), mask));
}

// x with the lowest bits of n added to its exponent.
inline Floats add_to_exponent(Floats x, Floats n) {
  const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(n), 23);
  return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x), exponent));
}
inline Floats negate(Floats x) { return vnegq_f32(x); }
// Pairs of lanes: the first lanes of x twice each; the other of a pair; -x in even lanes.
inline Floats twice(Floats x) { return vzip1q_f32(x, x); }
inline Floats swap_pairs(Floats x) { return vrev64q_f32(x); }
inline Floats negate_even(Floats x) {
  const uint32x4_t signs = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000));
  return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), signs));
}

// The first n <= kVector of x widened, zeros behind them; touches no more.
template <typename T>
inline Floats load_some(const T* x, std::int64_t n) {
  T numbers[kVector] = {};
  __builtin_memcpy(numbers, x, static_cast<std::size_t>(n) * sizeof(T));
  return load(numbers);
}
template <typename T>
inline void store_some(T* x, Floats v, std::int64_t n) {
  T numbers[kVector];
  store(numbers, v);
  __builtin_memcpy(x, numbers, static_cast<std::size_t>(n) * sizeof(T));
}

// Sums by the tree of kernels/lanes.h: of the 16 virtual lanes; of the lanes of four registers.
inline float fold_lanes(const Floats (&lanes)[kLaneVectors]) {
  const Floats four = vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
  return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
}
inline void fold_four(const Floats (&v)[4], float* sums) {
  const auto two = [](Floats x) { return vadd_f32(vget_low_f32(x), vget_high_f32(x)); };
  vst1q_f32(sums,
            vpaddq_f32(vcombine_f32(two(v[0]), two(v[1])), vcombine_f32(two(v[2]), two(v[3]))));
}
inline float highest_lane(Floats v) { return vmaxnmvq_f32(v); }

// FPCR's mode for subnormal numbers flushes before it rounds: what rounds up to the least normal
// number would be lost. So there is no mode, and each number is made zero, with its sign.
class SubnormalMode {
 public:
  explicit SubnormalMode(bool) {}
};
inline Floats without_subnormals(Floats x) {
  const uint32x4_t is_small = vcaltq_f32(x, vdupq_n_f32(0x1p-126f));
  const uint32x4_t magnitude = vandq_u32(is_small, vdupq_n_u32(0x7FFFFFFF));
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), magnitude));
}

inline void prefetch(const void* x) { __builtin_prefetch(x); }

}  // namespace
}  // namespace sampan
