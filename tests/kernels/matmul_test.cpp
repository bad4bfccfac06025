#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "kernels/block_codec.h"
#include "kernels/matmul_table.h"
#include "kernels/matmul_test_data.h"
#include "kernels/ops_table.h"
#include "kernels/quantized_activations.h"

namespace sampan {
namespace {

using namespace matmul_test;

constexpr std::int64_t kRows = 33;
constexpr std::int64_t kTokens = 33;
constexpr float kUntouched = -12345.0f;

ThreadPool& pool() {
  static ThreadPool two(2);
  return two;
}

// All products of the reference, (kTokens, kRows).
std::vector<float> reference_products(const WeightMatrix& w, const Activations& x) {
  std::vector<float> y(static_cast<std::size_t>(x.rows() * w.rows()));
  matmul_with_table(matmul_table_reference(), w, x, y.data(), w.rows(), pool());
  return y;
}

// The first `rows` rows of `bytes` times the first `tokens` tokens of x by `isa` equal those of
// `expected` (tokens, kRows).
void expect_same_products(Isa isa, DType dtype, const std::byte* bytes, std::int64_t rows,
                          std::int64_t columns, const std::vector<float>& x, std::int64_t tokens,
                          const std::vector<float>& expected) {
  const WeightMatrix w = WeightMatrix::make(view(dtype, rows, columns, bytes), pool());
  Activations activations;
  activations.set(x.data(), tokens, columns);
  activations.require(activation_kind(dtype), pool());
  const std::int64_t stride = rows + 3;
  std::vector<float> y(static_cast<std::size_t>(tokens * stride), kUntouched);
  matmul_with_table(matmul_table(isa), w, activations, y.data(), stride, pool());
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < stride; ++r) {
      const float got = y[static_cast<std::size_t>(t * stride + r)];
      const float want = r < rows ? expected[static_cast<std::size_t>(t * kRows + r)] : kUntouched;
      ASSERT_TRUE(same_float(got, want))
          << isa_name(isa) << " " << dtype_name(dtype) << " rows " << rows << " columns " << columns
          << " tokens " << tokens << ": token " << t << " row " << r << ": " << got << " for "
          << want;
    }
  }
}

void expect_same_for_all_sizes(DType dtype, const std::byte* bytes, std::int64_t columns,
                               const std::vector<float>& x) {
  const WeightMatrix w = WeightMatrix::make(view(dtype, kRows, columns, bytes), pool());
  Activations activations;
  activations.set(x.data(), kTokens, columns);
  activations.require(activation_kind(dtype), pool());
  const std::vector<float> expected = reference_products(w, activations);
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::kReference) continue;
    for (const std::int64_t rows : {1, 15, 16, 17, 33}) {
      for (const std::int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33}) {
        expect_same_products(isa, dtype, bytes, rows, columns, x, tokens, expected);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

class BlockMatmul : public ::testing::TestWithParam<DType> {};

TEST_P(BlockMatmul, AllInstructionSetsGiveTheSameBits) {
  const std::int64_t width = dtype_info(GetParam()).block_elements;
  for (const std::int64_t columns : {width, 3 * width, 1024 + width, 2304 - width}) {
    const auto bytes = random_blocks(GetParam(), kRows, columns, Codes::kRandom, Scales::kRandom,
                                     static_cast<std::uint32_t>(columns));
    expect_same_for_all_sizes(GetParam(), bytes.data(), columns,
                              random_activations(kTokens * columns, 7));
    if (HasFatalFailure()) return;
  }
}

TEST_P(BlockMatmul, ExtremeCodesAndScalesGiveTheSameBits) {
  constexpr std::int64_t kColumns = 512;
  std::vector<float> x(kTokens * kColumns);
  for (std::size_t i = 0; i < x.size();
       ++i) {  // the largest activations of one sign, of both, zeros
    const std::size_t token = i / kColumns % 4;
    x[i] = token == 0 ? 1.0f : token == 1 ? -1.0f : token == 2 ? (i % 2 == 0 ? 1.0f : -1.0f) : 0.0f;
  }
  for (const Codes codes : {Codes::kRandom, Codes::kZeros, Codes::kOnes}) {
    for (const Scales scales :
         {Scales::kLargest, Scales::kSubnormal, Scales::kInfinite, Scales::kNegative}) {
      const auto bytes = random_blocks(GetParam(), kRows, kColumns, codes, scales, 3);
      expect_same_for_all_sizes(GetParam(), bytes.data(), kColumns, x);
      if (HasFatalFailure()) return;
    }
  }
}

// The weights' lowest codes: in Q8_0, -128 is a byte that no quantiser writes, but a file may hold
// it.
TEST(BlockMatmulQ8, TheByteMinus128) {
  constexpr std::int64_t kColumns = 64;
  auto bytes = random_blocks(DType::kQ8_0, kRows, kColumns, Codes::kRandom, Scales::kRandom, 5);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % 34 >= 2) bytes[i] = std::byte{0x80};
  }
  std::vector<float> x(kTokens * kColumns, 1.0f);
  for (std::size_t i = 0; i < x.size(); i += 3) x[i] = -1.0f;
  expect_same_for_all_sizes(DType::kQ8_0, bytes.data(), kColumns, x);
}

