#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/math.h"

// For the sources of this folder alone: everything has internal linkage.
namespace sampan {
namespace {

enum class ExpRange { kAll, kNotPositive };

// exp_f32 in 16 lanes; kNotPositive (x <= 0 or NaN) leaves out the test for overflow.
template <ExpRange kRange = ExpRange::kAll>
inline __m512 exp_lanes(__m512 x) {
  const __m512 round = _mm512_set1_ps(kExpRound);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(kExpLog2E), round);
  const __m512 n = _mm512_sub_ps(shifted, round);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kExpLn2High), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kExpLn2Low), r);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(kExpC6), r, _mm512_set1_ps(kExpC5));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpC4));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpC3));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpC2));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
  const __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpLowest), _CMP_NLT_UQ);
  p = _mm512_castsi512_ps(_mm512_maskz_add_epi32(normal, _mm512_castps_si512(p), exponent));
  if constexpr (kRange == ExpRange::kAll) {
    const __mmask16 high = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpHighest), _CMP_GT_OQ);
    p = _mm512_mask_mov_ps(p, high, _mm512_set1_ps(__builtin_inff()));
  }
  return _mm512_mask_mov_ps(p, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

// The tree of kernels/lanes.h.
inline float fold_lanes(__m512 lanes) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// The first n lanes, 0 <= n <= 16.
inline __mmask16 first_lanes(std::int64_t n) {
  return static_cast<__mmask16>((std::uint32_t{1} << n) - 1);
}

}  // namespace
}  // namespace sampan
