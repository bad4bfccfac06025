// Speed of attention and the row-wise operations with the shapes of Qwen3-0.6B (16 query heads, 8
// kv heads of 128; hidden 1024, intermediate 3072), beside the peaks that the machine shows in the
// same run. Usage: ops_bench [--threads N] [--json FILE]; SAMPAN_ISA picks the instruction set.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/attention.h"
#include "kernels/isa.h"
#include "kernels/ops.h"
#include "kernels/peaks.h"
#include "tensor/tensor.h"

namespace sampan {
namespace {

constexpr std::int64_t kHeads = 16;
constexpr std::int64_t kKvHeads = 8;
constexpr std::int64_t kHeadDim = 128;
constexpr std::int64_t kHidden = 1024;
constexpr std::int64_t kIntermediate = 3072;

using Clock = std::chrono::steady_clock;

// Seconds a call at best: half a second of calls, at least five, after one to warm up.
template <typename Body>
double best_seconds(const Body& body) {
  body();
  double best = 1e30;
  double total = 0;
  for (int i = 0; i < 5 || total < 0.5; ++i) {
    const auto start = Clock::now();
    body();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

// Deterministic values of about unit size, without zeros or denormals.
std::vector<float> some_floats(std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  std::uint32_t state = 12345;
  for (float& value : out) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return out;
}

// Caches of several layers for one sequence, in all at least 256 MiB, so that each call of a decode
// step finds its layer in memory and not in a cache.
class Caches {
 public:
  Caches(DType dtype, std::int64_t length, ThreadPool& pool)
      : layout_{kKvHeads, kHeadDim, dtype}, length_(length) {
    const std::int64_t pages = (length + kKvPagePositions - 1) / kKvPagePositions;
    const std::int64_t layer_bytes = pages * layout_.page_bytes();
    layers_ = std::max<std::int64_t>(2, (std::int64_t{256} << 20) / layer_bytes + 1);
    memory_ = Buffer(static_cast<std::size_t>(layers_ * layer_bytes));
    tables_.resize(static_cast<std::size_t>(layers_));
    for (std::int64_t layer = 0; layer < layers_; ++layer) {
      auto& table = tables_[static_cast<std::size_t>(layer)];
      for (std::int64_t page = 0; page < pages; ++page) {
        table.push_back(memory_.data() + layer * layer_bytes + page * layout_.page_bytes());
      }
      store(layer, pool);
    }
  }

  void store(std::int64_t layer, ThreadPool& pool) {
    constexpr std::int64_t kChunk = 512;
    const std::vector<float> kv = some_floats(kChunk * kKvHeads * kHeadDim);
    for (std::int64_t begin = 0; begin < length_; begin += kChunk) {
      std::vector<std::int32_t> positions;
      for (std::int64_t i = begin; i < std::min(length_, begin + kChunk); ++i) {
        positions.push_back(static_cast<std::int32_t>(i));
      }
      const std::vector<std::byte* const*> tables(positions.size(), table(layer));
      store_kv(layout_, kv.data(), kv.data(), static_cast<std::int64_t>(positions.size()),
               positions.data(), tables.data(), pool);
    }
  }

  const KvLayout& layout() const { return layout_; }
  std::int64_t layers() const { return layers_; }
  std::byte* const* table(std::int64_t layer) const {
    return tables_[static_cast<std::size_t>(layer)].data();
  }

 private:
  KvLayout layout_;
  std::int64_t length_;
  std::int64_t layers_ = 0;
  Buffer memory_;
  std::vector<std::vector<std::byte*>> tables_;
};

class Report {
 public:
  Report(const MachinePeaks& peaks, int threads) : peaks_(peaks) {
    fmt::print("{}, {} threads: peak {:.1f} float GMAC/s, reads {:.1f} GB/s\n",
               isa_name(active_isa()), threads, peaks.float_macs_per_second / 1e9,
               peaks.read_bytes_per_second / 1e9);
    json_ = fmt::format(R"({{"isa":"{}","threads":{},"float_gmac_s":{:.2f},"read_gb_s":{:.2f},)"
                        R"("results":[)",
                        isa_name(active_isa()), threads, peaks.float_macs_per_second / 1e9,
                        peaks.read_bytes_per_second / 1e9);
  }

  void line(std::string_view name, double seconds, double macs, double bytes) {
    const double gmacs = macs / seconds / 1e9;
    const double gbytes = bytes / seconds / 1e9;
    fmt::print("{:<34}{:>10.1f} us", name, seconds * 1e6);
    if (macs > 0) {
      fmt::print("{:>9.1f} GMAC/s {:>4.0f} %", gmacs, gmacs * 1e11 / peaks_.float_macs_per_second);
    } else {
      fmt::print("{:>23}", "");
    }
    fmt::print("{:>9.1f} GB/s {:>4.0f} %\n", gbytes, gbytes * 1e11 / peaks_.read_bytes_per_second);
    json_ += fmt::format(R"({}{{"name":"{}","us":{:.2f},"gmac_s":{:.2f},"gb_s":{:.2f}}})",
                         first_ ? "" : ",", name, seconds * 1e6, gmacs, gbytes);
    first_ = false;
  }

  std::string json() const { return json_ + "]}\n"; }

 private:
  MachinePeaks peaks_;
  std::string json_;
  bool first_ = true;
};

// `count` queries at the end of `length` positions.
void bench_attention(DType dtype, std::int64_t length, std::int64_t count, ThreadPool& pool,
                     Report& report) {
  const Caches caches(dtype, length, pool);
  const AttentionArgs args = {caches.layout(), kHeads, 0.08838834764f, 0};
  const std::vector<float> q = some_floats(count * kHeads * kHeadDim);
  std::vector<float> out(q.size());
  std::int64_t layer = 0;
  std::vector<AttentionQuery> queries(static_cast<std::size_t>(count));
  const double seconds = best_seconds([&] {
    layer = (layer + 1) % caches.layers();
    for (std::int64_t i = 0; i < count; ++i) {
      queries[static_cast<std::size_t>(i)] = {static_cast<std::int32_t>(length - count + i),
                                              caches.table(layer)};
    }
    attention(args, q.data(), queries, out.data(), pool);
  });
  const double seen = static_cast<double>(count) * static_cast<double>(2 * length - count + 1) / 2;
  const double position_bytes = 2 * kKvHeads * kHeadDim * (dtype == DType::kF32 ? 4 : 2);
  report.line(fmt::format("attention {} {} at {}", dtype_name(dtype), count, length), seconds,
              seen * 2 * kHeads * kHeadDim, static_cast<double>(length) * position_bytes);
}

void bench_store(DType dtype, ThreadPool& pool, Report& report) {
  Caches caches(dtype, 512, pool);
  const std::vector<float> kv = some_floats(512 * kKvHeads * kHeadDim);
  std::vector<std::int32_t> positions;
  for (std::int32_t i = 0; i < 512; ++i) positions.push_back(i);
  std::int64_t layer = 0;
  const double seconds = best_seconds([&] {
    layer = (layer + 1) % caches.layers();
    const std::vector<std::byte* const*> tables(positions.size(), caches.table(layer));
    store_kv(caches.layout(), kv.data(), kv.data(), 512, positions.data(), tables.data(), pool);
  });
  report.line(fmt::format("store_kv {} 512", dtype_name(dtype)), seconds, 0,
              512.0 * 2 * kKvHeads * kHeadDim * (dtype == DType::kF32 ? 8 : 6));
}

// Bytes count each array read or written once.
void bench_rows(std::int64_t tokens, ThreadPool& pool, Report& report) {
  const auto t = static_cast<double>(tokens);
  std::vector<float> x = some_floats(tokens * kIntermediate);
  const std::vector<float> y = some_floats(tokens * kIntermediate);
  std::vector<float> out(x.size());
  const std::vector<float> weight = some_floats(kHidden);
  report.line(fmt::format("rms_norm {} x {}", tokens, kHidden), best_seconds([&] {
                rms_norm(x.data(), weight.data(), tokens, kHidden, 1e-6f, out.data(), pool);
              }),
              0, t * kHidden * 8);
  report.line(fmt::format("rms_norm {} x {}", tokens * kHeads, kHeadDim), best_seconds([&] {
                rms_norm(x.data(), weight.data(), tokens * kHeads, kHeadDim, 1e-6f, out.data(),
                         pool);
              }),
              0, t * kHeads * kHeadDim * 8);
  report.line(fmt::format("silu_mul {} x {}", tokens, kIntermediate), best_seconds([&] {
                silu_mul(x.data(), y.data(), tokens * kIntermediate, out.data(), pool);
              }),
              0, t * kIntermediate * 12);
  report.line(fmt::format("add_in_place {} x {}", tokens, kHidden),
              best_seconds([&] { add_in_place(out.data(), y.data(), tokens * kHidden, pool); }), 0,
              t * kHidden * 12);
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens), 1000);
  std::vector<float> cos_sin(static_cast<std::size_t>(tokens * kHeadDim));
  report.line(fmt::format("rope_angles {} x {}", tokens, kHeadDim / 2), best_seconds([&] {
                rope_angles(positions.data(), tokens, weight.data(), kHeadDim / 2, 1.0f,
                            cos_sin.data());
              }),
              0, t * kHeadDim * 4);
  report.line(fmt::format("rope_half {} x {} x {}", tokens, kHeads, kHeadDim), best_seconds([&] {
                rope_half(x.data(), tokens, kHeads, kHeadDim, cos_sin.data(), kHeadDim / 2, pool);
              }),
              0, t * kHeads * kHeadDim * 8);
}

int run(int argc, char** argv) {
  int threads = default_thread_count();
  std::string json_path;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string_view(argv[i]) == "--threads") threads = std::atoi(argv[i + 1]);
    if (std::string_view(argv[i]) == "--json") json_path = argv[i + 1];
  }
  ThreadPool pool(std::max(1, threads));
  Report report(measure_peaks(pool), pool.size());
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    for (const std::int64_t length : {512, 4096}) {
      bench_attention(dtype, length, length, pool, report);
    }
    bench_attention(dtype, 4096, 512, pool, report);
    for (const std::int64_t length : {4096, 16384}) {
      bench_attention(dtype, length, 1, pool, report);
    }
    bench_store(dtype, pool, report);
  }
  bench_rows(1, pool, report);
  bench_rows(512, pool, report);
  if (!json_path.empty()) std::ofstream(json_path) << report.json();
  return 0;
}

}  // namespace
}  // namespace sampan

int main(int argc, char** argv) { return sampan::run(argc, argv); }
