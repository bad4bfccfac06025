// How fast weights come into memory.
//
//   load_bench [--threads 1,2] [--types Q4_0,Q4_K,…|all]     packing of random blocks
//   load_bench --model FILE [--threads 2]                     where a whole load's time goes
//   (SAMPAN_ISA chooses the packers)
//
// Packing: GB/s of source bytes, from memory that is mapped into memory that is mapped ("warm") and
// into memory fresh from the system, as a load has it ("fresh"); beside them memcpy of the same
// bytes on as many threads, into the same two kinds of memory, in the same run. Medians.
//
// A model: each step by itself, in the order in which a load takes them; the whole load overlaps
// some of them.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "engine/runner.h"
#include "kernels/isa.h"
#include "kernels/matmul.h"
#include "kernels/pack_table.h"
#include "kernels/panels.h"
#include "models/load.h"

namespace sampan {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kColumns = 2560;  // the width of Qwen3-4B
constexpr std::int64_t kSourceBytes = std::int64_t{192} << 20;
constexpr std::int64_t kPieceBytes = 256 << 10;
constexpr int kRounds = 5;

struct Options {
  std::vector<DType> types = {DType::kQ4_0, DType::kQ4_K, DType::kQ6_K, DType::kQ8_0};
  std::vector<int> threads;
  std::string model;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts(1);
  for (const char c : list) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::vector<DType> parse_types(const std::string& list) {
  std::vector<DType> types;
  for (int i = static_cast<int>(DType::kQ4_0); list == "all" && i < kFileDTypeCount; ++i) {
    types.push_back(static_cast<DType>(i));
  }
  for (const std::string& name : list == "all" ? std::vector<std::string>{} : split(list)) {
    const auto type = dtype_from_name(name);
    if (!type || !is_block_type(*type)) {
      fail(ErrorCode::kInvalidArgument, "--types: {} is not a block type", printable(name));
    }
    types.push_back(*type);
  }
  return types;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (i + 1 == argc) fail(ErrorCode::kInvalidArgument, "{}: no value", printable(flag));
    const std::string value = argv[i + 1];
    if (flag == "--types") {
      options.types = parse_types(value);
    } else if (flag == "--threads") {
      for (const std::string& n : split(value)) {
        options.threads.push_back(std::clamp(std::atoi(n.c_str()), 1, 256));
      }
    } else if (flag == "--model") {
      options.model = value;
    } else {
      fail(ErrorCode::kInvalidArgument, "{}: unknown", printable(flag));
    }
  }
  if (options.threads.empty()) options.threads = {1, 2};
  return options;
}

template <typename Body>
double seconds_of(Body&& body) {
  const auto start = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <typename Body>
double median_seconds(Body&& body) {
  std::vector<double> times;
  for (int i = 0; i < kRounds; ++i) times.push_back(seconds_of(body));
  std::sort(times.begin(), times.end());
  return times[kRounds / 2];
}

// body(begin, size) for pieces of `bytes` on all threads, each with a run of its own.
template <typename Body>
void for_pieces(std::size_t bytes, ThreadPool& pool, Body&& body) {
  const std::int64_t threads = pool.size();
  pool.parallel_for(threads, [&](std::int64_t part, int) {
    const std::size_t begin =
        bytes / 4096 * static_cast<std::size_t>(part) / static_cast<std::size_t>(threads) * 4096;
    const std::size_t end = part + 1 == threads
                                ? bytes
                                : bytes / 4096 * static_cast<std::size_t>(part + 1) /
                                      static_cast<std::size_t>(threads) * 4096;
    for (std::size_t at = begin; at < end; at += kPieceBytes) {
      body(at, std::min<std::size_t>(kPieceBytes, end - at));
    }
  });
}

void copy(const std::byte* from, std::byte* to, std::size_t bytes, ThreadPool& pool) {
  for_pieces(bytes, pool,
             [&](std::size_t at, std::size_t size) { std::memcpy(to + at, from + at, size); });
}

// --- packing

void fill_with_noise(Buffer& buffer) {
  std::uint64_t state = 1;
  for (std::size_t i = 0; i + 8 <= buffer.size(); i += 8) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(buffer.data() + i, &state, 8);
  }
}

// Seconds of body(memory) into memory that is there, and into memory fresh from the system.
struct Times {
  double warm;
  double fresh;
};

template <typename Body>
Times times_of(std::size_t bytes, Body&& body) {
  Times times;
  {
    Buffer memory(bytes);
    body(memory.data());
    times.warm = median_seconds([&] { body(memory.data()); });
  }
  std::vector<double> fresh;
  for (int i = 0; i < kRounds; ++i) {
    Buffer memory;  // given back outside the measured time
    fresh.push_back(seconds_of([&] {
      memory = Buffer(bytes);
      body(memory.data());
    }));
  }
  std::sort(fresh.begin(), fresh.end());
  times.fresh = fresh[kRounds / 2];
  return times;
}

void bench_packing(const Options& options, int threads) {
  ThreadPool pool(threads);
  Buffer source(static_cast<std::size_t>(kSourceBytes));
  fill_with_noise(source);
  const Times copied =
      times_of(source.size(), [&](std::byte* to) { copy(source.data(), to, source.size(), pool); });
  const double gigabytes = static_cast<double>(kSourceBytes) / 1e9;
  fmt::print("\n{} thread(s), {}: memcpy {:.2f} GB/s warm, {:.2f} GB/s fresh\n", threads,
             isa_name(active_isa()), gigabytes / copied.warm, gigabytes / copied.fresh);
  fmt::print("{:8} {:>12} {:>8} {:>12} {:>8}\n", "type", "warm GB/s", "memcpy", "fresh GB/s",
             "memcpy");
  for (const DType type : options.types) {
    const std::int64_t rows = kSourceBytes / row_bytes(type, kColumns) / kPanelRows * kPanelRows;
    const TensorView view{type, {rows, kColumns}, source.data()};
    const auto packed = static_cast<std::size_t>(rows / kPanelRows * panel_bytes(type, kColumns));
    const Times times = times_of(packed, [&](std::byte* to) {
      const PackTask task{view, {}, to};
      pack_panels({&task, 1}, pool);
    });
    const double bytes = static_cast<double>(view.bytes()) / 1e9;
    fmt::print("{:8} {:>12.2f} {:>7.0f}% {:>12.2f} {:>7.0f}%\n", dtype_name(type),
               bytes / times.warm, 100 * bytes / times.warm / (gigabytes / copied.warm),
               bytes / times.fresh, 100 * bytes / times.fresh / (gigabytes / copied.fresh));
    std::fflush(stdout);
  }
}

// --- a model

// Kilobytes behind a word in this process's memory map summary.
std::int64_t mapped_kilobytes(std::string_view word) {
  std::ifstream in("/proc/self/smaps_rollup");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(word)) return std::atoll(line.c_str() + word.size());
  }
  return 0;
}

