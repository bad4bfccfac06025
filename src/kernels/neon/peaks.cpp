#include "kernels/peaks.h"

#include <arm_neon.h>

#include <cstddef>

#include "kernels/neon/int8_rounds.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

std::int64_t sum_bytes(const std::byte* data, std::int64_t bytes) {
  uint64x2_t sums[8];
  for (uint64x2_t& sum : sums) sum = vdupq_n_u64(0);
  for (std::int64_t i = 0; i < bytes; i += 128) {
    for (int j = 0; j < 8; ++j) {
      const auto* p = reinterpret_cast<const std::uint8_t*>(data + i + 16 * j);
      sums[j] = vaddq_u64(sums[j], vreinterpretq_u64_u8(vld1q_u8(p)));
    }
  }
  for (int j = 1; j < 8; ++j) sums[0] = vaddq_u64(sums[0], sums[j]);
  return static_cast<std::int64_t>(vaddvq_u64(sums[0]));
}

std::int64_t int8_rounds(std::int64_t count) {
  return int8_rounds_of(count, [](int32x4_t sum, int8x16_t w, int8x16_t x)
                                   SAMPAN_INLINE { return vdotq_s32(sum, w, x); });
}

float float_rounds(std::int64_t count) {
  float32x4_t sums[kChains];
  const float32x4_t a = vdupq_n_f32(0.999f);
  const float32x4_t b = vdupq_n_f32(0.5f);
  for (float32x4_t& sum : sums) sum = b;
  for (std::int64_t i = 0; i < count; ++i) {
    for (float32x4_t& sum : sums) sum = vfmaq_f32(b, sum, a);
  }
  for (int j = 1; j < kChains; ++j) sums[0] = vaddq_f32(sums[0], sums[j]);
  return vgetq_lane_f32(sums[0], 0);
}

constexpr PeakTable kTable = {sum_bytes,    int8_rounds, 16 * kChains,
                              float_rounds, 4 * kChains, nullptr};

}  // namespace

const PeakTable& peak_table_neon() { return kTable; }

}  // namespace sampan
