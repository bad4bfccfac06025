#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/neon/matmul_entries.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

struct BlockScale {
  float d;
  float inverse;  // 0 when all become 0
};

// From the largest bits of |x| in each lane.
SAMPAN_INLINE inline BlockScale block_scale(uint32x4_t largest) {
  const std::uint32_t bits = vmaxvq_u32(largest);
  float amax;
  __builtin_memcpy(&amax, &bits, sizeof(amax));
  if (bits >= 0x7F800000u) return {__builtin_nanf(""), 0.0f};
  if (amax < kLeastActivation) return {0.0f, 0.0f};
  return {amax / 127.0f, 127.0f / amax};
}

// The largest bits of |x| of n floats.
SAMPAN_INLINE inline uint32x4_t largest_bits(const float* x, int n) {
  uint32x4_t largest = vdupq_n_u32(0);
  for (int i = 0; i < n; i += 4) {
    largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
  }
  return largest;
}

SAMPAN_INLINE inline int32x4_t rounded(const float* x, float inverse) {
  return vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
}

// 16 floats to bytes.
SAMPAN_INLINE inline int8x16_t quantize16(const float* x, float inverse) {
  if (inverse == 0.0f) return vdupq_n_s8(0);
  const int16x8_t low =
      vcombine_s16(vmovn_s32(rounded(x, inverse)), vmovn_s32(rounded(x + 4, inverse)));
  const int16x8_t high =
      vcombine_s16(vmovn_s32(rounded(x + 8, inverse)), vmovn_s32(rounded(x + 12, inverse)));
  return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

void quantize32(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock32*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 32) {
    const BlockScale scale = block_scale(largest_bits(x, 32));
    const int8x16_t low = quantize16(x, scale.inverse);
    const int8x16_t high = quantize16(x + 16, scale.inverse);
    const int sum = vaddlvq_s8(low) + vaddlvq_s8(high);
    vst1q_s8(block[b].q, low);
    vst1q_s8(block[b].q + 16, high);
    block[b].d = scale.d;
    block[b].minus_sum = -sum;
    block[b].sum = static_cast<float>(sum);
  }
}

void quantize256(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock256*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 256) {
    const BlockScale scale = block_scale(largest_bits(x, 256));
    for (int i = 0; i < 16; ++i) {
      const int8x16_t q = quantize16(x + 16 * i, scale.inverse);
      vst1q_s8(block[b].q + 16 * i, q);
      block[b].sums16[i] = vaddlvq_s8(q);
    }
    const int16x8x2_t sums = vld2q_s16(block[b].sums16);
    vst1q_s16(block[b].sums32, vaddq_s16(sums.val[0], sums.val[1]));
    block[b].d = scale.d;
  }
}

SAMPAN_INLINE inline uint16x4_t narrow4(float32x4_t value) {
  const uint32x4_t bits = vreinterpretq_u32_f32(value);
  const uint32x4_t high = vshrq_n_u32(bits, 16);
  const uint32x4_t odd = vandq_u32(high, vdupq_n_u32(1));
  const uint32x4_t half = vaddq_u32(odd, vdupq_n_u32(0x7FFF));
  const uint32x4_t rounded_bits = vshrq_n_u32(vaddq_u32(bits, half), 16);
  const uint32x4_t quiet = vorrq_u32(high, vdupq_n_u32(0x40));
  return vmovn_u32(vbslq_u32(vceqq_f32(value, value), rounded_bits, quiet));
}

void narrow_bf16(const float* x, std::int64_t count, std::byte* out) {
  auto* halves = reinterpret_cast<std::uint16_t*>(out);
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4) vst1_u16(halves + i, narrow4(vld1q_f32(x + i)));
  if (i == count) return;
  const auto left = static_cast<std::size_t>(count - i);
  float padded[4] = {};
  std::uint16_t last[4];
  __builtin_memcpy(padded, x + i, left * sizeof(float));
  vst1_u16(last, narrow4(vld1q_f32(padded)));
  __builtin_memcpy(halves + i, last, left * sizeof(std::uint16_t));
}

}  // namespace

void add_quantize_entries_neon(MatmulTable& table) {
  table.quantize32 = quantize32;
  table.quantize256 = quantize256;
  table.narrow_bf16 = narrow_bf16;
}

}  // namespace sampan
