#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/matmul_entries.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

struct BlockScale {
  float d;
  float inverse;  // 0 when all become 0
};

// From the largest bits of |x| in each lane.
SAMPAN_INLINE inline BlockScale block_scale(__m256i largest) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
  const int bits = _mm_cvtsi128_si32(m);
  const float amax = _mm_cvtss_f32(_mm_castsi128_ps(m));
  if (bits >= 0x7F800000) return {__builtin_nanf(""), 0.0f};
  if (amax < kLeastActivation) return {0.0f, 0.0f};
  return {amax / 127.0f, 127.0f / amax};
}

SAMPAN_INLINE inline __m256i magnitude_bits(const float* x) {
  return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)), _mm256_set1_epi32(0x7FFFFFFF));
}

SAMPAN_INLINE inline __m256i rounded(const float* x, __m256 inverse) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}

// 32 floats to bytes in order.
SAMPAN_INLINE inline __m256i quantize_group(const float* x, __m256 inverse) {
  const __m256i ab = _mm256_packs_epi32(rounded(x, inverse), rounded(x + 8, inverse));
  const __m256i cd = _mm256_packs_epi32(rounded(x + 16, inverse), rounded(x + 24, inverse));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), order);
}

// Sums of bytes 0…15 and 16…31.
SAMPAN_INLINE inline void group_sums(__m256i q, int* low, int* high) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
  const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  const __m256i eights = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4E));
  const __m256i all = _mm256_add_epi32(eights, _mm256_shuffle_epi32(eights, 0xB1));
  *low = _mm_cvtsi128_si32(_mm256_castsi256_si128(all));
  *high = _mm_cvtsi128_si32(_mm256_extracti128_si256(all, 1));
}

void quantize32(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock32*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 32) {
    const __m256i largest =
        _mm256_max_epi32(_mm256_max_epi32(magnitude_bits(x), magnitude_bits(x + 8)),
                         _mm256_max_epi32(magnitude_bits(x + 16), magnitude_bits(x + 24)));
    const BlockScale scale = block_scale(largest);
    __m256i q = _mm256_setzero_si256();
    if (scale.inverse != 0.0f) q = quantize_group(x, _mm256_set1_ps(scale.inverse));
    int low, high;
    group_sums(q, &low, &high);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block[b].q), q);
    block[b].d = scale.d;
    block[b].minus_sum = -(low + high);
    block[b].sum = static_cast<float>(low + high);
  }
}

void quantize256(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock256*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 256) {
    __m256i largest = magnitude_bits(x);
    for (int i = 8; i < 256; i += 8) largest = _mm256_max_epi32(largest, magnitude_bits(x + i));
    const BlockScale scale = block_scale(largest);
    for (int i = 0; i < 8; ++i) {
      __m256i q = _mm256_setzero_si256();
      if (scale.inverse != 0.0f) q = quantize_group(x + 32 * i, _mm256_set1_ps(scale.inverse));
      int low, high;
      group_sums(q, &low, &high);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(block[b].q + 32 * i), q);
      block[b].sums16[2 * i] = static_cast<std::int16_t>(low);
      block[b].sums16[2 * i + 1] = static_cast<std::int16_t>(high);
      block[b].sums32[i] = static_cast<std::int16_t>(low + high);
    }
    block[b].d = scale.d;
  }
}

SAMPAN_INLINE inline void narrow8(const float* x, std::uint16_t* out) {
  const __m256 value = _mm256_loadu_ps(x);
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i high = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
  const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  const __m256i result = _mm256_blendv_epi8(rounded, quiet, nan);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), packed);
}

void narrow_bf16(const float* x, std::int64_t count, std::byte* out) {
  auto* halves = reinterpret_cast<std::uint16_t*>(out);
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) narrow8(x + i, halves + i);
  if (i == count) return;
  const auto left = static_cast<std::size_t>(count - i);
  float padded[8] = {};
  std::uint16_t last[8];
  __builtin_memcpy(padded, x + i, left * sizeof(float));
  narrow8(padded, last);
  __builtin_memcpy(halves + i, last, left * sizeof(std::uint16_t));
}

}  // namespace

void add_quantize_entries_avx2(MatmulTable& table) {
  table.quantize32 = quantize32;
  table.quantize256 = quantize256;
  table.narrow_bf16 = narrow_bf16;
}

}  // namespace sampan
