#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512/matmul_entries.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

struct BlockScale {
  float d;
  float inverse;  // 0 when all become 0
};

// From the largest bits of |x| in each lane.
SAMPAN_INLINE inline BlockScale block_scale(__m512i largest) {
  const int bits = _mm512_reduce_max_epi32(largest);
  float amax;
  __builtin_memcpy(&amax, &bits, 4);
  if (bits >= 0x7F800000) return {__builtin_nanf(""), 0.0f};
  if (amax < kLeastActivation) return {0.0f, 0.0f};
  return {amax / 127.0f, 127.0f / amax};
}

SAMPAN_INLINE inline __m512i magnitude_bits(const float* x) {
  return _mm512_and_si512(_mm512_castps_si512(_mm512_loadu_ps(x)), _mm512_set1_epi32(0x7FFFFFFF));
}

// Quantises 16 floats; their sum.
SAMPAN_INLINE inline int quantize16(const float* x, const BlockScale& scale, std::int8_t* q) {
  if (scale.inverse == 0.0f) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm_setzero_si128());
    return 0;
  }
  const __m512i rounded =
      _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(scale.inverse)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtepi32_epi8(rounded));
  return _mm512_reduce_add_epi32(rounded);
}

void quantize32(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock32*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 32) {
    const BlockScale scale =
        block_scale(_mm512_max_epi32(magnitude_bits(x), magnitude_bits(x + 16)));
    const int sum = quantize16(x, scale, block[b].q) + quantize16(x + 16, scale, block[b].q + 16);
    block[b].d = scale.d;
    block[b].minus_sum = -sum;
    block[b].sum = static_cast<float>(sum);
  }
}

void quantize256(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock256*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 256) {
    __m512i largest = magnitude_bits(x);
    for (int i = 16; i < 256; i += 16) largest = _mm512_max_epi32(largest, magnitude_bits(x + i));
    const BlockScale scale = block_scale(largest);
    for (int i = 0; i < 16; i += 2) {
      const int first = quantize16(x + 16 * i, scale, block[b].q + 16 * i);
      const int second = quantize16(x + 16 * i + 16, scale, block[b].q + 16 * i + 16);
      block[b].sums16[i] = static_cast<std::int16_t>(first);
      block[b].sums16[i + 1] = static_cast<std::int16_t>(second);
      block[b].sums32[i / 2] = static_cast<std::int16_t>(first + second);
    }
    block[b].d = scale.d;
  }
}

// 16 floats, those that the mask leaves out not read or written.
SAMPAN_INLINE inline void narrow16(const float* x, __mmask16 mask, std::uint16_t* out) {
  const __m512 value = _mm512_maskz_loadu_ps(mask, x);
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i high = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  const __m512i result =
      _mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40));  // quiet
  _mm256_mask_storeu_epi16(out, mask, _mm512_cvtepi32_epi16(result));
}

void narrow_bf16(const float* x, std::int64_t count, std::byte* out) {
  auto* halves = reinterpret_cast<std::uint16_t*>(out);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) narrow16(x + i, 0xFFFF, halves + i);
  if (i < count) narrow16(x + i, static_cast<__mmask16>((1u << (count - i)) - 1), halves + i);
}

}  // namespace

void add_quantize_entries_avx512(MatmulTable& table) {
  table.quantize32 = quantize32;
  table.quantize256 = quantize256;
  table.narrow_bf16 = narrow_bf16;
}

}  // namespace sampan
