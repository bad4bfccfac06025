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

using Floats = __m512;
constexpr int kVector = 16;  // floats a register
constexpr int kRegisters = 32;
constexpr int kLaneVectors = kLanes / kVector;  // that hold the 16 virtual lanes

inline Floats zeros() { return _mm512_setzero_ps(); }
inline Floats broadcast(float x) { return _mm512_set1_ps(x); }

inline Floats widen_halves(__m256i halves) { return _mm512_cvtph_ps(halves); }
inline Floats widen_codes(__m128i codes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)); }

// kVector numbers, widened; no alignment needed.
inline Floats load(const float* x) { return _mm512_loadu_ps(x); }
inline Floats load(const std::uint16_t* x) {
  return widen_halves(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}
inline Floats load(const std::int8_t* x) {
  return widen_codes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}
inline Floats load(const Bf16* x) {
  const __m512i bits =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
inline __m256i to_halves(Floats v) {
  return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline void store(float* x, Floats v) { _mm512_storeu_ps(x, v); }
inline void store(std::uint16_t* x, Floats v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), to_halves(v));
}

// The first or second of each of kVector pairs of BF16 numbers.
inline Floats first_of_pairs(const std::byte* x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(x), 16));
}
inline Floats second_of_pairs(const std::byte* x) {
  return _mm512_castsi512_ps(
      _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))));
}

inline Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
inline Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
inline Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
inline Floats maximum(Floats a, Floats b) { return _mm512_max_ps(a, b); }
// sum + a * b and sum - a * b, rounded once.
inline Floats add_product(Floats a, Floats b, Floats sum) { return _mm512_fmadd_ps(a, b, sum); }
inline Floats subtract_product(Floats a, Floats b, Floats sum) {
  return _mm512_fnmadd_ps(a, b, sum);
}

// Lanes where something holds.
using Mask = __mmask16;
inline Mask is_less(Floats a, Floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline Mask is_nan(Floats a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
// The first n lanes, 0 <= n <= 16.
inline Mask first_lanes(std::int64_t n) { return static_cast<Mask>((std::uint32_t{1} << n) - 1); }
// first <= i < end for lane i.
inline Mask is_within(std::int32_t first, std::int32_t end) {
  const __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(first)) &
         _mm512_cmplt_epi32_mask(index, _mm512_set1_epi32(end));
}
inline Floats choose(Mask mask, Floats where, Floats elsewhere) {
  return _mm512_mask_mov_ps(elsewhere, mask, where);
}
inline Floats keep_where(Mask mask, Floats x) { return _mm512_maskz_mov_ps(mask, x); }
inline Floats zero_where(Mask mask, Floats x) { return keep_where(static_cast<Mask>(~mask), x); }

// x with the lowest bits of n added to its exponent.
inline Floats add_to_exponent(Floats x, Floats n) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(n), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), exponent));
}
inline Floats negate(Floats x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }
// Pairs of lanes: the first lanes of x twice each; the other of a pair; -x in even lanes.
inline Floats twice(Floats x) {
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                               x);
}
inline Floats swap_pairs(Floats x) { return _mm512_permute_ps(x, 0xB1); }
inline Floats negate_even(Floats x) {
  return _mm512_xor_ps(x, _mm512_castsi512_ps(_mm512_set1_epi64(0x80000000)));
}

// The first n <= kVector of x widened, zeros behind them; touches no more.
inline Floats load_some(const float* x, std::int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), x);
}
inline Floats load_some(const std::uint16_t* x, std::int64_t n) {
  return widen_halves(_mm256_maskz_loadu_epi16(first_lanes(n), x));
}
inline Floats load_some(const std::int8_t* x, std::int64_t n) {
  return widen_codes(_mm_maskz_loadu_epi8(first_lanes(n), x));
}
inline void store_some(float* x, Floats v, std::int64_t n) {
  _mm512_mask_storeu_ps(x, first_lanes(n), v);
}
inline void store_some(std::uint16_t* x, Floats v, std::int64_t n) {
  _mm256_mask_storeu_epi16(x, first_lanes(n), to_halves(v));
}

// Sums by the tree of kernels/lanes.h: of the 16 virtual lanes; of the lanes of four registers.
inline float fold_lanes(const Floats (&lanes)[kLaneVectors]) {
  return fold_eight(
      _mm256_add_ps(_mm512_castps512_ps256(lanes[0]), _mm512_extractf32x8_ps(lanes[0], 1)));
}
// Halves of a and b added: their first 8 lanes become 4 + 4, side by side.
inline Floats fold_halves(Floats a, Floats b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
}
inline void fold_four(const Floats (&v)[4], float* sums) {
  const __m512 ab = fold_halves(v[0], v[1]);
  const __m512 cd = fold_halves(v[2], v[3]);
  const __m512 four =
      _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
  const __m512 two = _mm512_add_ps(four, _mm512_permute_ps(four, 0x4E));
  const __m512 one = _mm512_add_ps(two, _mm512_permute_ps(two, 0xB1));
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  _mm_storeu_ps(sums, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one)));
}
inline float highest_lane(Floats v) { return _mm512_reduce_max_ps(v); }

// SubnormalMode does it.
inline Floats without_subnormals(Floats x) { return x; }

}  // namespace
}  // namespace sampan