// A checkpoint's matrices of block types, each as a whole.
std::vector<TensorView> block_matrices(const Checkpoint& checkpoint) {
  std::vector<TensorView> views;
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) {
    if (is_block_type(tensor.dtype)) views.push_back(checkpoint.files().view(tensor));
  }
  return views;
}

void print_step(const char* step, double seconds, double bytes) {
  fmt::print("{:44} {:9.1f} ms", step, 1e3 * seconds);
  if (bytes > 0) fmt::print(" {:8.2f} GB/s", bytes / seconds / 1e9);
  fmt::print("\n");
  std::fflush(stdout);
}

void bench_steps(const std::string& path, ThreadPool& pool) {
  std::unique_ptr<Checkpoint> checkpoint;
  print_step("opening, metadata, descriptors",
             seconds_of([&] { checkpoint = std::make_unique<Checkpoint>(path); }), 0);
  const std::vector<TensorView> views = block_matrices(*checkpoint);
  std::size_t source_bytes = 0, packed_bytes = 0;
  for (const TensorView& view : views) {
    source_bytes += static_cast<std::size_t>(view.bytes());
    packed_bytes += static_cast<std::size_t>(WeightMatrix::owned_bytes_of(view)) / 64 * 64 + 64;
  }
  const auto source = static_cast<double>(source_bytes);
  print_step("mapping the file's pages", seconds_of([&] {
               for (const TensorView& view : views) {
                 for_pieces(static_cast<std::size_t>(view.bytes()), pool,
                            [&](std::size_t at, std::size_t size) {
                              map_pages({view.data + at, size});
                            });
               }
             }),
             source);
  Buffer memory(packed_bytes);
  print_step("getting memory", seconds_of([&] {
               for_pieces(packed_bytes, pool,
                          [&](std::size_t at, std::size_t) { memory.data()[at] = std::byte{1}; });
             }),
             static_cast<double>(packed_bytes));
  std::size_t used = 0;
  const WeightAllocator from_memory = [&](std::size_t bytes) {
    std::byte* const begin = memory.data() + used;
    used += (bytes + 63) / 64 * 64;
    return std::shared_ptr<std::byte>(std::shared_ptr<std::byte>(), begin);
  };
  print_step("packing, all pages there",
             seconds_of([&] { WeightMatrix::make_all(views, pool, from_memory); }), source);
  print_step("memcpy of the same bytes, all pages there", seconds_of([&] {
               std::size_t at = 0;
               for (const TensorView& view : views) {
                 copy(view.data, memory.data() + at, static_cast<std::size_t>(view.bytes()), pool);
                 at += static_cast<std::size_t>(view.bytes());
               }
             }),
             source);
  print_step("giving back", seconds_of([&] {
               memory = Buffer();
               checkpoint.reset();
             }),
             0);
}

void bench_model(const std::string& path, int threads) {
  fmt::print("\n{} thread(s), {}\n", threads, isa_name(active_isa()));
  std::unique_ptr<ThreadPool> pool;
  print_step("starting threads", seconds_of([&] { pool = std::make_unique<ThreadPool>(threads); }),
             0);
  bench_steps(path, *pool);
  std::unique_ptr<Model> model;
  const double load = seconds_of([&] { model = load_model(path, *pool); });
  print_step("load_model, all of it", load, 0);
  fmt::print("{:44} {:9.1f} %\n", "  of its memory in huge pages",
             100.0 * static_cast<double>(mapped_kilobytes("AnonHugePages:")) /
                 static_cast<double>(std::max<std::int64_t>(1, mapped_kilobytes("Anonymous:"))));
  const double first = seconds_of([&] {
    Runner runner(*model, *pool);
    Sequence sequence(*model, model->default_kv_dtype());
    const std::int32_t ids[] = {1, 2, 3};
    runner.prefill(sequence, ids);
  });
  print_step("first forward, 3 tokens", first, static_cast<double>(model->bytes_per_token()));
  print_step("giving back", seconds_of([&] { model.reset(); }), 0);
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  for (const int threads : options.threads) {
    if (options.model.empty()) {
      bench_packing(options, threads);
    } else {
      bench_model(options.model, threads);
    }
  }
  return 0;
}

}  // namespace
}  // namespace sampan

int main(int argc, char** argv) {
  try {
    return sampan::run(argc, argv);
  } catch (const sampan::Error& error) {
    fmt::print(stderr, "load_bench: {}\n", error.what());
    return 2;
  }
}
