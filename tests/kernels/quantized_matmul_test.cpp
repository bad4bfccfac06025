// Products with weights in the published quantised forms.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "kernels/matmul.h"
#include "kernels/matmul_table.h"
#include "kernels/matmul_test_data.h"
#include "kernels/ops_table.h"
#include "kernels/panels.h"
#include "kernels/quantized_activations.h"
#include "kernels/quantized_panels.h"
#include "kernels/quantized_test_data.h"

namespace sampan {
namespace {

using matmul_test::random_activations;
using matmul_test::same_float;
using matmul_test::supported_isas;
using quantized_test::Form;
using quantized_test::Made;

constexpr std::int64_t kRows = 48;
constexpr std::int64_t kColumns = 320;
constexpr std::int64_t kTokens = 33;

ThreadPool& pool() {
  static ThreadPool two(2);
  return two;
}

std::vector<float> products(Isa isa, const WeightMatrix& w, const std::vector<float>& x,
                            std::int64_t tokens) {
  Activations activations;
  activations.set(x.data(), tokens, w.columns());
  activations.require(activation_kind(w.dtype()), pool());
  std::vector<float> y(static_cast<std::size_t>(tokens * w.rows()));
  matmul_with_table(matmul_table(isa), w, activations, y.data(), w.rows(), pool());
  return y;
}

class QuantizedMatmul : public ::testing::TestWithParam<Form> {};

TEST_P(QuantizedMatmul, TakesTheExpectedPanels) {
  const Made made = GetParam().make(kRows, kColumns, 1);
  EXPECT_EQ(likely_panel_type(made.matrix, {}), GetParam().panels);
  EXPECT_EQ(WeightMatrix::make(made.matrix, {}, pool()).dtype(), GetParam().panels);
}

TEST_P(QuantizedMatmul, AllInstructionSetsGiveTheSameBits) {
  const Made made = GetParam().make(kRows, kColumns, 2);
  const std::vector<float> x = random_activations(kTokens * kColumns, 3);
  for (const std::size_t rows : {1, 15, 16, 17, 33, 48}) {
    std::vector<std::int64_t> order(rows);
    std::iota(order.begin(), order.end(), 0);
    const WeightMatrix w = WeightMatrix::make(made.matrix, order, pool());
    for (const std::int64_t tokens : {1, 2, 3, 5, 9, 17, 33}) {
      const std::vector<float> expected = products(Isa::kReference, w, x, tokens);
      for (const Isa isa : supported_isas()) {
        ASSERT_EQ(products(isa, w, x, tokens), expected)
            << isa_name(isa) << " rows " << rows << " tokens " << tokens;
      }
    }
  }
}

// What a weight counts for in products: itself, but FP8 in steps of its 32 neighbours' largest.
std::vector<double> counted_weights(const QuantizedMatrix& matrix, std::int64_t row) {
  std::vector<float> floats(static_cast<std::size_t>(matrix.columns()));
  matrix.dequantize_rows(row, 1, floats.data());
  std::vector<double> weights(floats.begin(), floats.end());
  if (matrix.values() != QuantizedValues::kE4M3) return weights;
  const std::int64_t rows[1] = {row};
  QuantizedTile tile;
  for (std::int64_t t = 0; t < matrix.columns() / 32; ++t) {
    matrix.read_tile(t, rows, tile);
    const double scale = tile.scales[0];
    double* group = weights.data() + 32 * t;
    double largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::abs(group[i] / scale));
    if (largest == 0) continue;
    const double step = std::exp2(std::floor(std::log2(largest) + 1e-6) - 6);
    // scale * step and the weights are rounded to float, which the division takes back.
    for (int i = 0; i < 32; ++i) {
      const double value = std::round(group[i] / scale * 0x1p12) * 0x1p-12;
      group[i] = std::nearbyint(value / step) * (step * scale);
    }
  }
  return weights;
}

TEST_P(QuantizedMatmul, ReferenceAgreesWithDoubles) {
  const Made made = GetParam().make(kRows, kColumns, 4);
  const std::vector<float> x = random_activations(3 * kColumns, 5);
  const WeightMatrix w = WeightMatrix::make(made.matrix, {}, pool());
  const std::vector<float> y = products(Isa::kReference, w, x, 3);
  // The activations as they are quantised: in the order of the stored columns.
  const std::span<const std::int32_t> order = made.matrix.column_order();
  std::vector<float> ordered = x;
  for (std::size_t i = 0; i < ordered.size() && !order.empty(); ++i) {
    ordered[i] = x[i / kColumns * kColumns + static_cast<std::size_t>(order[i % kColumns])];
  }
  Activations activations;
  activations.set(ordered.data(), 3, kColumns);
  activations.require(ActivationKind::kInt8Block32, pool());
  const QuantizedRows& rows = activations.quantized(ActivationKind::kInt8Block32);
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::vector<double> weights = counted_weights(made.matrix, r);
    for (std::int64_t t = 0; t < 3; ++t) {
      const auto* blocks =
          reinterpret_cast<const ActivationBlock32*>(rows.data + t * rows.row_stride);
      double sum = 0, magnitude = 0;
      for (std::size_t k = 0; k < kColumns; ++k) {
        const std::size_t column = order.empty() ? k : static_cast<std::size_t>(order[k]);
        const double product =
            weights[column] * static_cast<double>(blocks[k / 32].d) * blocks[k / 32].q[k % 32];
        sum += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(y[static_cast<std::size_t>(t * kRows + r)], sum, 3e-6 * magnitude)
          << "token " << t << " row " << r;
    }
  }
}

TEST_P(QuantizedMatmul, RowsInAnotherOrderAndThreads) {
  const Made made = GetParam().make(kRows, kColumns, 6);
  const std::vector<float> x = random_activations(2 * kColumns, 7);
  const std::vector<std::int64_t> order = {47, 0,  5,  5,  17, 16, 15, 1,  2,  3, 4,
                                           31, 30, 29, 28, 27, 40, 41, 42, 43, 44};
  const auto count = static_cast<std::int64_t>(order.size());
  const std::vector<float> plain =
      products(Isa::kReference, WeightMatrix::make(made.matrix, {}, pool()), x, 2);
  for (const int threads : {1, 3}) {
    ThreadPool some(threads);
    const WeightMatrix w = WeightMatrix::make(made.matrix, order, some);
    Activations activations;
    activations.set(x.data(), 2, kColumns);
    std::vector<float> y(2 * order.size());
    matmul(w, activations, y.data(), count, some);
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (std::size_t t = 0; t < 2; ++t) {
        EXPECT_EQ(y[t * order.size() + i], plain[t * kRows + static_cast<std::size_t>(order[i])]);
      }
    }
  }
}

