#include "kernels/peaks.h"

#include <arm_neon.h>

namespace sampan {
namespace {

constexpr int kChains = 16;  // enough to hide the latency of smmla on four pipes

std::int64_t int8_rounds(std::int64_t count) {
  int32x4_t sums[kChains];
  int8x16_t x = vdupq_n_s8(3);
  const int8x16_t w = vdupq_n_s8(5);
  for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
  for (std::int64_t i = 0; i < count; ++i) {
    for (int32x4_t& sum : sums) sum = vmmlaq_s32(sum, w, x);
    asm volatile("" : "+w"(x));  // keeps the compiler from lifting the products out of the loop
  }
  for (int j = 1; j < kChains; ++j) sums[0] = vaddq_s32(sums[0], sums[j]);
  return vaddvq_s32(sums[0]);
}

PeakTable make_table() {
  PeakTable table = peak_table_neon();
  table.int8_rounds = int8_rounds;
  table.int8_macs_per_round = 32 * kChains;
  return table;
}

}  // namespace

const PeakTable& peak_table_i8mm() {
  static const PeakTable table = make_table();
  return table;
}

}  // namespace sampan
