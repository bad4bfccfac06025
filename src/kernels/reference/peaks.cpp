#include "kernels/peaks.h"

#include <cmath>
#include <cstddef>
#include <cstring>

namespace sampan {
namespace {

std::int64_t sum_bytes(const std::byte* data, std::int64_t bytes) {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < bytes; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, data + i, 8);
    sum += word;
  }
  return static_cast<std::int64_t>(sum);
}

std::int64_t int8_rounds(std::int64_t count) {
  std::uint32_t sums[8] = {};  // wraps
  for (std::int64_t i = 0; i < count; ++i) {
    for (int j = 0; j < 8; ++j) sums[j] += static_cast<std::uint32_t>((i + j) & 127) * 3;
  }
  std::int64_t total = 0;
  for (const std::uint32_t sum : sums) total += sum;
  return total;
}

float float_rounds(std::int64_t count) {
  float sums[8] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    for (float& sum : sums) sum = std::fma(sum, 0.999f, 0.5f);
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

constexpr PeakTable kTable = {sum_bytes, int8_rounds, 8, float_rounds, 8, nullptr};

}  // namespace

const PeakTable& peak_table_reference() { return kTable; }

}  // namespace sampan