TEST_P(QuantizedMatmul, AsOneOfSeveralTasks) {
  const Made made = GetParam().make(kRows, kColumns, 8);
  const std::vector<float> wide = random_activations(5 * (kColumns + 64), 9);
  const WeightMatrix w = WeightMatrix::make(made.matrix, {}, pool());
  std::vector<float> cut;
  for (std::size_t t = 1; t < 4; ++t) {
    const auto row = wide.begin() + static_cast<std::ptrdiff_t>(t) * (kColumns + 64) + 32;
    cut.insert(cut.end(), row, row + kColumns);
  }
  Activations plain;
  plain.set(cut.data(), 3, kColumns);
  std::vector<float> expected(3 * kRows), got(3 * kRows), other(3 * kRows);
  matmul(w, plain, expected.data(), kRows, pool());

  // Rows 1, 2 and 3, taken from another's in another order.
  Activations source, taken;
  source.set(wide.data(), 5, kColumns + 64);
  const std::int32_t rows[] = {0, 3, 2, 1};
  taken.set_rows_of(source, rows);
  const MatmulTask tasks[] = {{&w, 1, 1, 32, got.data() + 2 * kRows, kRows},
                              {&w, 2, 2, 32, other.data(), kRows}};
  matmul_tasks(tasks, taken, pool());
  std::copy_n(other.begin(), kRows, got.begin() + kRows);
  std::copy_n(other.begin() + kRows, kRows, got.begin());
  EXPECT_EQ(got, expected);
}

