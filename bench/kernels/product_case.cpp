#include "product_case.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "tensor/quantized_matrix.h"

namespace sampan {
namespace {

constexpr std::int64_t kColdBytes = std::int64_t{192} << 20;  // far more than a last-level cache
// Up to so many tokens, the time of a product is that of its weights.
constexpr std::int64_t kFewTokens = 16;

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

std::uint32_t next_random(std::uint32_t& state) { return state = state * 1664525u + 1013904223u; }

// Bytes of any kind; 16-bit floats among them are small and not subnormal, so that no sum is
// infinite or subnormal.
Buffer random_weights(DType dtype, const MatrixShape& m) {
  const std::int64_t bytes = m.rows * row_bytes(dtype, m.columns);
  Buffer buffer(static_cast<std::size_t>(bytes));
  std::uint32_t state = 1;
  auto* words = buffer.as<std::uint16_t>();
  for (std::int64_t i = 0; i < bytes / 2; ++i) {
    const std::uint32_t bits = next_random(state) >> 16;
    const bool wide = dtype == DType::kF32 || dtype == DType::kBF16;
    words[i] =
        static_cast<std::uint16_t>(wide ? (bits & 0x80FFu) | 0x3C00u : (bits & 0xAFFFu) | 0x2000u);
  }
  return buffer;
}

WeightSource plain_source(DType dtype, const MatrixShape& m, bool bf16_products) {
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
  explicit FormMaker(const MatrixShape& m) : rows_(m.rows), columns_(m.columns) {}

  WeightSource make(std::string_view form) {
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

}  // namespace

std::vector<std::string> all_weight_types() {
  std::vector<std::string> types = {"F32", "F16", "BF16"};
  for (int i = static_cast<int>(DType::kQ4_0); i < kFileDTypeCount; ++i) {
    types.emplace_back(dtype_name(static_cast<DType>(i)));
  }
  types.insert(types.end(), std::begin(kForms), std::end(kForms));
  return types;
}

bool is_weight_type(std::string_view name) {
  return dtype_from_name(name) || is_form(name) || name == kBf16Products;
}

WeightSource make_source(const std::string& type, const MatrixShape& shape) {
  if (type == kBf16Products) return plain_source(DType::kBF16, shape, true);
  if (const auto dtype = dtype_from_name(type)) return plain_source(*dtype, shape, false);
  if (is_form(type)) return FormMaker(shape).make(type);
  fail(ErrorCode::kInvalidArgument, "no type {}", printable(type));
}

ProductCase::ProductCase(const std::string& type, const MatrixShape& shape, ThreadPool& pool)
    : pool_(pool) {
  sources_.push_back(make_source(type, shape));
  copies_.push_back(sources_[0].make(pool));
  while (static_cast<std::int64_t>(copies_.size()) * copies_[0].bytes() < kColdBytes) {
    if (copies_[0].owned_bytes() == 0) sources_.push_back(make_source(type, shape));  // borrowed
    copies_.push_back(sources_.back().make(pool));
  }
}

void ProductCase::set_tokens(std::int64_t tokens) {
  tokens_ = tokens;
  x_.resize(static_cast<std::size_t>(tokens * matrix().columns()));
  y_.resize(static_cast<std::size_t>(tokens * matrix().rows()));
  std::uint32_t state = 2;
  for (float& value : x_) value = static_cast<float>(next_random(state) >> 8) * 0x1p-24f - 0.5f;
}

std::int64_t ProductCase::products() const {
  return tokens_ > kFewTokens ? 1 : static_cast<std::int64_t>(copies_.size());
}

void ProductCase::run() {
  activations_.set(x_.data(), tokens_, matrix().columns());
  for (std::int64_t i = 0; i < products(); ++i) {
    const WeightMatrix& w = copies_[static_cast<std::size_t>(i)];
    matmul(w, activations_, y_.data(), w.rows(), pool_);
  }
}

double median_seconds(double seconds, int least, const std::function<void()>& body) {
  body();
  std::vector<double> times;
  const auto start = Clock::now();
  while (static_cast<int>(times.size()) < least || seconds_since(start) < seconds) {
    const auto before = Clock::now();
    body();
    times.push_back(seconds_since(before));
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace sampan
