// Speed of matrix products beside what the machine can do, for the shapes of Qwen3-0.6B.
//
//   matmul_bench [--types Q4_0,Q4_K,FP8,…|all] [--threads 1,2] [--seconds 0.2] [--json FILE]
//   (SAMPAN_ISA chooses the kernels)
//
// Types are those of GGUF, plain floats, and published quantised forms (kForms). "pack" is their
// bytes as published that a second turns into panels.
// Decode and small batches read cold weights: so many matrices in turn that none is in a cache when
// it comes round again; GB/s of packed weights, with their share of the read bandwidth. Prefill is
// 512 tokens; GMAC/s with their share of the peak of 8-bit (float types: float) products. Both
// limits are measured in the same run. Medians.

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/isa.h"
#include "kernels/matmul.h"
#include "kernels/peaks.h"
#include "tensor/quantized_matrix.h"

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

// Published quantised forms: FP8 in blocks of 128 x 128 and with a scale a row, GPTQ of 4 and 8
// bits (groups of 128) without and with zero points and with columns in another order, AWQ,
// compressed-tensors' INT4 in groups of 32, INT8 with a scale a row, MXFP4.
constexpr std::string_view kForms[] = {"FP8",         "FP8-ROW", "GPTQ4",     "GPTQ4-ZERO",
                                       "GPTQ4-ORDER", "GPTQ8",   "AWQ",       "INT4",
                                       "INT4-ZERO",   "INT8",    "INT8-ZERO", "FP4"};

// BF16 weights with activations rounded to BF16.
constexpr std::string_view kBf16Products = "BF16-PRODUCTS";

bool is_form(std::string_view name) {
  return std::find(std::begin(kForms), std::end(kForms), name) != std::end(kForms);
}