// Gate and up may each have an order of columns of its own.
TEST_P(QuantizedMatmul, GatedWithBiases) {
  const WeightMatrix gate =
      WeightMatrix::make(GetParam().make(kRows, kColumns, 10).matrix, {}, pool());
  const WeightMatrix up =
      WeightMatrix::make(GetParam().make(kRows, kColumns, 11).matrix, {}, pool());
  const std::vector<float> x = random_activations(kTokens * kColumns, 12);
  const std::vector<float> bias = random_activations(kRows, 13),
                           up_bias = random_activations(kRows, 14);
  Activations activations;
  activations.set(x.data(), kTokens, kColumns);
  std::vector<float> expected(kTokens * kRows), ups(expected.size()), got(expected.size());
  matmul(gate, activations, expected.data(), kRows, pool());
  matmul(up, activations, ups.data(), kRows, pool());
  const OpsTable& ops = ops_table(Isa::kReference);
  for (std::size_t t = 0; t < kTokens; ++t) {
    ops.add(expected.data() + t * kRows, bias.data(), kRows);
    ops.add(ups.data() + t * kRows, up_bias.data(), kRows);
  }
  ops.silu_mul(expected.data(), ups.data(), kTokens * kRows, expected.data());
  const MatmulTask task = {&gate,       0,   kTokens,       0, got.data(), kRows,
                           bias.data(), &up, up_bias.data()};
  matmul_tasks({&task, 1}, activations, pool());
  EXPECT_EQ(got, expected);
}

std::string form_name(const ::testing::TestParamInfo<Form>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Forms, QuantizedMatmul, ::testing::ValuesIn(quantized_test::forms()),
                         form_name);

// The largest sums that codes, zero points and activations can make.
TEST(QuantizedPanels, ExtremesGiveTheSameBits) {
  constexpr std::int64_t kWide = 128;
  std::vector<float> x(4 * kWide);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t token = i / kWide;
    x[i] = token == 0 || (token == 2 && i % 2 == 0) ? 1.0f : token == 3 ? 0.0f : -1.0f;
  }
  const std::vector<float> scales(32, 1.5f);
  const TensorView scale = {
      DType::kF32, {32, 1}, reinterpret_cast<const std::byte*>(scales.data())};
  for (const int code : {0x00, 0x80, 0x7F, 0xFF}) {
    for (const int zero : {0x00, 0x80, 0x7F, 0xFF}) {
      const std::vector<std::uint8_t> codes(32 * kWide, static_cast<std::uint8_t>(code));
      const std::vector<std::uint8_t> zeros(32, static_cast<std::uint8_t>(zero));
      const auto* bytes = reinterpret_cast<const std::byte*>(codes.data());
      const auto* zero_bytes = reinterpret_cast<const std::byte*>(zeros.data());
      QuantizedMatrix::Packed four;
      four.packed = {DType::kI32, {32, kWide / 8}, bytes};
      four.scale = scale;
      four.zero_point = {DType::kI32, {4, 1}, zero_bytes};
      for (const QuantizedMatrix& matrix :
           {QuantizedMatrix::int8("w", 32, kWide, {DType::kI8, {32, kWide}, bytes}, scale,
                                  {DType::kI8, {32, 1}, zero_bytes}),
            QuantizedMatrix::packed("w", 32, kWide, four)}) {
        const WeightMatrix w = WeightMatrix::make(matrix, {}, pool());
        const std::vector<float> expected = products(Isa::kReference, w, x, 4);
        for (const Isa isa : supported_isas()) {
          ASSERT_EQ(products(isa, w, x, 4), expected)
              << isa_name(isa) << " " << dtype_name(w.dtype()) << " " << code << " " << zero;
        }
      }
    }
  }
}

