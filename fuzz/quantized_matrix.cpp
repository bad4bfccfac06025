// A matrix in one of the published quantised forms: the first bytes choose form, sizes and what is
// wrong with its tensors, the rest is what they hold. Reading and packing must agree on whether it
// is one.

#include "tensor/quantized_matrix.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/matmul.h"

namespace {

using sampan::DType;
using sampan::QuantizedMatrix;
using sampan::Shape;
using sampan::TensorView;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  int byte() {
    if (at_ == size_) return 0;
    return data_[at_++];
  }

  // A tensor with memory of exactly its size, so that a sanitizer sees one byte too many. Now and
  // then of another type or shape.
  TensorView tensor(DType dtype, Shape shape) {
    const int trouble = byte();
    if (trouble == 1) dtype = static_cast<DType>(byte() % sampan::kFileDTypeCount);
    if (sampan::is_block_type(dtype)) dtype = DType::kU8;
    if (trouble == 2) shape.push_back(byte() % 4);
    if (trouble == 3 && !shape.empty()) shape.pop_back();
    if (trouble == 4 && !shape.empty())
      shape[static_cast<std::size_t>(byte()) % shape.size()] = byte();
    TensorView view{dtype, std::move(shape), nullptr};
    const auto bytes = static_cast<std::size_t>(view.bytes());
    auto& memory = memory_.emplace_back(new std::byte[bytes]);
    for (std::size_t i = 0; i < bytes; ++i) {
      const std::size_t rest = size_ - at_;
      memory[i] = rest == 0 ? std::byte{0x11} : static_cast<std::byte>(data_[at_ + i % rest]);
    }
    view.data = memory.get();
    return view;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t at_ = 0;
  std::vector<std::unique_ptr<std::byte[]>> memory_;
};

DType number(int choice) {
  constexpr DType kNumbers[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E8M0};
  return kNumbers[choice % 4];
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

QuantizedMatrix make_gptq(Input& in, std::int64_t rows, std::int64_t columns) {
  const int flags = in.byte();
  QuantizedMatrix::Gptq t;
  t.bits = flags & 1 ? 8 : 4;
  t.group_size = flags & 2 ? -1 : 32 * (1 + in.byte() % 4);
  t.zeros_less_one = (flags & 4) != 0;
  const std::int64_t groups = t.group_size == -1 ? 1 : ceil_div(columns, t.group_size);
  t.qweight = in.tensor(DType::kI32, {columns * t.bits / 32, rows});
  t.qzeros = in.tensor(DType::kI32, {groups, rows * t.bits / 32});
  t.scales = in.tensor(number(flags >> 3 & 1), {groups, rows});
  if (flags & 16) t.g_idx = in.tensor(DType::kI32, {columns});
  return QuantizedMatrix::gptq("w", rows, columns, t);
}

QuantizedMatrix make_packed(Input& in, std::int64_t rows, std::int64_t columns) {
  const int flags = in.byte();
  QuantizedMatrix::Packed t;
  t.bits = flags & 1 ? 8 : 4;
  const std::int64_t groups = flags & 2 ? 1 : columns / 32;
  t.packed = in.tensor(DType::kI32, {rows, columns * t.bits / 32});
  t.scale = in.tensor(number(flags >> 3 & 3), {rows, groups});
  if (flags & 4) t.zero_point = in.tensor(DType::kI32, {ceil_div(rows, 32 / t.bits), groups});
  if (flags & 32) t.g_idx = in.tensor(DType::kI32, {columns});
  return QuantizedMatrix::packed("w", rows, columns, t);
}

QuantizedMatrix make_matrix(Input& in) {
  const int form = in.byte() % 6;
  const std::int64_t rows = 1 + in.byte() % 40;
  const std::int64_t columns = in.byte() % 8 == 7 ? 1 + in.byte() : 32 * (1 + in.byte() % 6);
  if (form == 0) {
    const std::int64_t block_rows = 1 + in.byte() % 40;
    const std::int64_t block_columns = 32 * (1 + in.byte() % 4);
    const TensorView weight = in.tensor(DType::kF8E4M3, {rows, columns});
    const TensorView scale = in.tensor(
        number(in.byte()), {ceil_div(rows, block_rows), ceil_div(columns, block_columns)});
    return QuantizedMatrix::fp8("w", rows, columns, weight, scale, block_rows, block_columns);
  }
  if (form == 1) return make_gptq(in, rows, columns);
  if (form == 2) {
    const TensorView qweight = in.tensor(DType::kI32, {columns, rows / 8});
    const TensorView qzeros = in.tensor(DType::kI32, {ceil_div(columns, 64), rows / 8});
    const TensorView scales = in.tensor(DType::kF16, {ceil_div(columns, 64), rows});
    return QuantizedMatrix::awq("w", rows, columns, qweight, qzeros, scales, 64);
  }
  if (form == 3) return make_packed(in, rows, columns);
  if (form == 4) {
    const TensorView weight = in.tensor(DType::kI8, {rows, columns});
    const TensorView scale = in.tensor(number(in.byte()), {rows, 1});
    TensorView zeros;
    if (in.byte() % 2 == 1) zeros = in.tensor(DType::kI8, {rows, 1});
    return QuantizedMatrix::int8("w", rows, columns, weight, scale, zeros);
  }
  const TensorView packed = in.tensor(DType::kU8, {rows, columns / 2});
  return QuantizedMatrix::fp4("w", rows, columns, packed,
                              in.tensor(DType::kF8E8M0, {rows, columns / 32}));
}

template <typename Action>
bool succeeds(Action&& action) {
  try {
    action();
    return true;
  } catch (const sampan::Error&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static sampan::ThreadPool pool(1);
  Input in(data, size);
  std::unique_ptr<QuantizedMatrix> matrix;
  if (!succeeds([&] { matrix = std::make_unique<QuantizedMatrix>(make_matrix(in)); })) return 0;
  std::vector<float> floats(static_cast<std::size_t>(matrix->rows() * matrix->columns()));
  const bool readable =
      succeeds([&] { matrix->dequantize_rows(0, matrix->rows(), floats.data()); });
  sampan::WeightMatrix weights;
  const bool packable = succeeds([&] { weights = sampan::WeightMatrix::make(*matrix, {}, pool); });
  SAMPAN_CHECK(readable == packable);
  if (!packable) return 0;

  std::vector<float> x(static_cast<std::size_t>(matrix->columns()), 1.0f);
  std::vector<float> y(static_cast<std::size_t>(matrix->rows()));
  sampan::Activations activations;
  activations.set(x.data(), 1, matrix->columns());
  sampan::matmul(weights, activations, y.data(), matrix->rows(), pool);
  return 0;
}