std::vector<std::string> all_types() {
  std::vector<std::string> types = {"F32", "F16", "BF16"};
  for (int i = static_cast<int>(DType::kQ4_0); i < kFileDTypeCount; ++i) {
    types.emplace_back(dtype_name(static_cast<DType>(i)));
  }
  types.insert(types.end(), std::begin(kForms), std::end(kForms));
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
        if (dtype_from_name(name) || is_form(name) || name == kBf16Products) {
          options.types.push_back(name);
        } else if (name != "all") {
          fail(ErrorCode::kInvalidArgument, "--types: no type {}", printable(name));
        }
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

// Weights as a file holds them, and how they become a matrix for products.
struct Source {
  std::int64_t bytes = 0;
  std::function<WeightMatrix(ThreadPool&)> make;
};

Source plain_source(DType dtype, const Matrix& m, bool bf16_products) {
  const auto buffer = std::make_shared<Buffer>(random_weights(dtype, m));
  return {m.rows * row_bytes(dtype, m.columns), [=](ThreadPool& pool) {
            WeightMatrix w = WeightMatrix::make({dtype, {m.rows, m.columns}, buffer->data()}, pool);
            if (bf16_products) w.set_products(Bf16Products::kRounded);
            return w;
          }};
}

// The tensors of one matrix in a published form.
class FormMaker {
 public:
  explicit FormMaker(const Matrix& m) : rows_(m.rows), columns_(m.columns) {}

  Source make(std::string_view form) {
    const QuantizedMatrix matrix = quantized(form);
    return {matrix.bytes(), [matrix, memory = memory_](ThreadPool& pool) {
              return WeightMatrix::make(matrix, {}, pool);
            }};
  }

 private:
  TensorView codes(DType dtype, Shape shape, int mask = 0xFF) {
    TensorView view{dtype, std::move(shape), nullptr};
    memory_->emplace_back(static_cast<std::size_t>(view.bytes()));
    std::uint32_t state = 1;
    auto* bytes = memory_->back().as<std::uint8_t>();
    for (std::int64_t i = 0; i < view.bytes(); ++i) {
      bytes[i] = static_cast<std::uint8_t>(static_cast<int>(next_random(state) >> 24) & mask);
    }
    view.data = memory_->back().data();
    return view;
  }

  // `byte` everywhere: scales that are all the same, zero points.
  TensorView filled(DType dtype, Shape shape, int byte) {
    TensorView view = codes(dtype, std::move(shape));
    std::memset(memory_->back().data(), byte, memory_->back().size());
    return view;
  }

  TensorView shuffled_groups() {
    TensorView view = codes(DType::kI32, {columns_});
    auto* groups = memory_->back().as<std::int32_t>();
    for (std::int64_t i = 0; i < columns_; ++i) {
      groups[i] = static_cast<std::int32_t>(i * 389 % columns_ / 128);
    }
    return view;
  }

  QuantizedMatrix gptq(int bits, bool zeros, bool order) {
    QuantizedMatrix::Gptq t;
    t.bits = bits;
    t.qweight = codes(DType::kI32, {columns_ * bits / 32, rows_});
    const Shape shape = {columns_ / 128, rows_ * bits / 32};
    const int half = bits == 4 ? 0x77 : 0x7F;
    t.qzeros = zeros ? codes(DType::kI32, shape) : filled(DType::kI32, shape, half);
    t.scales = filled(DType::kF16, {columns_ / 128, rows_}, 0x21);
    if (order) t.g_idx = shuffled_groups();
    return QuantizedMatrix::gptq("w", rows_, columns_, t);
  }

  QuantizedMatrix quantized(std::string_view form) {
    const std::int64_t r = rows_;
    const std::int64_t c = columns_;
    if (form == "GPTQ4") return gptq(4, false, false);
    if (form == "GPTQ4-ZERO") return gptq(4, true, false);
    if (form == "GPTQ4-ORDER") return gptq(4, false, true);
    if (form == "GPTQ8") return gptq(8, false, false);
    if (form == "AWQ") {
      const TensorView qweight = codes(DType::kI32, {c, r / 8});
      const TensorView qzeros = codes(DType::kI32, {c / 128, r / 8});
      return QuantizedMatrix::awq("w", r, c, qweight, qzeros,
                                  filled(DType::kF16, {c / 128, r}, 0x21), 128);
    }
    if (form.starts_with("INT4")) {
      QuantizedMatrix::Packed t;
      t.packed = codes(DType::kI32, {r, c / 8});
      t.scale = filled(DType::kBF16, {r, c / 32}, 0x3B);
      if (form == "INT4-ZERO") t.zero_point = codes(DType::kI32, {r / 8, c / 32});
      return QuantizedMatrix::packed("w", r, c, t);
    }
    if (form.starts_with("INT8")) {
      TensorView zeros;
      if (form == "INT8-ZERO") zeros = codes(DType::kI8, {r, 1});
      const TensorView weight = codes(DType::kI8, {r, c});
      return QuantizedMatrix::int8("w", r, c, weight, filled(DType::kBF16, {r, 1}, 0x3B), zeros);
    }
    if (form == "FP4") {
      const TensorView packed = codes(DType::kU8, {r, c / 2});
      return QuantizedMatrix::fp4("w", r, c, packed, filled(DType::kU8, {r, c / 32}, 0x7A));
    }
    const bool blocks = form == "FP8";
    const TensorView weight = codes(DType::kF8E4M3, {r, c}, 0xBF);
    if (blocks) {
      const Shape grid = {(r + 127) / 128, (c + 127) / 128};
      return QuantizedMatrix::fp8("w", r, c, weight, filled(DType::kF32, grid, 0x3B), 128, 128);
    }
    const TensorView scale = codes(DType::kF32, {r, 1});  // no two alike
    auto* floats = memory_->back().as<std::uint32_t>();
    for (std::int64_t i = 0; i < r; ++i) floats[i] = (floats[i] & 0x007FFFFFu) | 0x3B000000u;
    return QuantizedMatrix::fp8("w", r, c, weight, scale, 1, c);
  }

  std::int64_t rows_;
  std::int64_t columns_;
  std::shared_ptr<std::vector<Buffer>> memory_ = std::make_shared<std::vector<Buffer>>();
};

Source make_source(const std::string& type, const Matrix& m) {
  if (type == kBf16Products) return plain_source(DType::kBF16, m, true);
  if (const auto dtype = dtype_from_name(type)) return plain_source(*dtype, m, false);
  return FormMaker(m).make(type);
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
  std::string type;
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
    fmt::print("{:12} {:>12} {:>14} {:>16} {:>16} {:>16} {:>18}\n", "type", "shape", "pack GB/s",
               "decode GB/s", "batch 4 GB/s", "batch 16 GMAC/s", "prefill GMAC/s");
  }

  void run(const std::string& type, const Matrix& matrix, std::vector<Result>& results) {
    const Source source = make_source(type, matrix);
    std::vector<WeightMatrix> copies;
    std::vector<Source> sources;
    copies.push_back(source.make(pool_));
    const double pack_seconds = median_seconds(0, [&] { copies[0] = source.make(pool_); });
    const double pack = static_cast<double>(source.bytes) / pack_seconds / 1e9;
    while (static_cast<std::int64_t>(copies.size()) * copies[0].bytes() < kColdBytes) {
      if (copies[0].owned_bytes() == 0) {  // borrowed: a source of its own
        sources.push_back(make_source(type, matrix));
        copies.push_back(sources.back().make(pool_));
      } else {
        copies.push_back(source.make(pool_));
      }
    }
    fmt::print("{:12} {:>12} {:>14}", type, fmt::format("{}x{}", matrix.rows, matrix.columns),
               copies[0].owned_bytes() == 0 ? "-" : fmt::format("{:.2f}", pack));
    for (const std::int64_t tokens :
         {std::int64_t{1}, std::int64_t{4}, std::int64_t{16}, kPrefillTokens}) {
      if (tokens == kPrefillTokens && matrix.rows > 100000)
        continue;  // a prefill makes one row of logits
      const Result result = measure(type, copies, tokens);
      const double figure = tokens < 16 ? result.gigabytes_per_second : result.gigamacs_per_second;
      fmt::print(" {:>9.1f} {:>5.0f}%", figure, 100 * result.share);
      std::fflush(stdout);
      results.push_back(result);
    }
    fmt::print("\n");
  }

 private:
  Result measure(const std::string& type, std::vector<WeightMatrix>& copies, std::int64_t tokens) {
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
    Result result{type, {first.rows(), first.columns()}, pool_.size(), tokens, seconds, 0, 0, 0};
    result.gigabytes_per_second = static_cast<double>(first.bytes()) / seconds / 1e9;
    result.gigamacs_per_second =
        static_cast<double>(tokens * first.rows() * first.columns()) / seconds / 1e9;
    const double product_peak = is_block_type(first.dtype()) ? peaks_.int8_macs_per_second
                                : first.activations() == ActivationKind::kBf16
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
      for (const Matrix& matrix : kMatrices) bench.run(type, matrix, results);
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
