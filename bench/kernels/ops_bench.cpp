// Speed of attention and the row-wise operations with the shapes of Qwen3-0.6B (16 query heads, 8
// kv heads of 128; hidden 1024, intermediate 3072) and of latent attention with those of
// DeepSeek-V2-Lite (16 heads) and V3 (128; latent 512, rope 64), beside the peaks that the machine
// shows in the same run. Usage: ops_bench [--threads N] [--only PREFIX] [--json FILE]; SAMPAN_ISA
// picks the instruction set.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/attention.h"
#include "kernels/isa.h"
#include "kernels/latent_attention.h"
#include "kernels/ops.h"
#include "kernels/ops_table.h"
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

// Caches of several layers for one sequence, in all at least `least_bytes`, so that each call of a
// decode step finds its layer in memory and not in a cache. `store(positions, tables)` fills one
// layer.
class Caches {
 public:
  template <typename Store>
  Caches(std::int64_t page_bytes, std::int64_t length, const Store& store,
         std::int64_t least_bytes = kLeastBytes)
      : length_(length) {
    const std::int64_t pages = (length + kKvPagePositions - 1) / kKvPagePositions;
    const std::int64_t layer_bytes = pages * page_bytes;
    layers_ = std::max<std::int64_t>(2, least_bytes / layer_bytes + 1);
    memory_ = Buffer(static_cast<std::size_t>(layers_ * layer_bytes));
    tables_.resize(static_cast<std::size_t>(layers_));
    for (std::int64_t layer = 0; layer < layers_; ++layer) {
      auto& table = tables_[static_cast<std::size_t>(layer)];
      for (std::int64_t page = 0; page < pages; ++page) {
        table.push_back(memory_.data() + layer * layer_bytes + page * page_bytes);
      }
      for (std::int64_t begin = 0; begin < length_; begin += kChunk) {
        store(positions(begin), tables(layer));
      }
    }
  }

  static constexpr std::int64_t kLeastBytes = std::int64_t{256} << 20;
  static constexpr std::int64_t kChunk = 512;
  std::vector<std::int32_t> positions(std::int64_t begin) const {
    std::vector<std::int32_t> out;
    for (std::int64_t i = begin; i < std::min(length_, begin + kChunk); ++i) {
      out.push_back(static_cast<std::int32_t>(i));
    }
    return out;
  }
  std::vector<std::byte* const*> tables(std::int64_t layer) const {
    return std::vector<std::byte* const*>(kChunk, table(layer));
  }
  std::byte* const* table(std::int64_t layer) const {
    return tables_[static_cast<std::size_t>(layer)].data();
  }
  std::int64_t layers() const { return layers_; }

 private:
  std::int64_t length_;
  std::int64_t layers_ = 0;
  Buffer memory_;
  std::vector<std::vector<std::byte*>> tables_;
};

class Report {
 public:
  Report(const MachinePeaks& peaks, int threads, std::string only)
      : peaks_(peaks), only_(std::move(only)) {
    fmt::print("{}, {} threads: peak {:.1f} float GMAC/s, reads {:.1f} GB/s\n",
               isa_name(active_isa()), threads, peaks.float_macs_per_second / 1e9,
               peaks.read_bytes_per_second / 1e9);
    json_ = fmt::format(R"({{"isa":"{}","threads":{},"float_gmac_s":{:.2f},"read_gb_s":{:.2f},)"
                        R"("results":[)",
                        isa_name(active_isa()), threads, peaks.float_macs_per_second / 1e9,
                        peaks.read_bytes_per_second / 1e9);
  }

  // Whether the line is asked for: those that begin with `only`.
  bool wants(std::string_view name) const { return name.starts_with(only_); }

