#include "kernels/peaks.h"

#include <immintrin.h>

#include <cstddef>

namespace sampan {
namespace {

constexpr int kChains = 10;  // enough to hide the latency of an fma on two or four pipes

std::int64_t sum_bytes(const std::byte* data, std::int64_t bytes) {
  __m256i sums[8];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < bytes; i += 256) {
    for (int j = 0; j < 8; ++j) {
      const auto* p = reinterpret_cast<const __m256i*>(data + i + 32 * j);
      sums[j] = _mm256_add_epi64(sums[j], _mm256_loadu_si256(p));
    }
  }
  for (int j = 1; j < 8; ++j) sums[0] = _mm256_add_epi64(sums[0], sums[j]);
  return _mm256_extract_epi64(sums[0], 0) + _mm256_extract_epi64(sums[0], 1) +
         _mm256_extract_epi64(sums[0], 2) + _mm256_extract_epi64(sums[0], 3);
}

// maddubs and a 16-bit add a product: widening put off as far as it goes.
std::int64_t int8_rounds(std::int64_t count) {
  __m256i sums[kChains];
  __m256i x = _mm256_set1_epi8(3);
  const __m256i w = _mm256_set1_epi8(5);
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < count; ++i) {
    for (__m256i& sum : sums) sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
    asm volatile("" : "+x"(x));  // keeps the compiler from lifting the products out of the loop
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm256_add_epi16(sums[0], sums[j]);
  return _mm256_extract_epi64(sums[0], 0);
}

float float_rounds(std::int64_t count) {
  __m256 sums[kChains];
  const __m256 a = _mm256_set1_ps(0.999f);
  const __m256 b = _mm256_set1_ps(0.5f);
  for (__m256& sum : sums) sum = b;
  for (std::int64_t i = 0; i < count; ++i) {
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, a, b);
  }
  for (int j = 1; j < kChains; ++j) sums[0] = _mm256_add_ps(sums[0], sums[j]);
  return _mm256_cvtss_f32(sums[0]);
}

constexpr PeakTable kTable = {sum_bytes, int8_rounds, 32 * kChains, float_rounds, 8 * kChains, nullptr};

}  // namespace

const PeakTable& peak_table_avx2() { return kTable; }

}  // namespace sampan
