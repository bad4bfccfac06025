#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/math.h"

// For the sources of this folder alone: everything has internal linkage.
namespace sampan {
namespace {

constexpr int kVector = 8;  // floats a register; the 16 virtual lanes are two of them

enum class ExpRange { kAll, kNotPositive };

// exp_f32 in 8 lanes; kNotPositive (x <= 0 or NaN) leaves out the test for overflow.
template <ExpRange kRange = ExpRange::kAll>
inline __m256 exp_lanes(__m256 x) {
  const __m256 round = _mm256_set1_ps(kExpRound);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(kExpLog2E), round);
  const __m256 n = _mm256_sub_ps(shifted, round);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kExpLn2High), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kExpLn2Low), r);
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(kExpC6), r, _mm256_set1_ps(kExpC5));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpC4));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpC3));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpC2));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  p = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  p = _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(kExpLowest), _CMP_LT_OQ), p);
  if constexpr (kRange == ExpRange::kAll) {
    const __m256 high = _mm256_cmp_ps(x, _mm256_set1_ps(kExpHighest), _CMP_GT_OQ);
    p = _mm256_blendv_ps(p, _mm256_set1_ps(__builtin_inff()), high);
  }
  return _mm256_blendv_ps(p, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

// The tree of kernels/lanes.h over lanes 0-7 and 8-15.
inline float fold_lanes(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// All ones in the first n lanes, for maskload and maskstore.
inline __m256i first_lanes(std::int64_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
}

// The first n < 8 of x widened, zeros behind them; reads no further.
inline __m256 load_some(const float* x, std::int64_t n) {
  return _mm256_maskload_ps(x, first_lanes(n));
}
inline __m256 load_some(const std::uint16_t* x, std::int64_t n) {
  alignas(16) std::uint16_t halves[kVector] = {};
  for (std::int64_t i = 0; i < n; ++i) halves[i] = x[i];
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(halves)));
}
inline __m256 load_some(const std::int8_t* x, std::int64_t n) {
  alignas(8) std::int8_t codes[kVector] = {};
  for (std::int64_t i = 0; i < n; ++i) codes[i] = x[i];
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes))));
}

}  // namespace
}  // namespace sampan
