#include "kernels/peaks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/clock.h"
#include "kernels/isa_tables.h"
#include "tensor/tensor.h"

namespace sampan {
namespace {

constexpr std::int64_t kStreamBytes = std::int64_t{512} << 20;
constexpr std::int64_t kStreamPiece = std::int64_t{4} << 20;

// The fastest of several tries: a peak is what nothing disturbed.
template <typename Body>
double best_rate(double amount, int tries, Body&& body) {
  double best = 0;
  for (int i = 0; i < tries; ++i) {
    const auto start = Clock::now();
    body();
    best = std::max(best, amount / seconds_since(start));
  }
  return best;
}

std::atomic<std::int64_t> g_sink{0};  // keeps results alive

template <typename Rounds>
double product_rate(ThreadPool& pool, Rounds rounds, std::int64_t macs_per_round) {
  std::int64_t count = 1000;
  for (;;) {  // a try of at least 20 ms
    const auto start = Clock::now();
    g_sink += static_cast<std::int64_t>(rounds(count));
    if (seconds_since(start) > 0.02) break;
    count *= 2;
  }
  const double amount = static_cast<double>(count * macs_per_round) * pool.size();
  return best_rate(amount, 5, [&] {
    pool.parallel_for(pool.size(), [&](std::int64_t, int) { g_sink += static_cast<std::int64_t>(rounds(count)); });
  });
}

}  // namespace

MachinePeaks measure_peaks(ThreadPool& pool) {
  const PeakTable& table = isa_tables(active_isa()).peaks();
  MachinePeaks peaks;
  {
    Buffer buffer(static_cast<std::size_t>(kStreamBytes));
    std::memset(buffer.data(), 1, buffer.size());
    peaks.read_bytes_per_second = best_rate(static_cast<double>(kStreamBytes), 5, [&] {
      pool.parallel_for(kStreamBytes / kStreamPiece, [&](std::int64_t i, int) {
        g_sink += table.sum_bytes(buffer.data() + i * kStreamPiece, kStreamPiece);
      });
    });
  }
  peaks.int8_macs_per_second = product_rate(pool, table.int8_rounds, table.int8_macs_per_round);
  peaks.float_macs_per_second = product_rate(pool, table.float_rounds, table.float_macs_per_round);
  peaks.bf16_macs_per_second = peaks.float_macs_per_second;
  if (table.bf16_rounds != nullptr && has_bf16_products()) {
    peaks.bf16_macs_per_second = product_rate(pool, table.bf16_rounds, 2 * table.float_macs_per_round);
  }
  return peaks;
}

}  // namespace sampan
