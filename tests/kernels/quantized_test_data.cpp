#include "kernels/quantized_test_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "tensor/half.h"

namespace sampan::quantized_test {
namespace {

using Memory = std::vector<std::vector<std::byte>>;

class Maker {
 public:
  explicit Maker(std::uint32_t seed) : random_(seed) {}

  TensorView bytes(DType dtype, Shape shape) {
    TensorView view{dtype, std::move(shape), nullptr};
    std::vector<std::byte> data(static_cast<std::size_t>(view.bytes()) + 1);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random_());
    return keep(std::move(view), std::move(data));
  }

  TensorView e4m3(Shape shape) {
    TensorView view = bytes(DType::kF8E4M3, std::move(shape));
    for (std::byte& byte : memory_.back()) {
      if ((byte & std::byte{0x7F}) == std::byte{0x7F}) byte ^= std::byte{1};
      // Rows of all magnitudes.
      if (random_() % 3 == 0) byte &= std::byte{0x8F};
    }
    return view;
  }

  TensorView numbers(DType dtype, Shape shape, double least = 1e-3) {
    TensorView view{dtype, std::move(shape), nullptr};
    std::vector<std::byte> data(static_cast<std::size_t>(view.bytes()) + 1);
    std::uniform_real_distribution<double> factor(1.0, 4.0);
    for (std::int64_t i = 0; i < view.elements(); ++i) {
      const float value = static_cast<float>(least * factor(random_));
      const std::uint16_t half = dtype == DType::kF16 ? float_to_f16(value) : float_to_bf16(value);
      if (dtype == DType::kF32) {
        std::memcpy(data.data() + 1 + 4 * i, &value, 4);
      } else {
        std::memcpy(data.data() + 1 + 2 * i, &half, 2);
      }
    }
    return keep(std::move(view), std::move(data));
  }

  TensorView exponents(Shape shape) {
    TensorView view = bytes(DType::kF8E8M0, std::move(shape));
    for (std::byte& byte : memory_.back()) {
      byte = static_cast<std::byte>(100 + std::to_integer<int>(byte) % 40);
    }
    return view;
  }

  TensorView words(std::vector<std::int32_t> values, Shape shape) {
    std::vector<std::byte> data(values.size() * 4 + 1);
    std::memcpy(data.data() + 1, values.data(), values.size() * 4);
    return keep({DType::kI32, std::move(shape), nullptr}, std::move(data));
  }

  // Every column of one of the groups, in a random order.
  TensorView shuffled_groups(std::int64_t columns, std::int64_t group_size) {
    std::vector<std::int32_t> groups(static_cast<std::size_t>(columns));
    for (std::size_t i = 0; i < groups.size(); ++i) {
      groups[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / group_size);
    }
    std::shuffle(groups.begin(), groups.end(), random_);
    return words(std::move(groups), {columns});
  }

  Made finish(QuantizedMatrix matrix) { return {std::move(matrix), std::move(memory_)}; }

 private:
  // The tensor starts at an odd address.
  TensorView keep(TensorView view, std::vector<std::byte> data) {
    memory_.push_back(std::move(data));
    view.data = memory_.back().data() + 1;
    return view;
  }