// Value of a quantised activation.
double quantized_value(const QuantizedRows& rows, ActivationKind kind, std::int64_t t,
                       std::int64_t k) {
  const std::byte* row = rows.data + t * rows.row_stride;
  if (kind == ActivationKind::kInt8Block32) {
    const auto& block = reinterpret_cast<const ActivationBlock32*>(row)[k / 32];
    return static_cast<double>(block.d) * block.q[k % 32];
  }
  const auto& block = reinterpret_cast<const ActivationBlock256*>(row)[k / 256];
  return static_cast<double>(block.d) * block.q[k % 256];
}

TEST_P(BlockMatmul, ReferenceAgreesWithDequantizedProducts) {
  const std::int64_t columns = 3 * dtype_info(GetParam()).block_elements;
  const auto bytes = random_blocks(GetParam(), kRows, columns, Codes::kRandom, Scales::kRandom, 11);
  const std::vector<float> x = random_activations(kTokens * columns, 12);
  const ActivationKind kind = activation_kind(GetParam());
  const WeightMatrix w = WeightMatrix::make(view(GetParam(), kRows, columns, bytes.data()), pool());
  Activations activations;
  activations.set(x.data(), kTokens, columns);
  activations.require(kind, pool());
  const std::vector<float> y = reference_products(w, activations);
  std::vector<float> row(static_cast<std::size_t>(columns));
  for (std::int64_t r = 0; r < kRows; ++r) {
    dequantize_row(GetParam(), bytes.data() + r * row_bytes(GetParam(), columns), columns,
                   row.data());
    for (std::int64_t t = 0; t < kTokens; ++t) {
      double sum = 0;
      double magnitude = 0;
      for (std::int64_t k = 0; k < columns; ++k) {
        const double product = static_cast<double>(row[static_cast<std::size_t>(k)]) *
                               quantized_value(activations.quantized(kind), kind, t, k);
        sum += product;
        magnitude += std::abs(product);
      }
      // Some dozens of float roundings, of terms that for types with minima are larger than the
      // products.
      ASSERT_NEAR(y[static_cast<std::size_t>(t * kRows + r)], sum, 4e-6 * magnitude)
          << dtype_name(GetParam()) << " token " << t << " row " << r;
    }
  }
}

TEST_P(BlockMatmul, ThreadsAndBatchesDoNotShow) {
  constexpr std::int64_t kColumns = 1024;
  constexpr std::int64_t kManyRows = 700;
  const auto bytes =
      random_blocks(GetParam(), kManyRows, kColumns, Codes::kRandom, Scales::kRandom, 21);
  const std::vector<float> x = random_activations(kTokens * kColumns, 22);
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    ThreadPool threads_pool(threads);
    const WeightMatrix w =
        WeightMatrix::make(view(GetParam(), kManyRows, kColumns, bytes.data()), threads_pool);
    Activations activations;
    activations.set(x.data(), kTokens, kColumns);
    std::vector<float> y(static_cast<std::size_t>(kTokens * kManyRows));
    matmul(w, activations, y.data(), kManyRows, threads_pool);
    if (threads == 1) first = y;
    ASSERT_EQ(y, first) << dtype_name(GetParam()) << " threads " << threads;
    for (const std::int64_t t : {std::int64_t{0}, std::int64_t{4}, kTokens - 1}) {
      activations.set(x.data() + t * kColumns, 1, kColumns);
      std::vector<float> alone(static_cast<std::size_t>(kManyRows));
      matmul(w, activations, alone.data(), kManyRows, threads_pool);
      const auto begin = first.begin() + t * kManyRows;
      ASSERT_EQ(alone, std::vector<float>(begin, begin + kManyRows)) << "token " << t;
    }
  }
}

