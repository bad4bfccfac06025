#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/lanes.h"
#include "kernels/vectors/x86_64.h"

// Registers of floats as kernels/vectors/ sees them. For the sources of this folder alone:
// everything has internal linkage.
namespace sampan {
namespace {

using Floats = __m256;
constexpr int kVector = 8;  // floats a register
constexpr int kRegisters = 16;
constexpr int kLaneVectors = kLanes / kVector;  // that hold the 16 virtual lanes

inline Floats zeros() { return _mm256_setzero_ps(); }
inline Floats broadcast(float x) { return _mm256_set1_ps(x); }

// kVector numbers, widened; no alignment needed.
inline Floats load(const float* x) { return _mm256_loadu_ps(x); }
inline Floats load(const std::uint16_t* x) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
inline Floats load(const std::int8_t* x) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
}
inline Floats load(const Bf16* x) {
  const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}
inline void store(float* x, Floats v) { _mm256_storeu_ps(x, v); }
inline void store(std::uint16_t* x, Floats v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(x),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// The first or second of each of kVector pairs of BF16 numbers.
inline Floats first_of_pairs(const std::byte* x) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
inline Floats second_of_pairs(const std::byte* x) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return _mm256_castsi256_ps(
      _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xFFFF0000u))));
}

inline Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
inline Floats maximum(Floats a, Floats b) { return _mm256_max_ps(a, b); }
// sum + a * b and sum - a * b, rounded once.
inline Floats add_product(Floats a, Floats b, Floats sum) { return _mm256_fmadd_ps(a, b, sum); }
inline Floats subtract_product(Floats a, Floats b, Floats sum) {
  return _mm256_fnmadd_ps(a, b, sum);
}

// Lanes where something holds.
using Mask = __m256;
inline Mask is_less(Floats a, Floats b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
inline Mask is_nan(Floats a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
// first <= i < end for lane i.
inline Mask is_within(std::int32_t first, std::int32_t end) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_castsi256_ps(
      _mm256_and_si256(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(first - 1)),
                       _mm256_cmpgt_epi32(_mm256_set1_epi32(end), index)));
}
inline Floats choose(Mask mask, Floats where, Floats elsewhere) {
  return _mm256_blendv_ps(elsewhere, where, mask);
}
inline Floats zero_where(Mask mask, Floats x) { return _mm256_andnot_ps(mask, x); }
inline Floats keep_where(Mask mask, Floats x) { return _mm256_and_ps(mask, x); }

// x with the lowest bits of n added to its exponent.
inline Floats add_to_exponent(Floats x, Floats n) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
}
inline Floats negate(Floats x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }
// Pairs of lanes: the first lanes of x twice each; the other of a pair; -x in even lanes.
inline Floats twice(Floats x) {
  return _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
inline Floats swap_pairs(Floats x) { return _mm256_permute_ps(x, 0xB1); }
inline Floats negate_even(Floats x) {
  return _mm256_xor_ps(x, _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000)));
}

// The first n <= kVector of x widened, zeros behind them; touches no more.
inline __m256i first_lanes(std::int64_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
}
inline Floats load_some(const float* x, std::int64_t n) {
  return _mm256_maskload_ps(x, first_lanes(n));
}
template <typename T>
inline Floats load_some(const T* x, std::int64_t n) {
  T numbers[kVector] = {};
  for (std::int64_t i = 0; i < n; ++i) numbers[i] = x[i];
  return load(numbers);
}
inline void store_some(float* x, Floats v, std::int64_t n) {
  _mm256_maskstore_ps(x, first_lanes(n), v);
}
inline void store_some(std::uint16_t* x, Floats v, std::int64_t n) {
  std::uint16_t halves[kVector];
  store(halves, v);
  for (std::int64_t i = 0; i < n; ++i) x[i] = halves[i];
}

// Sums by the tree of kernels/lanes.h: of the 16 virtual lanes; of the lanes of four registers.
inline float fold_lanes(const Floats (&lanes)[kLaneVectors]) {
  return fold_eight(_mm256_add_ps(lanes[0], lanes[1]));
}
inline void fold_four(const Floats (&v)[4], float* sums) {
  const __m256 a = _mm256_add_ps(_mm256_permute2f128_ps(v[0], v[1], 0x20),
                                 _mm256_permute2f128_ps(v[0], v[1], 0x31));
  const __m256 b = _mm256_add_ps(_mm256_permute2f128_ps(v[2], v[3], 0x20),
                                 _mm256_permute2f128_ps(v[2], v[3], 0x31));
  const __m256 two =
      _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE));  // 0 2 | 1 3
  const __m128 low = _mm256_castps256_ps128(two);
  const __m128 high = _mm256_extractf128_ps(two, 1);
  const __m128 even = _mm_shuffle_ps(low, high, 0x88);
  const __m128 odd = _mm_shuffle_ps(low, high, 0xDD);
  const __m128 one = _mm_add_ps(even, odd);  // 0 2 1 3
  _mm_storeu_ps(sums, _mm_shuffle_ps(one, one, 0xD8));
}
inline float highest_lane(Floats v) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// SubnormalMode does it.
inline Floats without_subnormals(Floats x) { return x; }

}  // namespace
}  // namespace sampan
