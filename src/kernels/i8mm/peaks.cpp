#include "kernels/peaks.h"

#include <arm_neon.h>

#include "kernels/neon/int8_rounds.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

std::int64_t int8_rounds(std::int64_t count) {
  return int8_rounds_of(count, [](int32x4_t sum, int8x16_t w, int8x16_t x)
                                   SAMPAN_INLINE { return vmmlaq_s32(sum, w, x); });
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
