#pragma once

#include <immintrin.h>

// AVX-VNNI as far as src/kernels/avxvnni/ uses it, by AVX2, to the same bits: included before
// everything else in those sources (SAMPAN_EMULATE), so that their tests run on every x86-64
// machine. Slow: for tests alone.

// sum + Σ of four unsigned times signed bytes, without saturation on the way.
[[gnu::always_inline]] static inline __m256i emulated_mm256_dpbusd_avx_epi32(__m256i sum, __m256i a,
                                                                             __m256i b) {
  const __m256i low_bytes = _mm256_set1_epi16(0xFF);
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, low_bytes),
                                         _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
#define _mm256_dpbusd_avx_epi32 emulated_mm256_dpbusd_avx_epi32
