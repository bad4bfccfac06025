#include "kernels/peaks.h"

#include <immintrin.h>

namespace sampan {
namespace {

constexpr int kChains = 10;  // enough to hide the latency of vpdpbusd on two pipes

std::int64_t int8_rounds(std::int64_t count) {
  __m256i sums[kChains];
  __m256i x = _mm256_set1_epi8(3);
  const __m256i w = _mm256_set1_epi8(5);
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < count; ++i) {
    for (__m256i& sum : sums) sum = _mm256_dpbusd_avx_epi32(sum, w, x);
    asm volatile("" : "+x"(x));  // keeps the compiler from lifting the products out of the loop
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm256_add_epi32(sums[0], sums[j]);
  return _mm256_extract_epi32(sums[0], 0);
}

PeakTable make_table() {
  PeakTable table = peak_table_avx2();
  table.int8_rounds = int8_rounds;
  table.int8_macs_per_round = 32 * kChains;
  return table;
}

}  // namespace

const PeakTable& peak_table_avxvnni() {
  static const PeakTable table = make_table();
  return table;
}

}  // namespace sampan
