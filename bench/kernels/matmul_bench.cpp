// Speed of matrix products beside what the machine can do, for the shapes of Qwen3-0.6B.
//
//   matmul_bench [--types Q4_0,Q4_K,FP8,…|all] [--threads 1,2] [--seconds 0.2] [--json FILE]
//   (SAMPAN_ISA chooses the kernels)
//
// Types are those of product_case.h. "pack" is their bytes as published that a second turns into
// panels.
// Decode and small batches read cold weights: so many matrices in turn that none is in a cache when
// it comes round again; GB/s of packed weights, with their share of the read bandwidth. Prefill is
// 512 tokens; GMAC/s with their share of the peak of 8-bit (float types: float) products. Both
// limits are measured in the same run. Medians.

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/isa.h"
#include "kernels/peaks.h"
#include "product_case.h"

namespace sampan {
namespace {

constexpr std::int64_t kPrefillTokens = 512;

constexpr MatrixShape kMatrices[] = {
    {1024, 1024}, {2048, 1024}, {3072, 1024}, {1024, 3072}, {151936, 1024}};

struct Options {
  std::vector<std::string> types = {"Q4_0", "Q4_K", "Q6_K", "Q8_0", "BF16"};
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
        if (is_weight_type(name)) {
          options.types.push_back(name);
        } else if (name != "all") {
          fail(ErrorCode::kInvalidArgument, "--types: no type {}", printable(name));
        }
      }
      if (value == "all") options.types = all_weight_types();
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

struct Result {
  std::string type;
  MatrixShape matrix;
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
    fmt::print("{:12} {:>12} {:>14} {:>16} {:>16} {:>16} {:>18}\n", "type", "shape", "pack GB/s",
               "decode GB/s", "batch 4 GB/s", "batch 16 GMAC/s", "prefill GMAC/s");
  }

  void run(const std::string& type, const MatrixShape& shape, std::vector<Result>& results) {
    ProductCase products(type, shape, pool_);
    const WeightSource& source = products.source();
    const double pack_seconds = median_seconds(0, 5, [&] { (void)source.make(pool_); });
    const double pack = static_cast<double>(source.bytes) / pack_seconds / 1e9;
    fmt::print("{:12} {:>12} {:>14}", type, fmt::format("{}x{}", shape.rows, shape.columns),
               products.matrix().owned_bytes() == 0 ? "-" : fmt::format("{:.2f}", pack));
    for (const std::int64_t tokens :
         {std::int64_t{1}, std::int64_t{4}, std::int64_t{16}, kPrefillTokens}) {
      // A prefill makes one row of logits.
      if (tokens == kPrefillTokens && shape.rows > 100000) continue;
      products.set_tokens(tokens);
      const Result result = measure(type, products);
      const double figure = tokens < 16 ? result.gigabytes_per_second : result.gigamacs_per_second;
      fmt::print(" {:>9.1f} {:>5.0f}%", figure, 100 * result.share);
      std::fflush(stdout);
      results.push_back(result);
    }
    fmt::print("\n");
  }

 private:
  Result measure(const std::string& type, ProductCase& products) {
    const WeightMatrix& w = products.matrix();
    const std::int64_t tokens = products.tokens();
    const double seconds = median_seconds(options_.seconds, 5, [&] { products.run(); }) /
                           static_cast<double>(products.products());
    Result result{type, {w.rows(), w.columns()}, pool_.size(), tokens, seconds, 0, 0, 0};
    result.gigabytes_per_second = static_cast<double>(w.bytes()) / seconds / 1e9;
    result.gigamacs_per_second =
        static_cast<double>(tokens * w.rows() * w.columns()) / seconds / 1e9;
    const double product_peak = is_block_type(w.dtype()) ? peaks_.int8_macs_per_second
                                : w.activations() == ActivationKind::kBf16
                                    ? peaks_.bf16_macs_per_second
                                    : peaks_.float_macs_per_second;
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
        i == 0 ? "" : ",", isa_name(active_isa()), r.type, r.matrix.rows, r.matrix.columns,
        r.threads, r.tokens, r.seconds, r.gigabytes_per_second, r.gigamacs_per_second, r.share);
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
    for (const std::string& type : options.types) {
      for (const MatrixShape& matrix : kMatrices) bench.run(type, matrix, results);
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
