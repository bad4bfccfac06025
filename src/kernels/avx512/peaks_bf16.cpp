// Compiled for AVX512_BF16 as well; entered only where the machine has it.
#include <immintrin.h>

#include "kernels/peaks.h"

namespace sampan {

float bf16_rounds_avx512(std::int64_t count) {
  constexpr int kChains = 12;
  __m512 sums[kChains];
  __m512i x = _mm512_set1_epi16(0x3F00);
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < count; ++i) {
    for (__m512& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(x));
    }
    asm volatile("" : "+v,m"(x));  // keeps the compiler from lifting the products out of the loop
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm512_add_ps(sums[0], sums[j]);
  return _mm512_cvtss_f32(sums[0]);
}

}  // namespace sampan
