#include "tensor/quantized_matrix.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "base/error.h"

namespace sampan {
namespace {

// Bytes enough for any tensor below.
const std::byte* some_bytes() {
  static const std::vector<std::byte> bytes = [] {
    std::vector<std::byte> made(1 << 16);
    std::uint32_t state = 1;
    for (std::byte& byte : made) {
      state = state * 1664525u + 1013904223u;
      byte = static_cast<std::byte>(state >> 26);
    }
    return made;
  }();
  return bytes.data();
}

TensorView tensor(DType dtype, Shape shape) { return {dtype, std::move(shape), some_bytes()}; }

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

QuantizedMatrix::Gptq gptq_tensors() {
  QuantizedMatrix::Gptq t;
  t.qweight = tensor(DType::kI32, {16, 32});
  t.qzeros = tensor(DType::kI32, {4, 4});
  t.scales = tensor(DType::kF16, {4, 32});
  t.group_size = 32;
  return t;
}

std::string gptq_message(const QuantizedMatrix::Gptq& tensors) {
  return message_of([&] { QuantizedMatrix::gptq("w", 32, 128, tensors); });
}

TEST(QuantizedMatrix, WrongShapesAndTypesAreNamed) {
  EXPECT_EQ(gptq_message(gptq_tensors()), "no error");
  QuantizedMatrix::Gptq t = gptq_tensors();
  t.qweight = tensor(DType::kI32, {16, 31});
  EXPECT_EQ(gptq_message(t), "tensor w: codes have shape [16, 31], [16, 32] expected");
  t = gptq_tensors();
  t.scales = tensor(DType::kI8, {4, 32});
  EXPECT_EQ(gptq_message(t), "tensor w: scales are I8, F16, BF16, F32 expected");
  t = gptq_tensors();
  t.qzeros = tensor(DType::kI32, {3, 4});
  EXPECT_EQ(gptq_message(t), "tensor w: zero points have shape [3, 4], [4, 4] expected");
  t = gptq_tensors();
  t.group_size = 48;
  EXPECT_EQ(gptq_message(t), "tensor w: groups of 48 columns are not a multiple of 32");
  t = gptq_tensors();
  t.bits = 3;
  EXPECT_EQ(gptq_message(t), "tensor w: codes of 3 bits, 4 and 8 are read");
  EXPECT_EQ(message_of([] { QuantizedMatrix::gptq("w", 30, 128, gptq_tensors()); }),
            "tensor w: 30 rows of 4 bits do not fill words of 32 bits");
  EXPECT_EQ(message_of([] { QuantizedMatrix::gptq("w", 32, 100, gptq_tensors()); }),
            "tensor w: 100 columns are not a multiple of 32");
  EXPECT_EQ(message_of([] {
              QuantizedMatrix::fp8("w", 32, 64, tensor(DType::kF8E4M3, {32, 64}),
                                   tensor(DType::kF32, {2, 3}), 16, 32);
            }),
            "tensor w: scales have shape [2, 3], [2, 2] expected");
  EXPECT_EQ(message_of([] {
              QuantizedMatrix::int8("w", 32, 64, tensor(DType::kI8, {32, 64}),
                                    tensor(DType::kF32, {32, 3}), {});
            }),
            "tensor w: scales for 3 groups do not divide 64 columns");
}

TEST(QuantizedMatrix, GroupIndices) {
  std::vector<std::int32_t> index(128);
  for (int i = 0; i < 128; ++i) index[static_cast<std::size_t>(i)] = i / 32;
  QuantizedMatrix::Gptq t = gptq_tensors();
  t.g_idx = {DType::kI32, {128}, reinterpret_cast<const std::byte*>(index.data())};
  EXPECT_TRUE(QuantizedMatrix::gptq("w", 32, 128, t).column_order().empty());

  std::swap(index[0], index[127]);
  const QuantizedMatrix ordered = QuantizedMatrix::gptq("w", 32, 128, t);
  ASSERT_EQ(ordered.column_order().size(), 128u);
  EXPECT_EQ(ordered.column_order()[0], 1);
  EXPECT_EQ(ordered.column_order()[31], 127);
  EXPECT_EQ(ordered.column_order()[96], 0);
  EXPECT_EQ(ordered.description(), "GPTQ 4 bit in groups of 32, columns in another order");

  index[5] = 4;
  EXPECT_EQ(gptq_message(t), "tensor w: column 5 is of group 4, there are 4 groups");
  index[5] = -1;
  EXPECT_EQ(gptq_message(t), "tensor w: column 5 is of group -1, there are 4 groups");
  index[5] = 1;
  EXPECT_EQ(gptq_message(t), "tensor w: group 0 has 31 columns, which are not a multiple of 32");
}

TEST(QuantizedMatrix, ZeroPointsBeyondAByteAreRefused) {
  std::vector<std::uint8_t> zeros(4 * 32, 0xFF);
  QuantizedMatrix::Gptq t = gptq_tensors();
  t.bits = 8;
  t.qweight = tensor(DType::kI32, {32, 32});
  t.qzeros = {DType::kI32, {4, 8}, reinterpret_cast<const std::byte*>(zeros.data())};
  const QuantizedMatrix matrix = QuantizedMatrix::gptq("w", 32, 128, t);
  std::vector<float> row(128);
  EXPECT_EQ(message_of([&] { matrix.dequantize_rows(7, 1, row.data()); }),
            "tensor w: the zero point of row 7 and group 0 is 256, above 255");
}

// Rows one by one, some neighbours that do not start a word, and all of a panel are the same.
TEST(QuantizedMatrix, RowsAreReadAloneAsTogether) {
  QuantizedMatrix::Gptq eight = gptq_tensors();
  eight.bits = 8;
  eight.zeros_less_one = false;
  eight.qweight = tensor(DType::kI32, {32, 32});
  eight.qzeros = tensor(DType::kI32, {4, 8});
  QuantizedMatrix::Packed packed;
  packed.packed = tensor(DType::kI32, {32, 16});
  packed.scale = tensor(DType::kBF16, {32, 4});
  packed.zero_point = tensor(DType::kI32, {4, 4});
  const QuantizedMatrix matrices[] = {
      QuantizedMatrix::gptq("w", 32, 128, gptq_tensors()),
      QuantizedMatrix::gptq("w", 32, 128, eight),
      QuantizedMatrix::awq("w", 32, 128, tensor(DType::kI32, {128, 4}), tensor(DType::kI32, {4, 4}),
                           tensor(DType::kF16, {4, 32}), 32),
      QuantizedMatrix::packed("w", 32, 128, packed),
      QuantizedMatrix::fp8("w", 32, 128, tensor(DType::kF8E4M3, {32, 128}),
                           tensor(DType::kBF16, {4, 2}), 8, 64),
      QuantizedMatrix::fp4("w", 32, 128, tensor(DType::kU8, {32, 64}),
                           tensor(DType::kU8, {32, 4}))};
  for (const QuantizedMatrix& matrix : matrices) {
    std::vector<float> all(32 * 128), part(16 * 128);
    matrix.dequantize_rows(0, 32, all.data());
    for (const std::int64_t first : {0, 1, 5, 8, 16}) {
      for (const std::int64_t count : {1, 7, 16}) {
        matrix.dequantize_rows(first, count, part.data());
        EXPECT_EQ(std::memcmp(part.data(), all.data() + first * 128,
                              static_cast<std::size_t>(count) * 128 * sizeof(float)),
                  0)
            << matrix.description() << " rows from " << first << ": " << count;
      }
    }
  }
}

TEST(QuantizedMatrix, ValuesOfCodes) {
  const std::array<float, 256>& e4m3 = quantized_value_table(QuantizedValues::kE4M3);
  EXPECT_EQ(e4m3[0x01], 0x1p-9f);
  EXPECT_EQ(e4m3[0x08], 0x1p-6f);
  EXPECT_EQ(e4m3[0x38], 1.0f);
  EXPECT_EQ(e4m3[0x7E], 448.0f);
  EXPECT_EQ(e4m3[0xFE], -448.0f);
  EXPECT_NE(e4m3[0x7F], e4m3[0x7F]);
  EXPECT_NE(e4m3[0xFF], e4m3[0xFF]);
  const std::array<float, 256>& e2m1 = quantized_value_table(QuantizedValues::kE2M1);
  EXPECT_EQ(e2m1[7], 6.0f);
  EXPECT_EQ(e2m1[9], -0.5f);
}

}  // namespace
}  // namespace sampan