TEST_P(BlockMatmul, RowsInAnotherOrder) {
  const std::int64_t columns = 2 * dtype_info(GetParam()).block_elements;
  const auto bytes = random_blocks(GetParam(), kRows, columns, Codes::kRandom, Scales::kRandom, 31);
  const std::vector<float> x = random_activations(columns, 32);
  std::vector<std::int64_t> order = {32, 0, 5,  5,  17, 16, 15, 1,  2,
                                     3,  4, 31, 30, 29, 28, 27, 26, 0};
  const TensorView source = view(GetParam(), kRows, columns, bytes.data());
  Activations activations;
  activations.set(x.data(), 1, columns);
  std::vector<float> plain(kRows);
  std::vector<float> ordered(order.size());
  matmul(WeightMatrix::make(source, pool()), activations, plain.data(), kRows, pool());
  const WeightMatrix w = WeightMatrix::make(source, order, pool());
  EXPECT_EQ(w.rows(), static_cast<std::int64_t>(order.size()));
  matmul(w, activations, ordered.data(), w.rows(), pool());
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(ordered[i], plain[static_cast<std::size_t>(order[i])]) << "row " << i;
  }
}

std::string type_name(const ::testing::TestParamInfo<DType>& info) {
  return std::string(dtype_name(info.param));
}
INSTANTIATE_TEST_SUITE_P(Types, BlockMatmul, ::testing::ValuesIn(kBlockTypes), type_name);

class FloatMatmul : public ::testing::TestWithParam<DType> {};

TEST_P(FloatMatmul, AllInstructionSetsGiveTheSameBits) {
  for (const std::int64_t columns : {1, 15, 16, 17, 100, 1027, 2100}) {
    const auto bytes =
        random_floats(GetParam(), kRows * columns, static_cast<std::uint32_t>(columns));
    expect_same_for_all_sizes(GetParam(), bytes.data() + 1, columns,
                              random_activations(kTokens * columns, 7));
    if (HasFatalFailure()) return;
  }
}

// More tokens than a kernel keeps the sums of, along more columns than it takes at a time.
TEST_P(FloatMatmul, ManyTokensOfLongRows) {
  constexpr std::int64_t kColumns = 4103, kMany = 203;
  const auto bytes = random_floats(GetParam(), kRows * kColumns, 9);
  const std::vector<float> x = random_activations(kMany * kColumns, 8);
  const WeightMatrix w =
      WeightMatrix::make(view(GetParam(), kRows, kColumns, bytes.data() + 1), pool());
  Activations activations;
  activations.set(x.data(), kMany, kColumns);
  const std::vector<float> expected = reference_products(w, activations);
  for (const Isa isa : supported_isas()) {
    expect_same_products(isa, GetParam(), bytes.data() + 1, kRows, kColumns, x, kMany, expected);
    if (HasFatalFailure()) return;
  }
}

// All products of `rows` rows with `tokens` tokens, by every instruction set and the reference.
void expect_same_for_all_sets(DType dtype, std::int64_t rows, std::int64_t columns,
                              std::int64_t tokens) {
  const auto bytes = random_floats(dtype, rows * columns, 9);
  const std::vector<float> x = random_activations(tokens * columns, 8);
  const WeightMatrix w = WeightMatrix::make(view(dtype, rows, columns, bytes.data() + 1), pool());
  Activations activations;
  activations.set(x.data(), tokens, columns);
  const auto size = static_cast<std::size_t>(tokens * rows);
  std::vector<float> expected(size), y(size);
  matmul_with_table(matmul_table(Isa::kReference), w, activations, expected.data(), rows, pool());
  for (const float value : expected) ASSERT_TRUE(std::isfinite(value));
  for (const Isa isa : supported_isas()) {
    std::fill(y.begin(), y.end(), kUntouched);
    matmul_with_table(matmul_table(isa), w, activations, y.data(), rows, pool());
    for (std::size_t i = 0; i < size; ++i) {
      ASSERT_TRUE(same_float(y[i], expected[i]))
          << isa_name(isa) << " tokens " << tokens << ": " << i;
    }
  }
}