  void line(std::string_view name, double seconds, double macs, double bytes) {
    if (!wants(name)) return;
    const double gmacs = macs / seconds / 1e9;
    const double gbytes = bytes / seconds / 1e9;
    fmt::print("{:<36}{:>10.1f} us", name, seconds * 1e6);
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
  std::string only_;
  std::string json_;
  bool first_ = true;
};

// Seconds that `attend(queries)` takes for `count` queries at the end of `length` positions, layer
// after layer.
template <typename Attend>
double attention_seconds(const Caches& caches, std::int64_t length, std::int64_t count,
                         const Attend& attend) {
  std::int64_t layer = 0;
  std::vector<AttentionQuery> queries(static_cast<std::size_t>(count));
  return best_seconds([&] {
    layer = (layer + 1) % caches.layers();
    for (std::int64_t i = 0; i < count; ++i) {
      queries[static_cast<std::size_t>(i)] = {static_cast<std::int32_t>(length - count + i),
                                              caches.table(layer)};
    }
    attend(queries);
  });
}

// Positions that the queries see, all together.
double seen(std::int64_t length, std::int64_t count) {
  return static_cast<double>(count) * static_cast<double>(2 * length - count + 1) / 2;
}

Caches kv_caches(const KvLayout& layout, std::int64_t length, ThreadPool& pool,
                 std::int64_t least_bytes = Caches::kLeastBytes) {
  const std::vector<float> kv = some_floats(Caches::kChunk * layout.kv_heads * layout.head_dim);
  return Caches(
      layout.page_bytes(), length,
      [&](const auto& positions, const auto& tables) {
        store_kv(layout, kv.data(), kv.data(), static_cast<std::int64_t>(positions.size()),
                 positions.data(), tables.data(), pool);
      },
      least_bytes);
}

Caches latent_caches(const LatentLayout& layout, std::int64_t length, ThreadPool& pool) {
  const std::vector<float> rows = some_floats(Caches::kChunk * layout.row_dim());
  return Caches(layout.page_bytes(), length, [&](const auto& positions, const auto& tables) {
    store_latent(layout, rows.data(), layout.row_dim(), static_cast<std::int64_t>(positions.size()),
                 positions.data(), tables.data(), pool);
  });
}

void bench_attention(const KvLayout& layout, std::int64_t length, std::int64_t count,
                     ThreadPool& pool, Report& report) {
  const std::string name = fmt::format("attention {} {}/{} {} at {}", dtype_name(layout.dtype),
                                       kHeads, layout.kv_heads, count, length);
  if (!report.wants(name)) return;
  const Caches caches = kv_caches(layout, length, pool);
  const AttentionArgs args = {layout, kHeads, 0.08838834764f, 0};
  const std::vector<float> q = some_floats(count * kHeads * kHeadDim);
  std::vector<float> out(q.size());
  const double seconds = attention_seconds(caches, length, count, [&](const auto& queries) {
    attention(args, q.data(), queries, out.data(), pool);
  });
  report.line(name, seconds, seen(length, count) * 2 * kHeads * kHeadDim,
              static_cast<double>(length * layout.page_bytes()) / kKvPagePositions);
}

// One query at the end of each of `texts` texts.
void bench_texts(const KvLayout& layout, std::int64_t texts, std::int64_t length, ThreadPool& pool,
                 Report& report) {
  const std::string name =
      fmt::format("attention {} {}/{} {} texts at {}", dtype_name(layout.dtype), kHeads,
                  layout.kv_heads, texts, length);
  if (!report.wants(name)) return;
  std::vector<Caches> caches;
  for (std::int64_t text = 0; text < texts; ++text)
    caches.push_back(kv_caches(layout, length, pool, Caches::kLeastBytes / texts));
  const AttentionArgs args = {layout, kHeads, 0.08838834764f, 0};
  const std::vector<float> q = some_floats(texts * kHeads * kHeadDim);
  std::vector<float> out(q.size());
  std::vector<AttentionQuery> queries(static_cast<std::size_t>(texts));
  std::int64_t layer = 0;
  const double seconds = best_seconds([&] {
    layer = (layer + 1) % caches[0].layers();
    for (std::size_t text = 0; text < queries.size(); ++text)
      queries[text] = {static_cast<std::int32_t>(length - 1), caches[text].table(layer)};
    attention(args, q.data(), queries, out.data(), pool);
  });
  report.line(name, seconds, static_cast<double>(texts * length * 2 * kHeads * kHeadDim),
              static_cast<double>(texts * length * layout.page_bytes()) / kKvPagePositions);
}

void bench_latent(DType dtype, std::int64_t heads, std::int64_t length, std::int64_t count,
                  ThreadPool& pool, Report& report) {
  const std::string name =
      fmt::format("latent {} {} heads {} at {}", dtype_name(dtype), heads, count, length);
  if (!report.wants(name)) return;
  const LatentLayout layout = {512, 64, dtype};
  const Caches caches = latent_caches(layout, length, pool);
  const LatentAttentionArgs args = {layout, heads, 0.0721687836f};
  const std::vector<float> q = some_floats(count * heads * layout.row_dim());
  std::vector<float> out(static_cast<std::size_t>(count * heads * layout.latent_dim));
  const double seconds = attention_seconds(caches, length, count, [&](const auto& queries) {
    latent_attention(args, q.data(), queries, out.data(), pool);
  });
  report.line(
      name, seconds,
      seen(length, count) * static_cast<double>(heads * (layout.row_dim() + layout.latent_dim)),
      static_cast<double>(length * layout.page_bytes()) / kKvPagePositions);
}

// Bytes are those read and those written.
void bench_stores(DType dtype, ThreadPool& pool, Report& report) {
  const KvLayout kv = {kKvHeads, kHeadDim, dtype};
  const LatentLayout latent = {512, 64, dtype};
  const Caches kv_layers = kv_caches(kv, Caches::kChunk, pool);
  const Caches latent_layers = latent_caches(latent, Caches::kChunk, pool);
  const std::vector<std::int32_t> positions = kv_layers.positions(0);
  const std::vector<float> rows = some_floats(Caches::kChunk * kKvHeads * kHeadDim);
  std::vector<float> loaded(static_cast<std::size_t>(Caches::kChunk * latent.row_dim()));
  const double size = dtype == DType::kF32 ? 8 : 6;
  std::int64_t layer = 0;
  report.line(fmt::format("store_kv {} 512", dtype_name(dtype)), best_seconds([&] {
                layer = (layer + 1) % kv_layers.layers();
                store_kv(kv, rows.data(), rows.data(), Caches::kChunk, positions.data(),
                         kv_layers.tables(layer).data(), pool);
              }),
              0, size * 2 * Caches::kChunk * kKvHeads * kHeadDim);
  report.line(fmt::format("store_latent {} 512", dtype_name(dtype)), best_seconds([&] {
                layer = (layer + 1) % latent_layers.layers();
                store_latent(latent, rows.data(), latent.row_dim(), Caches::kChunk,
                             positions.data(), latent_layers.tables(layer).data(), pool);
              }),
              0, size * static_cast<double>(Caches::kChunk * latent.row_dim()));
  report.line(fmt::format("load_latent {} 512", dtype_name(dtype)), best_seconds([&] {
                layer = (layer + 1) % latent_layers.layers();
                load_latent(latent, latent_layers.table(layer), 0, Caches::kChunk, loaded.data(),
                            latent.row_dim(), pool);
              }),
              0, size * static_cast<double>(Caches::kChunk * latent.row_dim()));
}

// Bytes count each array read or written once.
void bench_rows(std::int64_t tokens, ThreadPool& pool, Report& report) {
  const auto t = static_cast<double>(tokens);
  std::vector<float> x = some_floats(tokens * kIntermediate);
  const std::vector<float> y = some_floats(tokens * kIntermediate);
  std::vector<float> out(x.size());
  const std::vector<float> weight = some_floats(kHidden);
  const OpsTable& ops = active_ops_table();
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
                pool.parallel_for(tokens, [&](std::int64_t token, int) {
                  const std::int64_t at = token * kIntermediate;
                  ops.silu_mul(x.data() + at, y.data() + at, kIntermediate, out.data() + at);
                });
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
  report.line(fmt::format("rope_interleaved {} x {} x 64", tokens, kHeads), best_seconds([&] {
                rope_interleaved(x.data() + 128, tokens, kHeads, 192, cos_sin.data(), 32, pool);
              }),
              0, t * kHeads * 64 * 8);
}

int run(int argc, char** argv) {
  int threads = default_thread_count();
  std::string json_path;
  std::string only;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string_view(argv[i]) == "--threads") threads = std::atoi(argv[i + 1]);
    if (std::string_view(argv[i]) == "--only") only = argv[i + 1];
    if (std::string_view(argv[i]) == "--json") json_path = argv[i + 1];
  }
  ThreadPool pool(std::max(1, threads));
  Report report(measure_peaks(pool), pool.size(), only);
  for (const DType dtype : {DType::kF32, DType::kF16}) {
    const KvLayout layout = {kKvHeads, kHeadDim, dtype};
    for (const std::int64_t length : {512, 4096}) {
      bench_attention(layout, length, length, pool, report);
    }
    for (const std::int64_t length : {4096, 16384, 32768}) {
      bench_attention(layout, length, 512, pool, report);
    }
    for (const std::int64_t length : {4096, 16384}) {
      bench_attention(layout, length, 1, pool, report);
    }
    bench_attention({1, kHeadDim, dtype}, 4096, 1, pool, report);
    for (const std::int64_t length : {64, 100, 400}) bench_texts(layout, 16, length, pool, report);
    for (const std::int64_t heads : {16, 128}) {
      bench_latent(dtype, heads, 4096, heads == 16 ? 512 : 64, pool, report);
      for (const std::int64_t length : {4096, 16384}) {
        bench_latent(dtype, heads, length, 1, pool, report);
      }
    }
    bench_stores(dtype, pool, report);
  }
  bench_rows(1, pool, report);
  bench_rows(512, pool, report);
  if (!json_path.empty()) std::ofstream(json_path) << report.json();
  return 0;
}

}  // namespace
}  // namespace sampan

int main(int argc, char** argv) { return sampan::run(argc, argv); }
