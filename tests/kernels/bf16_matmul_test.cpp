#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention_test_data.h"
#include "kernels/isa_tables.h"
#include "kernels/matmul.h"
#include "kernels/matmul_table.h"
#include "tensor/half.h"

namespace sampan {
namespace {

constexpr std::int64_t kMostRows = 33;
constexpr std::int64_t kMostTokens = 33;

struct Table {
  const char* name;
  const MatmulTable* table;
};

std::vector<Table> tables() {
  std::vector<Table> all;
  for (const Isa isa : supported_isas()) {
    const MatmulTable& table = matmul_table(isa);
    const MatmulTable& base = isa_tables(isa).matmul_base();
    all.push_back({isa_name(isa).data(), &table});
    if (&base != &table) all.push_back({isa_name(isa).data(), &base});
  }
  return all;
}

std::vector<std::uint16_t> random_bf16(std::int64_t count, std::uint32_t seed) {
  std::vector<std::uint16_t> bits;
  for (const float x : random_floats(static_cast<std::size_t>(count), seed)) {
    bits.push_back(float_to_bf16(x));
  }
  return bits;
}

// The contract of matmul.h, line by line.
float product(const float* x, const std::uint16_t* w, std::int64_t columns) {
  const auto activation = [&](std::int64_t k) {
    return k < columns ? bf16_to_float(float_to_bf16(x[k])) : 0.0f;
  };
  const auto weight = [&](std::int64_t k) { return k < columns ? bf16_to_float(w[k]) : 0.0f; };
  float lane[16] = {};
  for (std::int64_t k = 0; k < columns; k += 32) {
    for (int i = 0; i < 16; ++i) {
      lane[i] = std::fma(activation(k + 2 * i + 1), weight(k + 2 * i + 1), lane[i]);
      lane[i] = std::fma(activation(k + 2 * i), weight(k + 2 * i), lane[i]);
    }
  }
  for (int width = 8; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

WeightMatrix matrix_of(const std::vector<std::uint16_t>& bits, std::int64_t rows,
                       std::int64_t columns, ThreadPool& pool) {
  const auto* const bytes = reinterpret_cast<const std::byte*>(bits.data());
  WeightMatrix w = WeightMatrix::make({DType::kBF16, {rows, columns}, bytes}, pool);
  w.set_products(Bf16Products::kRounded);
  return w;
}

// Subnormal activations and weights are zero, but not sums of lanes.
TEST(Bf16Matmul, LanesAddUpToSubnormalNumbers) {
  ThreadPool pool(2);
  constexpr std::int64_t kColumns = 32;
  std::vector<std::uint16_t> bits(kMostRows * kColumns);
  for (std::int64_t r = 0; r < kMostRows; ++r) {
    bits[static_cast<std::size_t>(r * kColumns)] = float_to_bf16(0x1.8p-126f);
    bits[static_cast<std::size_t>(r * kColumns + 6)] = float_to_bf16(-0x1p-126f);
  }
  const std::vector<float> x(kMostTokens * kColumns, 1.0f);
  const WeightMatrix w = matrix_of(bits, kMostRows, kColumns, pool);
  for (const std::int64_t tokens : {1, 2, 33}) {
    Activations activations;
    activations.set(x.data(), tokens, kColumns);
    activations.require(ActivationKind::kBf16, pool);
    for (const Table& table : tables()) {
      std::vector<float> y(static_cast<std::size_t>(tokens * kMostRows));
      matmul_with_table(*table.table, w, activations, y.data(), kMostRows, pool);
      for (const float value : y) ASSERT_EQ(value, 0x1p-127f) << table.name;
    }
  }
}

// All products of `rows` rows with `tokens` tokens by every table.
void expect_contracts_bits(const std::vector<std::uint16_t>& bits, const std::vector<float>& x,
                           std::int64_t rows, std::int64_t columns, std::int64_t tokens,
                           ThreadPool& pool) {
  const WeightMatrix w = matrix_of(bits, rows, columns, pool);
  Activations activations;
  activations.set(x.data(), tokens, columns);
  activations.require(ActivationKind::kBf16, pool);
  std::vector<float> expected;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = 0; r < rows; ++r) {
      expected.push_back(product(x.data() + t * columns, bits.data() + r * columns, columns));
    }
  }
  for (const Table& table : tables()) {
    std::vector<float> y(expected.size(), -1.0f);
    matmul_with_table(*table.table, w, activations, y.data(), rows, pool);
    ASSERT_TRUE(same_bits(y, expected))
        << table.name << " " << rows << " x " << columns << ", " << tokens << " tokens";
  }
}

TEST(Bf16Matmul, EveryTableGivesTheContractsBits) {
  ThreadPool pool(2);
  for (const std::int64_t columns : {1, 2, 31, 32, 33, 64, 95, 1024, 5000}) {
    const auto bits = random_bf16(kMostRows * columns, static_cast<std::uint32_t>(columns));
    const auto x = random_floats(static_cast<std::size_t>(kMostTokens * columns), 3, 2.0f);
    for (const std::int64_t rows : {1, 3, 4, 17, 33}) {
      for (const std::int64_t tokens : {1, 2, 3, 5, 6, 7, 13, 33}) {
        expect_contracts_bits(bits, x, rows, columns, tokens, pool);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// So many tokens that pairs are taken by lane, of rows up to longer than a panel of them.
TEST(Bf16Matmul, ManyTokensGiveTheContractsBits) {
  ThreadPool pool(2);
  constexpr std::int64_t kRows = 37, kMany = kManyPairTokens + 35;
  for (const std::int64_t columns : {2, 34, 95, 1024, 5000}) {
    const auto bits = random_bf16(kRows * columns, static_cast<std::uint32_t>(columns));
    const auto x = random_floats(static_cast<std::size_t>(kMany * columns), 3, 2.0f);
    for (const std::int64_t rows : {std::int64_t{1}, kRows}) {
      for (const std::int64_t tokens : {kManyPairTokens, kMany}) {
        expect_contracts_bits(bits, x, rows, columns, tokens, pool);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Products too small for a float leave -0, which the padding of the last columns makes +0.
TEST(Bf16Matmul, SignsOfZeros) {
  ThreadPool pool(1);
  constexpr std::int64_t kRows = 5;
  for (const std::int64_t columns : {32, 34}) {
    const std::vector<std::uint16_t> bits(static_cast<std::size_t>(kRows * columns),
                                          float_to_bf16(-1e-30f));
    const std::vector<float> x(static_cast<std::size_t>(kManyPairTokens * columns), 1e-30f);
    ASSERT_EQ(std::signbit(product(x.data(), bits.data(), columns)), columns == 32);
    for (const std::int64_t tokens : {std::int64_t{3}, kManyPairTokens}) {
      expect_contracts_bits(bits, x, kRows, columns, tokens, pool);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Bf16Matmul, PartsOfActivationsAreTaken) {
  ThreadPool pool(2);
  constexpr std::int64_t kColumns = 40, kWidth = 133, kRows = 5;
  const auto bits = random_bf16(kRows * kColumns, 5);
  const WeightMatrix w = matrix_of(bits, kRows, kColumns, pool);
  const auto check = [&](std::int64_t tokens, std::int64_t first_column) {
    const auto x = random_floats(static_cast<std::size_t>((tokens + 3) * kWidth), 7);
    Activations activations;
    activations.set(x.data(), tokens + 3, kWidth);
    activations.require(ActivationKind::kBf16, pool);
    for (const Table& table : tables()) {
      std::vector<float> y(static_cast<std::size_t>(tokens * kRows));
      const MatmulTask task = {&w, 2, tokens, first_column, y.data(), kRows};
      matmul_tasks_with_table(*table.table, {&task, 1}, activations, pool);
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t r = 0; r < kRows; ++r) {
          EXPECT_EQ(y[static_cast<std::size_t>(t * kRows + r)],
                    product(x.data() + (t + 2) * kWidth + first_column, bits.data() + r * kColumns,
                            kColumns))
              << table.name;
        }
      }
    }
  };
  check(4, 93);
  check(kManyPairTokens, 64);
  check(kManyPairTokens, 93);
}

TEST(Bf16Matmul, InfinitiesAndNansPassAndSubnormalsAreZero) {
  ThreadPool pool(1);
  const float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<std::uint16_t> bits(64, float_to_bf16(1.0f));
  bits[33] = 0x0001;  // subnormal
  const WeightMatrix w = matrix_of(bits, 1, 64, pool);
  struct Case {
    std::int64_t at;
    float x;
    float expected;
  };
  for (const Case& c : {Case{5, kInfinity, kInfinity}, Case{6, -kInfinity, -kInfinity},
                        Case{7, std::nanf(""), std::nanf("")}, Case{33, 3e38f, 63.0f},
                        Case{40, 1e-40f, 63.0f}, Case{41, 3.4028235e38f, kInfinity}}) {
    std::vector<float> x(64, 1.0f);
    if (c.at != 33) x[33] = 0.0f;
    x[static_cast<std::size_t>(c.at)] = c.x;
    Activations activations;
    activations.set(x.data(), 1, 64);
    activations.require(ActivationKind::kBf16, pool);
    const float expected = c.at == 40 ? 62.0f : c.expected;
    for (const Table& table : tables()) {
      float y = 0;
      matmul_with_table(*table.table, w, activations, &y, 1, pool);
      EXPECT_TRUE(y == expected || (std::isnan(y) && std::isnan(expected)))
          << table.name << " " << c.at << ": " << y;
    }
  }
}

TEST(Bf16Matmul, TheProcessorsModeIsLeftAsItWas) {
  ThreadPool pool(1);
  const auto bits = random_bf16(4 * 64, 9);
  const WeightMatrix w = matrix_of(bits, 4, 64, pool);
  const auto x = random_floats(64, 11);
  Activations activations;
  activations.set(x.data(), 1, 64);
  activations.require(ActivationKind::kBf16, pool);
  for (const Table& table : tables()) {
    std::vector<float> y(4);
    matmul_with_table(*table.table, w, activations, y.data(), 4, pool);
    volatile float tiny = std::numeric_limits<float>::min();
    EXPECT_GT(tiny / 2.0f, 0.0f) << table.name;
  }
}

TEST(Bf16Matmul, EveryTableRoundsActivationsAlike) {
  std::vector<float> x = random_floats(200, 13, 1e10f);
  for (const std::uint32_t bits :
       {0x7F800000u, 0xFF800000u, 0x7F800001u, 0x7FFFFFFFu, 0xFFC00001u, 0x7F7FFFFFu, 0x3F808000u,
        0x3F818000u, 0x00000001u, 0x80000000u}) {
    x.push_back(std::bit_cast<float>(bits));
  }
  for (const std::size_t count : {x.size(), std::size_t{1}, std::size_t{15}, std::size_t{37}}) {
    const float* const from = x.data() + x.size() - count;
    for (const Table& table : tables()) {
      std::vector<std::uint16_t> out(count + 1, 0x1234);
      table.table->narrow_bf16(from, static_cast<std::int64_t>(count),
                               reinterpret_cast<std::byte*>(out.data()));
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(out[i], float_to_bf16(from[i])) << table.name << " " << i;
      }
      EXPECT_EQ(out[count], 0x1234);
    }
  }
}

TEST(Bf16Matmul, OtherWeightsKeepFloatActivations) {
  ThreadPool pool(1);
  const std::vector<float> weights(32, 1.0f);
  WeightMatrix w = WeightMatrix::make(
      {DType::kF32, {1, 32}, reinterpret_cast<const std::byte*>(weights.data())}, pool);
  w.set_products(Bf16Products::kRounded);
  EXPECT_EQ(w.activations(), ActivationKind::kFloat);
}

}  // namespace
}  // namespace sampan