// Rows so long and so many that a job has several panels whose sums wait for the next stretch of
// columns.
TEST_P(FloatMatmul, ManyLongRows) {
  // A share of a thread's jobs is then more than kWideLaneUnitRows.
  const std::int64_t rows = 20 * kWideLaneUnitRows * pool().size() + 23;
  expect_same_for_all_sets(GetParam(), rows, kWideLaneWords + 52, 37);
}

// Rows so many that a job reads them from streams of several, with all numbers of tokens up to
// where they are taken by lane.
TEST_P(FloatMatmul, ManyShortRows) {
  for (std::int64_t tokens = 1; tokens <= kManyTokens; ++tokens) {
    expect_same_for_all_sets(GetParam(), 701, 131, tokens);
    if (HasFatalFailure()) return;
  }
}

// Products too small for a float leave -0, which the padding of the last columns makes +0.
TEST_P(FloatMatmul, SignsOfZeros) {
  constexpr std::int64_t kColumns = 17;
  const std::vector<std::byte> tiny(
      static_cast<std::size_t>(kRows * kColumns * dtype_info(GetParam()).block_bytes),
      std::byte{1});
  const std::vector<float> x(kTokens * kColumns, -std::numeric_limits<float>::denorm_min());
  const WeightMatrix w = WeightMatrix::make(view(GetParam(), kRows, kColumns, tiny.data()), pool());
  Activations activations;
  activations.set(x.data(), kTokens, kColumns);
  const std::vector<float> expected = reference_products(w, activations);
  for (const Isa isa : supported_isas()) {
    expect_same_products(isa, GetParam(), tiny.data(), kRows, kColumns, x, kTokens, expected);
    if (HasFatalFailure()) return;
  }
}

TEST_P(FloatMatmul, ReferenceAgreesWithDoubles) {
  constexpr std::int64_t kColumns = 333;
  const auto bytes = random_floats(GetParam(), kRows * kColumns, 3);
  const std::vector<float> x = random_activations(kTokens * kColumns, 4);
  const WeightMatrix w =
      WeightMatrix::make(view(GetParam(), kRows, kColumns, bytes.data() + 1), pool());
  EXPECT_EQ(w.owned_bytes(), 0);
  Activations activations;
  activations.set(x.data(), kTokens, kColumns);
  const std::vector<float> y = reference_products(w, activations);
  std::vector<float> row(kColumns);
  for (std::int64_t r = 0; r < kRows; ++r) {
    dequantize_row(GetParam(), bytes.data() + 1 + r * row_bytes(GetParam(), kColumns), kColumns,
                   row.data());
    for (std::int64_t t = 0; t < kTokens; ++t) {
      const double sum = std::inner_product(row.begin(), row.end(), x.begin() + t * kColumns, 0.0);
      ASSERT_NEAR(y[static_cast<std::size_t>(t * kRows + r)], sum, 1e-4);
    }
  }
}

TEST_P(FloatMatmul, RowsInAnotherOrder) {
  constexpr std::int64_t kColumns = 19;
  const auto bytes = random_floats(GetParam(), kRows * kColumns, 3);
  const std::vector<float> x = random_activations(kColumns, 4);
  const std::vector<std::int64_t> order = {7, 32, 7, 0, 1};
  const TensorView source = view(GetParam(), kRows, kColumns, bytes.data() + 1);
  Activations activations;
  activations.set(x.data(), 1, kColumns);
  std::vector<float> plain(kRows);
  std::vector<float> ordered(order.size());
  matmul(WeightMatrix::make(source, pool()), activations, plain.data(), kRows, pool());
  matmul(WeightMatrix::make(source, order, pool()), activations, ordered.data(), 5, pool());
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(ordered[i], plain[static_cast<std::size_t>(order[i])]);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, FloatMatmul, ::testing::ValuesIn(kFloatTypes), type_name);

