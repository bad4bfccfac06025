#pragma once

#include <cstdint>

#include "base/thread_pool.h"

namespace sampan {

// What this machine can do at most, measured now, so that a benchmark can print its share. Each takes some tenths of a second
// and uses all threads of the pool.
struct MachinePeaks {
  double read_bytes_per_second = 0;  // streaming reads of a block far larger than the last cache
  double int8_macs_per_second = 0;   // u8 × s8 products of the active instruction set (maddubs, vpdpbusd, sdot, smmla)
  double float_macs_per_second = 0;  // fma of the active instruction set
  double bf16_macs_per_second = 0;   // vdpbf16ps where Bf16Products::kRounded uses it, else as float
};
MachinePeaks measure_peaks(ThreadPool& pool);

// One instruction set's loops; each repeats `count` times a block of kMacsPerRound independent products and returns something
// that depends on the results.
struct PeakTable {
  std::int64_t (*sum_bytes)(const std::byte* data, std::int64_t bytes);  // bytes a multiple of 512
  std::int64_t (*int8_rounds)(std::int64_t count);
  std::int64_t int8_macs_per_round;
  float (*float_rounds)(std::int64_t count);
  std::int64_t float_macs_per_round;
  // As float_rounds, 2 * float_macs_per_round a round, by products of BF16; where has_bf16_products(). nullptr: there are none.
  float (*bf16_rounds)(std::int64_t count);
};
const PeakTable& peak_table_reference();
const PeakTable& peak_table_avx2();
const PeakTable& peak_table_avxvnni();
const PeakTable& peak_table_avx512();
const PeakTable& peak_table_neon();
const PeakTable& peak_table_i8mm();

float bf16_rounds_avx512(std::int64_t count);

}  // namespace sampan
