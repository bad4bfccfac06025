// Speed of matrix products beside what the machine can do, for the shapes of Qwen3-0.6B.
//
//   matmul_bench [--types Q4_0,Q4_K,…|all] [--threads 1,2] [--seconds 0.2] [--json FILE]
//   (SAMPAN_ISA chooses the kernels)
//
// Decode and small batches read cold weights: so many matrices in turn that none is in a cache when
// it comes round again; GB/s of packed weights, with their share of the read bandwidth. Prefill is
// 512 tokens; GMAC/s with their share of the peak of 8-bit (float types: float) products. Both
// limits are measured in the same run. Medians.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/isa.h"
#include "kernels/matmul.h"
#include "kernels/peaks.h"
#include "tensor/half.h"

namespace sampan {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kColdBytes = std::int64_t{192} << 20;  // far more than a last-level cache
constexpr std::int64_t kPrefillTokens = 512;

struct Matrix {
  std::int64_t rows;
  std::int64_t columns;
};
constexpr Matrix kMatrices[] = {
    {1024, 1024}, {2048, 1024}, {3072, 1024}, {1024, 3072}, {151936, 1024}};

struct Options {
  std::vector<DType> types = {DType::kQ4_0, DType::kQ4_K, DType::kQ6_K, DType::kQ8_0, DType::kBF16};
  std::vector<int> threads = {1, 2};
  double seconds = 0.2;
  std::string json;
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

std::vector<DType> all_types() {
  std::vector<DType> types = {DType::kF32, DType::kF16, DType::kBF16};
  for (int i = static_cast<int>(DType::kQ4_0); i < kDTypeCount; ++i)
    types.push_back(static_cast<DType>(i));
  return types;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (i + 1 == argc)
      fail(ErrorCode::kInvalidArgument, "{}: unknown, or its value is missing", printable(flag));
    const std::string value = argv[++i];
    if (flag == "--types") {
      options.types.clear();
      for (const std::string& name : split(value)) {
        const auto dtype = dtype_from_name(name);
        if (dtype)
          options.types.push_back(*dtype);
        else if (name != "all")
          fail(ErrorCode::kInvalidArgument, "--types: no type {}", printable(name));
      }
      if (value == "all") options.types = all_types();
    } else if (flag == "--threads") {
      options.threads.clear();
      for (const std::string& n : split(value))
        options.threads.push_back(std::clamp(std::atoi(n.c_str()), 1, 256));
    } else if (flag == "--seconds") {
      options.seconds = std::atof(value.c_str());
    } else if (flag == "--json") {
      options.json = value;
    } else {
      fail(ErrorCode::kInvalidArgument, "{}: unknown", printable(flag));
    }
  }
  return options;
}

std::uint32_t next_random(std::uint32_t& state) { return state = state * 1664525u + 1013904223u; }

// Bytes of any kind; 16-bit floats among them have a small exponent, so that no sum is infinite or
// subnormal.
Buffer random_weights(DType dtype, const Matrix& m) {
  const std::int64_t bytes = m.rows * row_bytes(dtype, m.columns);
  Buffer buffer(static_cast<std::size_t>(bytes));
  std::uint32_t state = 1;
  auto* words = buffer.as<std::uint16_t>();
  for (std::int64_t i = 0; i < bytes / 2; ++i) {
    const std::uint32_t bits = next_random(state) >> 16;
    const bool wide = dtype == DType::kF32 || dtype == DType::kBF16;
    words[i] = static_cast<std::uint16_t>(wide ? (bits & 0x80FFu) | 0x3C00u : bits & 0xAFFFu);
  }
  return buffer;
}

// Median seconds of body(), repeated for at least `seconds` and five times, after one call to warm
// up.
template <typename Body>
double median_seconds(double seconds, Body&& body) {
  body();
  std::vector<double> times;
  const auto start = Clock::now();
  while (times.size() < 5 ||
         std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
    const auto before = Clock::now();
    body();
    times.push_back(std::chrono::duration<double>(Clock::now() - before).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

struct Result {
  DType dtype;
  Matrix matrix;
  int threads;
  std::int64_t tokens;
  double seconds;  // one product
  double gigabytes_per_second;
  double gigamacs_per_second;
  double share;  // of the limit that counts: bandwidth up to 16 tokens, products above
};

class Bench {
 public:
  Bench(const Options& options, ThreadPool& pool)
      : options_(options), pool_(pool), peaks_(measure_peaks(pool)) {
    fmt::print(
        "\n{} thread(s), {}: reads {:.1f} GB/s, 8-bit products {:.0f} GMAC/s, float {:.0f} "
        "GMAC/s\n",
        pool.size(), isa_name(active_isa()), peaks_.read_bytes_per_second / 1e9,
        peaks_.int8_macs_per_second / 1e9, peaks_.float_macs_per_second / 1e9);
    fmt::print("{:8} {:>12} {:>14} {:>16} {:>16} {:>16} {:>18}\n", "type", "shape", "pack GB/s",
               "decode GB/s", "batch 4 GB/s", "batch 16 GMAC/s", "prefill GMAC/s");
  }

  void run(DType dtype, const Matrix& matrix, std::vector<Result>& results) {
    const Buffer source = random_weights(dtype, matrix);
    const TensorView view{dtype, {matrix.rows, matrix.columns}, source.data()};
    std::vector<WeightMatrix> copies;
    std::vector<Buffer> sources;
    copies.push_back(WeightMatrix::make(view, pool_));
    const double pack_seconds =
        median_seconds(0, [&] { copies[0] = WeightMatrix::make(view, pool_); });
    const double pack = static_cast<double>(view.bytes()) / pack_seconds / 1e9;
    while (static_cast<std::int64_t>(copies.size()) * copies[0].bytes() < kColdBytes) {
      if (copies[0].owned_bytes() == 0) {  // borrowed: a source of its own
        sources.emplace_back(static_cast<std::size_t>(view.bytes()));
        std::memcpy(sources.back().data(), source.data(), static_cast<std::size_t>(view.bytes()));
        copies.push_back(WeightMatrix::make({dtype, view.shape, sources.back().data()}, pool_));
      } else {
        copies.push_back(WeightMatrix::make(view, pool_));
      }
    }
    fmt::print("{:8} {:>12} {:>14}", dtype_name(dtype),
               fmt::format("{}x{}", matrix.rows, matrix.columns),
               copies[0].owned_bytes() == 0 ? "-" : fmt::format("{:.2f}", pack));
    for (const std::int64_t tokens :
         {std::int64_t{1}, std::int64_t{4}, std::int64_t{16}, kPrefillTokens}) {
      if (tokens == kPrefillTokens && matrix.rows > 100000)
        continue;  // a prefill makes one row of logits
      const Result result = measure(copies, tokens);
      const double figure = tokens < 16 ? result.gigabytes_per_second : result.gigamacs_per_second;
      fmt::print(" {:>9.1f} {:>5.0f}%", figure, 100 * result.share);
      std::fflush(stdout);
      results.push_back(result);
    }
    fmt::print("\n");
  }

 private:
  Result measure(std::vector<WeightMatrix>& copies, std::int64_t tokens) {
    const WeightMatrix& first = copies[0];
    std::vector<float> x(static_cast<std::size_t>(tokens * first.columns()));
    std::uint32_t state = 2;
    for (float& value : x) value = static_cast<float>(next_random(state) >> 8) * 0x1p-24f - 0.5f;
    std::vector<float> y(static_cast<std::size_t>(tokens * first.rows()));
    Activations activations;
    activations.set(x.data(), tokens, first.columns());
    // A round goes through all copies when weights must come from memory; quantising is part of the
    // first product of a round.
    const std::size_t products = tokens > 16 ? 1 : copies.size();
    const double seconds =
        median_seconds(options_.seconds,
                       [&] {
                         activations.set(x.data(), tokens, first.columns());
                         for (std::size_t i = 0; i < products; ++i)
                           matmul(copies[i], activations, y.data(), first.rows(), pool_);
                       }) /
        static_cast<double>(products);
    Result result{
        first.dtype(), {first.rows(), first.columns()}, pool_.size(), tokens, seconds, 0, 0, 0};
    result.gigabytes_per_second = static_cast<double>(first.bytes()) / seconds / 1e9;
    result.gigamacs_per_second =
        static_cast<double>(tokens * first.rows() * first.columns()) / seconds / 1e9;
    const double product_peak =
        is_block_type(first.dtype()) ? peaks_.int8_macs_per_second : peaks_.float_macs_per_second;
    result.share = tokens < 16 ? result.gigabytes_per_second * 1e9 / peaks_.read_bytes_per_second
                               : result.gigamacs_per_second * 1e9 / product_peak;
    return result;
  }

  const Options& options_;
  ThreadPool& pool_;
  MachinePeaks peaks_;
};

void write_json(const std::string& path, const std::vector<Result>& results) {
  std::ofstream file(path);
  file << "[";
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    file << fmt::format(
        "{}\n{{\"isa\":\"{}\",\"type\":\"{}\",\"rows\":{},\"columns\":{},\"threads\":{},\"tokens\":"
        "{},\"seconds\":{:.9f},"
        "\"gb_per_second\":{:.3f},\"gmac_per_second\":{:.3f},\"share_of_peak\":{:.4f}}}",
        i == 0 ? "" : ",", isa_name(active_isa()), dtype_name(r.dtype), r.matrix.rows,
        r.matrix.columns, r.threads, r.tokens, r.seconds, r.gigabytes_per_second,
        r.gigamacs_per_second, r.share);
  }
  file << "\n]\n";
  if (!file) fail(ErrorCode::kIo, "{}: could not be written", printable(path));
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<Result> results;
  for (const int threads : options.threads) {
    ThreadPool pool(threads);
    Bench bench(options, pool);
    for (const DType dtype : options.types) {
      for (const Matrix& matrix : kMatrices) bench.run(dtype, matrix, results);
    }
  }
  if (!options.json.empty()) write_json(options.json, results);
  return 0;
}

}  // namespace
}  // namespace sampan

int main(int argc, char** argv) {
  try {
    return sampan::run(argc, argv);
  } catch (const sampan::Error& error) {
    fmt::print(stderr, "matmul_bench: {}\n", error.what());
    return 2;
  }
}