// Every E4M3 number, beside each possible largest one.
TEST(Fp8AsIntegers, FourBinadesAreExactAndTheRestIsRounded) {
  const std::array<float, 256>& values = quantized_value_table(QuantizedValues::kE4M3);
  const float one = 1.0f;
  for (int largest = 1; largest < 127; ++largest) {
    std::vector<std::uint8_t> codes(16 * 32 * 8, 0);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const auto code = static_cast<std::uint8_t>(i % 256);
      codes[i] = (code & 0x7F) <= largest ? code : static_cast<std::uint8_t>(code & 0x80);
      if (i % 32 == 7) codes[i] = static_cast<std::uint8_t>(largest);
    }
    const QuantizedMatrix matrix = QuantizedMatrix::fp8(
        "w", 16, 256, {DType::kF8E4M3, {16, 256}, reinterpret_cast<const std::byte*>(codes.data())},
        {DType::kF32, {1}, reinterpret_cast<const std::byte*>(&one)}, 16, 256);
    const WeightMatrix w = WeightMatrix::make(matrix, {}, pool());
    ASSERT_EQ(w.dtype(), DType::kF8Block);
    const auto* panel = reinterpret_cast<const std::uint8_t*>(w.data());
    const float step = std::ldexp(1.0f, std::ilogb(values[static_cast<std::size_t>(largest)]) - 6);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const std::size_t row = i / 256, tile = i % 256 / 32, column = i % 32;
      EXPECT_EQ(std::ldexp(1.0f, panel[20 * tile + row] - 127), step);
      const std::size_t at = static_cast<std::size_t>(panel_header_bytes(w.dtype(), 256)) +
                             512 * tile + (column / 4 * 16 + row) * 4 + column % 4;
      const float got = static_cast<float>(static_cast<std::int8_t>(panel[at])) * step;
      const float value = values[codes[i]];
      if (std::abs(value) >= 8 * step || std::abs(value) == 0) {
        ASSERT_EQ(got, value) << "largest " << largest << " code " << int{codes[i]};
      } else {
        ASSERT_LE(std::abs(got - value), 0.5f * step);
      }
    }
  }
}

TEST(Fp8AsIntegers, ANanIsRefusedByName) {
  Made made = quantized_test::forms()[0].make(kRows, kColumns, 1);
  made.memory[0][1 + 17 * kColumns + 5] = std::byte{0xFF};
  try {
    WeightMatrix::make(made.matrix, {}, pool());
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "tensor w: row 17, column 5 is NaN");
  }
}

TEST(QuantizedPanels, AnInfiniteScaleIsRefusedByName) {
  Made made = quantized_test::forms()[0].make(kRows, kColumns, 1);
  const float infinity = std::numeric_limits<float>::infinity();
  std::memcpy(made.memory[1].data() + 1 + 4 * (2 * 5 + 3), &infinity, 4);
  try {
    WeightMatrix::make(made.matrix, {}, pool());
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "tensor w: the scale of row 32 and group 3 is not finite");
  }
}

// A scale that no f16 holds, far from the first panel.
TEST(QuantizedPanels, TheNextTypeIsTakenWhereOneScaleDoesNotFit) {
  for (const Form& form : quantized_test::forms()) {
    if (form.name != "Int4" && form.name != "Int8Rows") continue;
    Made made = form.make(kRows, kColumns, 1);
    std::vector<std::byte>& scales = made.memory[1];
    const std::uint16_t tiny = 0x2001;  // as bf16
    std::memcpy(scales.data() + scales.size() - 2, &tiny, 2);
    EXPECT_EQ(likely_panel_type(made.matrix, {}), form.panels);
    const WeightMatrix w = WeightMatrix::make(made.matrix, {}, pool());
    EXPECT_EQ(w.dtype(), DType::kI8Zero) << form.name;
  }
}

// Groups of zeros come with all kinds of scales.
TEST(QuantizedPanels, TheScaleOfZerosDoesNotMatter) {
  std::vector<std::uint32_t> words(16 * 4, 0x88888888u);
  std::vector<std::uint16_t> scales(16, 0x3C00);
  scales[5] = 0x2001;
  QuantizedMatrix::Packed tensors;
  tensors.packed = {DType::kI32, {16, 4}, reinterpret_cast<const std::byte*>(words.data())};
  tensors.scale = {DType::kBF16, {16, 1}, reinterpret_cast<const std::byte*>(scales.data())};
  const QuantizedMatrix matrix = QuantizedMatrix::packed("w", 16, 32, tensors);
  EXPECT_EQ(WeightMatrix::make(matrix, {}, pool()).dtype(), DType::kQ4_0);
}

}  // namespace
}  // namespace sampan
