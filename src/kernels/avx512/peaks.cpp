#include "kernels/peaks.h"

#include <immintrin.h>

#include <cstddef>

namespace sampan {
namespace {

constexpr int kChains = 12;  // enough to hide the latency of vpdpbusd and fma on two pipes

std::int64_t sum_bytes(const std::byte* data, std::int64_t bytes) {
  __m512i sums[8];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < bytes; i += 512) {
    for (int j = 0; j < 8; ++j) sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(data + i + 64 * j));
  }
  for (int j = 1; j < 8; ++j) sums[0] = _mm512_add_epi64(sums[0], sums[j]);
  return _mm512_reduce_add_epi64(sums[0]);
}

std::int64_t int8_rounds(std::int64_t count) {
  __m512i sums[kChains];
  __m512i x = _mm512_set1_epi8(3);
  const __m512i w = _mm512_set1_epi8(5);
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < count; ++i) {
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, w, x);
    asm volatile("" : "+v,m"(x));  // keeps the compiler from lifting the products out of the loop
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm512_add_epi32(sums[0], sums[j]);
  return _mm_cvtsi128_si32(_mm512_castsi512_si128(sums[0]));
}

float float_rounds(std::int64_t count) {
  __m512 sums[kChains];
  const __m512 a = _mm512_set1_ps(0.999f);
  const __m512 b = _mm512_set1_ps(0.5f);
  for (__m512& sum : sums) sum = b;
  for (std::int64_t i = 0; i < count; ++i) {
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, a, b);
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm512_add_ps(sums[0], sums[j]);
  return _mm512_cvtss_f32(sums[0]);
}

constexpr PeakTable kTable = {sum_bytes,    int8_rounds,  64 * kChains,
                              float_rounds, 16 * kChains, bf16_rounds_avx512};

}  // namespace

const PeakTable& peak_table_avx512() { return kTable; }

}  // namespace sampan