TEST(Matmul, ANanInARowStaysThere) {
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_K}) {
    const auto bytes = random_blocks(dtype, kRows, 256, Codes::kRandom, Scales::kRandom, 5);
    std::vector<float> x = random_activations(2 * 256, 6);
    x[256 + 17] = std::nanf("");
    Activations activations;
    activations.set(x.data(), 2, 256);
    std::vector<float> y(2 * kRows);
    matmul(WeightMatrix::make(view(dtype, kRows, 256, bytes.data()), pool()), activations, y.data(),
           kRows, pool());
    for (std::size_t r = 0; r < kRows; ++r) {
      EXPECT_TRUE(std::isfinite(y[r]));
      EXPECT_TRUE(std::isnan(y[kRows + r]));
    }
  }
}

TEST(Matmul, OtherTypesAreRefused) {
  EXPECT_EQ(activation_kind(DType::kBF16), ActivationKind::kFloat);
  for (const DType dtype : {DType::kI32, DType::kF64, DType::kBool, DType::kF8E4M3}) {
    EXPECT_THROW(activation_kind(dtype), Error) << dtype_name(dtype);
  }
}

TEST(MatmulTable, NamesAreThoseOfTheInstructionSets) {
  for (const Isa isa : supported_isas()) EXPECT_EQ(matmul_table(isa).name, isa_name(isa));
}

// The child starts the program anew, so that SAMPAN_ISA is read after it is set.
TEST(MatmulTableDeathTest, TheForcedInstructionSetRuns) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const Isa isa : supported_isas()) {
    EXPECT_EXIT(
        {
          ::setenv("SAMPAN_ISA", std::string(isa_name(isa)).c_str(), 1);
          std::exit(matmul_table(active_isa()).name == isa_name(isa) ? 0 : 1);
        },
        ::testing::ExitedWithCode(0), "");
  }
}

// Finite weights of any type. Float types start at the first byte here.
std::vector<std::byte> random_weights(DType dtype, std::int64_t rows, std::int64_t columns,
                                      std::uint32_t seed) {
  if (is_block_type(dtype)) {
    return random_blocks(dtype, rows, columns, Codes::kRandom, Scales::kRandom, seed);
  }
  std::vector<std::byte> bytes = random_floats(dtype, rows * columns, seed);
  bytes.erase(bytes.begin());
  return bytes;
}

// Several products of parts of one input, among them empty ones, equal a product each.
TEST(MatmulTasks, EqualProductsOneByOne) {
  constexpr std::int64_t kColumns = 256, kAll = 60;
  const std::vector<float> x = random_activations(kAll * kColumns, 5);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_K}) {
    const std::int64_t width = dtype == DType::kQ4_K ? kColumns : kColumns / 2;
    const std::vector<std::byte> bytes = random_weights(dtype, kRows, width, 6);
    const WeightMatrix w = WeightMatrix::make(view(dtype, kRows, width, bytes.data()), pool());
    const std::vector<std::byte> more = random_weights(dtype, 70, width, 7);
    const WeightMatrix other = WeightMatrix::make(view(dtype, 70, width, more.data()), pool());
    Activations activations;
    activations.set(x.data(), kAll, kColumns);
    activations.require(activation_kind(dtype), pool());
    const std::int64_t second = kColumns - width;
    std::vector<float> y1(10 * kRows), y2(40 * 75, kUntouched), y3(kRows);
    const std::vector<MatmulTask> tasks = {{&w, 0, 10, 0, y1.data(), kRows},
                                           {&other, 3, 0, 0, nullptr, 70},
                                           {&other, 11, 40, second, y2.data(), 75},
                                           {&w, 32, 1, second, y3.data(), kRows}};
    for (const Isa isa : supported_isas()) {
      matmul_tasks_with_table(matmul_table(isa), tasks, activations, pool());
      for (const MatmulTask& task : tasks) {
        std::vector<float> part;
        for (std::int64_t t = task.first_row; t < task.first_row + task.rows; ++t) {
          const float* row = x.data() + t * kColumns + task.first_column;
          part.insert(part.end(), row, row + width);
        }
        Activations alone;
        alone.set(part.data(), task.rows, width);
        alone.require(activation_kind(dtype), pool());
        const std::vector<float> expected = reference_products(*task.w, alone);
        for (std::int64_t i = 0; i < task.rows * task.w->rows(); ++i) {
          const float got = task.y[i / task.w->rows() * task.y_stride + i % task.w->rows()];
          ASSERT_TRUE(same_float(got, expected[static_cast<std::size_t>(i)]))
              << isa_name(isa) << " " << dtype_name(dtype) << " output " << i;
        }
      }
      EXPECT_EQ(y2[70], kUntouched);
    }
  }
}

