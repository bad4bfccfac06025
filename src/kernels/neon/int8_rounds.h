#pragma once

#include <arm_neon.h>

#include <cstdint>

// The loop of PeakTable::int8_rounds (kernels/peaks.h) for a product of bytes into 32-bit sums.
namespace sampan {
namespace {

constexpr int kChains = 16;  // enough to hide the latency of a product on four pipes

// product(sum, w, x) is vdotq_s32 or vmmlaq_s32.
template <typename Product>
inline std::int64_t int8_rounds_of(std::int64_t count, const Product& product) {
  int32x4_t sums[kChains];
  int8x16_t x = vdupq_n_s8(3);
  const int8x16_t w = vdupq_n_s8(5);
  for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
  for (std::int64_t i = 0; i < count; ++i) {
    for (int32x4_t& sum : sums) sum = product(sum, w, x);
    asm volatile("" : "+w"(x));  // keeps the compiler from lifting the products out of the loop
  }
  for (int j = 1; j < kChains; ++j) sums[0] = vaddq_s32(sums[0], sums[j]);
  return vaddvq_s32(sums[0]);
}

}  // namespace
}  // namespace sampan