  std::mt19937 random_;
  Memory memory_;
};

template <int kBlockRows, int kBlockColumns, DType kScale>
Made make_fp8(std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Maker maker(seed);
  const std::int64_t block_rows = kBlockRows == 0 ? rows : kBlockRows;
  const std::int64_t block_columns = kBlockColumns == 0 ? columns : kBlockColumns;
  const Shape grid = {(rows + block_rows - 1) / block_rows,
                      (columns + block_columns - 1) / block_columns};
  const TensorView weight = maker.e4m3({rows, columns});
  const TensorView scale =
      kScale == DType::kF8E8M0 ? maker.exponents(grid) : maker.numbers(kScale, grid);
  return maker.finish(
      QuantizedMatrix::fp8("w", rows, columns, weight, scale, block_rows, block_columns));
}

template <int kBits, bool kSymmetric, bool kActOrder, DType kScale = DType::kF16>
Made make_gptq(std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Maker maker(seed);
  const std::int64_t groups = columns / 32;
  QuantizedMatrix::Gptq tensors;
  tensors.bits = kBits;
  tensors.group_size = 32;
  tensors.qweight = maker.bytes(DType::kI32, {columns * kBits / 32, rows});
  const Shape zeros = {groups, rows * kBits / 32};
  tensors.qzeros = maker.bytes(DType::kI32, zeros);
  if (kSymmetric) {
    tensors.qzeros =
        maker.words(std::vector<std::int32_t>(static_cast<std::size_t>(zeros[0] * zeros[1]),
                                              kBits == 4 ? 0x77777777 : 0x7F7F7F7F),
                    zeros);
  } else {  // stored 255 would mean 256
    tensors.zeros_less_one = kBits == 4;
  }
  tensors.scales = maker.numbers(kScale, {groups, rows}, kScale == DType::kBF16 ? 1e-9 : 1e-3);
  if (kActOrder) tensors.g_idx = maker.shuffled_groups(columns, 32);
  return maker.finish(QuantizedMatrix::gptq("w", rows, columns, tensors));
}

Made make_awq(std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Maker maker(seed);
  const TensorView qweight = maker.bytes(DType::kI32, {columns, rows / 8});
  const TensorView qzeros = maker.bytes(DType::kI32, {columns / 64, rows / 8});
  const TensorView scales = maker.numbers(DType::kF16, {columns / 64, rows});
  return maker.finish(QuantizedMatrix::awq("w", rows, columns, qweight, qzeros, scales, 64));
}

template <int kBits, bool kSymmetric, bool kActOrder>
Made make_packed(std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Maker maker(seed);
  QuantizedMatrix::Packed tensors;
  tensors.bits = kBits;
  tensors.packed = maker.bytes(DType::kI32, {rows, columns * kBits / 32});
  tensors.scale = maker.numbers(DType::kBF16, {rows, columns / 32});
  if (!kSymmetric) {
    tensors.zero_point = maker.bytes(DType::kI32, {rows * kBits / 32, columns / 32});
  }
  if (kActOrder) tensors.g_idx = maker.shuffled_groups(columns, 32);
  return maker.finish(QuantizedMatrix::packed("w", rows, columns, tensors));
}

template <bool kSymmetric, DType kScale>
Made make_int8(std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Maker maker(seed);
  const TensorView weight = maker.bytes(DType::kI8, {rows, columns});
  const TensorView scale = maker.numbers(kScale, {rows, 1});
  TensorView zeros;
  if (!kSymmetric) zeros = maker.bytes(DType::kI8, {rows, 1});
  return maker.finish(QuantizedMatrix::int8("w", rows, columns, weight, scale, zeros));
}

Made make_fp4(std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
  Maker maker(seed);
  const TensorView packed = maker.bytes(DType::kU8, {rows, columns / 2});
  const TensorView scale = maker.exponents({rows, columns / 32});
  return maker.finish(QuantizedMatrix::fp4("w", rows, columns, packed, scale));
}

}  // namespace

const std::vector<Form>& forms() {
  using enum DType;
  static const std::vector<Form> all = {
      {"Fp8Blocks", kF8Block, make_fp8<16, 64, kF32>},
      {"Fp8LargeBlocks", kF8Block, make_fp8<128, 128, kBF16>},
      {"Fp8BlocksOfPowers", kF8Block, make_fp8<32, 32, kF8E8M0>},
      {"Fp8NarrowBlocks", kI8Zero, make_fp8<8, 64, kF32>},
      {"Fp8Rows", kI8Zero, make_fp8<1, 0, kF32>},
      {"Fp8OneScale", kF8Block, make_fp8<0, 0, kF32>},
      {"Gptq4", kQ4_0, make_gptq<4, true, false>},
      {"Gptq4Zeros", kI4Zero, make_gptq<4, false, false>},
      {"Gptq4Order", kQ4_0, make_gptq<4, true, true>},
      {"Gptq4ZerosOrder", kI4Zero, make_gptq<4, false, true>},
      {"Gptq4SmallScales", kI8Zero, make_gptq<4, false, false, kBF16>},
      {"Gptq8", kQ8_0, make_gptq<8, true, false>},
      {"Gptq8Zeros", kI8Zero, make_gptq<8, false, false>},
      {"Gptq8ZerosOrder", kI8Zero, make_gptq<8, false, true>},
      {"Awq", kI4Zero, make_awq},
      {"Int4", kQ4_0, make_packed<4, true, false>},
      {"Int4Zeros", kI4Zero, make_packed<4, false, false>},
      {"Int4Order", kQ4_0, make_packed<4, true, true>},
      {"Int8Packed", kQ8_0, make_packed<8, true, false>},
      {"Int8PackedZeros", kI8Zero, make_packed<8, false, false>},
      {"Int8PackedZerosOrder", kI8Zero, make_packed<8, false, true>},
      {"Int8Rows", kQ8_0, make_int8<true, kBF16>},
      {"Int8RowsFloat", kI8Zero, make_int8<true, kF32>},
      {"Int8RowsZeros", kI8Zero, make_int8<false, kBF16>},
      {"Fp4", kMXFP4, make_fp4},
  };
  return all;
}

}  // namespace sampan::quantized_test