// Products of the reference, plus a bias.
std::vector<float> biased_products(const WeightMatrix& w, Activations& x,
                                   const std::vector<float>& bias) {
  x.require(w.activations(), pool());
  std::vector<float> y = reference_products(w, x);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += bias[i % bias.size()];
  return y;
}

// Gated products equal two products, their biases added, and then silu_mul, whatever the types of
// the two, in one strip of rows and in many, for a few tokens and for more than a job takes.
TEST(MatmulTasks, GatedProductsEqualTheirParts) {
  constexpr std::int64_t kColumns = 256, kHeight = 200, kStride = 205, kMany = 600;
  const std::vector<float> x = random_activations(kMany * kColumns, 5);
  const std::vector<float> bias = random_activations(kHeight, 6);
  const std::vector<float> up_bias = random_activations(kHeight, 7);
  const std::pair<DType, DType> pairs[] = {
      {DType::kQ4_0, DType::kQ4_0}, {DType::kQ4_K, DType::kQ6_K}, {DType::kQ8_0, DType::kBF16},
      {DType::kF32, DType::kF16},   {DType::kBF16, DType::kBF16}, {DType::kF32, DType::kQ5_K}};
  for (const auto& [type, up_type] : pairs) {
    const std::vector<std::byte> bytes = random_weights(type, kHeight, kColumns, 8);
    const std::vector<std::byte> up_bytes = random_weights(up_type, kHeight, kColumns, 9);
    const auto w = WeightMatrix::make(view(type, kHeight, kColumns, bytes.data()), pool());
    const auto up = WeightMatrix::make(view(up_type, kHeight, kColumns, up_bytes.data()), pool());
    Activations all;
    all.set(x.data(), kMany, kColumns);
    std::vector<float> expected = biased_products(w, all, bias);
    const std::vector<float> ups = biased_products(up, all, up_bias);
    ops_table(Isa::kReference)
        .silu_mul(expected.data(), ups.data(), kMany * kHeight, expected.data());
    for (const Isa isa : supported_isas()) {
      for (const std::int64_t tokens :
           {std::int64_t{1}, std::int64_t{5}, std::int64_t{70}, kMany}) {
        std::vector<float> y(static_cast<std::size_t>(tokens * kStride), kUntouched);
        const MatmulTask task = {&w,  kMany - tokens, tokens, 0, y.data(), kStride, bias.data(),
                                 &up, up_bias.data()};
        matmul_tasks_with_table(matmul_table(isa), {&task, 1}, all, pool());
        for (std::int64_t i = 0; i < tokens * kStride; ++i) {
          const std::int64_t t = i / kStride, r = i % kStride;
          const auto at = static_cast<std::size_t>((kMany - tokens + t) * kHeight + r);
          const float wanted = r < kHeight ? expected[at] : kUntouched;
          ASSERT_TRUE(same_float(y[static_cast<std::size_t>(i)], wanted))
              << isa_name(isa) << " " << dtype_name(type) << " " << dtype_name(up_type) << " "
              << tokens << " tokens, token " << t << " row " << r;
        }
      }
    }
  }
}

TEST(ActivationRows, AreThoseOfTheSource) {
  constexpr std::int64_t kColumns = 256;
  const std::vector<float> x = random_activations(kTokens * kColumns, 8);
  const std::vector<std::int32_t> rows = {4, 4, 0, 32, 17};
  Activations source, picked;
  source.set(x.data(), kTokens, kColumns);
  picked.set_rows_of(source, rows);
  for (const DType dtype : {DType::kF16, DType::kQ4_0, DType::kQ6_K}) {
    const std::vector<std::byte> bytes = random_weights(dtype, kRows, kColumns, 9);
    const WeightMatrix w = WeightMatrix::make(view(dtype, kRows, kColumns, bytes.data()), pool());
    std::vector<float> all(kTokens * kRows), some(rows.size() * kRows);
    matmul(w, source, all.data(), kRows, pool());
    matmul(w, picked, some.data(), kRows, pool());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t r = 0; r < kRows; ++r) {
        EXPECT_EQ(some[i * kRows + r], all[static_cast<std::size_t>(rows[i]) * kRows + r]);
      }
    }
  }
}

}  // namespace
}  // namespace sampan
