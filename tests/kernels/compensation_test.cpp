#include "kernels/compensation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "kernels/block_codec.h"
#include "matmul_test_data.h"

namespace sampan {
namespace {

// Inputs of which each depends on those before it, as activations do.
struct Inputs {
  Inputs(std::int64_t columns, std::int64_t count, std::uint32_t seed) : n(columns), rows(count) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    x.resize(static_cast<std::size_t>(n * rows));
    for (std::int64_t t = 0; t < rows; ++t) {
      float before = normal(random);
      for (std::int64_t i = 0; i < n; ++i) {
        before = 0.9f * before + 0.44f * normal(random);
        x[static_cast<std::size_t>(i * rows + t)] =
            before * (1.0f + 0.5f * static_cast<float>(i % 5));
      }
    }
  }

  SymmetricMatrix moments(ThreadPool& pool) const {
    SymmetricMatrix sums(n);
    sums.add_products(x.data(), rows, pool);
    return sums;
  }

  std::int64_t n, rows;
  std::vector<float> x;  // (n, rows)
};

std::vector<float> random_rows(std::int64_t count, std::int64_t columns, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> w(static_cast<std::size_t>(count * columns));
  for (float& value : w) value = normal(random);
  return w;
}

std::vector<std::byte> plain(DType dtype, const std::vector<float>& w, std::int64_t columns) {
  const auto count = static_cast<std::int64_t>(w.size()) / columns;
  std::vector<std::byte> out(static_cast<std::size_t>(count * row_bytes(dtype, columns)));
  for (std::int64_t i = 0; i < count; ++i) {
    quantize_row(dtype, w.data() + i * columns, columns, nullptr,
                 out.data() + i * row_bytes(dtype, columns));
  }
  return out;
}

std::vector<std::byte> compensated(DType dtype, const Compensation& compensation,
                                   std::vector<float> w, ThreadPool& pool) {
  const auto count = static_cast<std::int64_t>(w.size()) / compensation.columns();
  std::vector<std::byte> out(
      static_cast<std::size_t>(count * row_bytes(dtype, compensation.columns())));
  compensation.quantize_rows(dtype, w.data(), count, out.data(), pool);
  return out;
}

// Σ over rows and inputs of the squared change of the products.
double product_error(DType dtype, const std::vector<float>& w, const std::vector<std::byte>& rows,
                     const Inputs& inputs) {
  double sum = 0;
  const auto count = static_cast<std::int64_t>(w.size()) / inputs.n;
  std::vector<float> q(static_cast<std::size_t>(inputs.n));
  for (std::int64_t r = 0; r < count; ++r) {
    dequantize_row(dtype, rows.data() + r * row_bytes(dtype, inputs.n), inputs.n, q.data());
    for (std::int64_t t = 0; t < inputs.rows; ++t) {
      double change = 0;
      for (std::int64_t i = 0; i < inputs.n; ++i) {
        const double e = static_cast<double>(w[static_cast<std::size_t>(r * inputs.n + i)]) -
                         static_cast<double>(q[static_cast<std::size_t>(i)]);
        change += e * static_cast<double>(inputs.x[static_cast<std::size_t>(i * inputs.rows + t)]);
      }
      sum += change * change;
    }
  }
  return sum;
}

std::string type_name(const ::testing::TestParamInfo<DType>& info) {
  return std::string(dtype_name(info.param));
}

TEST(SymmetricMatrix, HoldsTheSumsOfProducts) {
  ThreadPool pool(2);
  const Inputs inputs(600, 37, 1);
  SymmetricMatrix sums(600);
  EXPECT_EQ(SymmetricMatrix::bytes(600), (600 * 256 + 344 * 256 + 88 * 88) * 4);
  sums.add_products(inputs.x.data(), 37, pool);
  sums.add_products(inputs.x.data(), 37, pool);
  for (std::int64_t i = 0; i < 600; i += 7) {
    for (std::int64_t j = 0; j <= i; j += 5) {
      double expected = 0, size = 0;
      for (std::int64_t t = 0; t < 37; ++t) {
        const double product = 2.0 *
                               static_cast<double>(inputs.x[static_cast<std::size_t>(i * 37 + t)]) *
                               static_cast<double>(inputs.x[static_cast<std::size_t>(j * 37 + t)]);
        expected += product;
        size += std::fabs(product);
      }
      EXPECT_NEAR(static_cast<double>(sums.at(i, j)), expected, 1e-6 * size);
    }
  }
}

class Compensate : public ::testing::TestWithParam<DType> {
 protected:
  ThreadPool pool_{2};
};

TEST_P(Compensate, ProductsChangeLessThanByPlainRounding) {
  // Three panels, the last one narrower; types of 32 columns also where 256 do not fit.
  const std::int64_t columns = dtype_info(GetParam()).block_elements == 256 ? 768 : 608;
  const Inputs inputs(columns, 900, 2);
  const Compensation compensation(inputs.moments(pool_), pool_);
  const std::vector<float> w = random_rows(8, columns, 3);
  const double before = product_error(GetParam(), w, plain(GetParam(), w, columns), inputs);
  const double after =
      product_error(GetParam(), w, compensated(GetParam(), compensation, w, pool_), inputs);
  EXPECT_LT(after, 0.5 * before);
}

TEST_P(Compensate, InputsThatDoNotDependOnEachOtherLeaveThePlainCodes) {
  SymmetricMatrix identity(512);
  for (std::int64_t panel = 0; panel < identity.panels(); ++panel) {
    for (std::int64_t j = 0; j < identity.width(panel); ++j) {
      identity.data(panel)[j * identity.width(panel) + j] = 3.0f;
    }
  }
  const Compensation compensation(std::move(identity), pool_);
  const std::vector<float> w = random_rows(16, 512, 5);
  EXPECT_EQ(compensated(GetParam(), compensation, w, pool_), plain(GetParam(), w, 512));
}

TEST_P(Compensate, ThreadsDoNotShow) {
  const Inputs inputs(512, 300, 7);
  const std::vector<float> w = random_rows(40, 512, 9);
  ThreadPool one(1);
  const Compensation by_one(inputs.moments(one), one), by_two(inputs.moments(pool_), pool_);
  EXPECT_EQ(compensated(GetParam(), by_one, w, one), compensated(GetParam(), by_two, w, pool_));
}

TEST_P(Compensate, AnyWeightsGiveNumbers) {
  const Inputs inputs(256, 64, 11);
  const Compensation compensation(inputs.moments(pool_), pool_);
  std::vector<float> w = random_rows(5, 256, 13);
  w[3] = std::nanf("");
  w[4] = std::numeric_limits<float>::infinity();
  for (std::size_t i = 256; i < 512; ++i) w[i] *= 1e38f;
  for (std::size_t i = 512; i < 768; ++i) w[i] *= 1e-38f;
  for (std::size_t i = 768; i < 1024; ++i) w[i] = 0;
  const std::vector<std::byte> out = compensated(GetParam(), compensation, w, pool_);
  std::vector<float> values(w.size());
  for (int row = 0; row < 5; ++row) {
    dequantize_row(GetParam(), out.data() + row * row_bytes(GetParam(), 256), 256,
                   values.data() + row * 256);
  }
  for (const float value : values) ASSERT_FALSE(std::isnan(value));
  for (std::size_t i = 768; i < 1024; ++i) ASSERT_EQ(values[i], 0);
}

INSTANTIATE_TEST_SUITE_P(Types, Compensate, ::testing::ValuesIn(matmul_test::kBlockTypes),
                         type_name);

std::vector<float> golden_floats(const std::string& name) {
  const std::string text = read_file(std::string(SAMPAN_TEST_DATA) + "/compensation/" + name);
  std::vector<float> values(text.size() / sizeof(float));
  std::memcpy(values.data(), text.data(), text.size());
  return values;
}

// tests/data/compensation, by the inverse of the moments in NumPy
// (tools/make_compensation_golden.py).
TEST(CompensateGolden, CodesAreThoseOfTheDefinition) {
  ThreadPool pool(1);
  const std::vector<float> moments = golden_floats("moments.f32");
  SymmetricMatrix sums(64);
  ASSERT_EQ(moments.size(), 64u * 64u);
  std::copy(moments.begin(), moments.end(), sums.data(0));
  const Compensation compensation(std::move(sums), pool);
  const std::vector<std::byte> out =
      compensated(DType::kQ4_0, compensation, golden_floats("rows.f32"), pool);
  const std::string expected = read_file(std::string(SAMPAN_TEST_DATA) + "/compensation/rows.q4_0");
  ASSERT_EQ(out.size(), expected.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i], static_cast<std::byte>(expected[i]))
        << "byte " << i % 18 << " of block " << i / 18;
  }
}

// A matrix that is nearly singular, with columns that no input reached and with one that dwarfs the
// others.
TEST(CompensateOddMoments, FewInputsDeadColumnsAndLargeOnesLeaveNumbers) {
  ThreadPool pool(2);
  Inputs inputs(512, 8, 17);
  for (std::int64_t t = 0; t < 8; ++t) {
    inputs.x[static_cast<std::size_t>(5 * 8 + t)] =
        inputs.x[static_cast<std::size_t>(300 * 8 + t)] = 0;
    inputs.x[static_cast<std::size_t>(77 * 8 + t)] *= 1e4f;
  }
  const Compensation compensation(inputs.moments(pool), pool);
  for (const float weight : compensation.weights()) {
    EXPECT_TRUE(std::isfinite(weight));
    EXPECT_GT(weight, 0);
  }
  const std::vector<float> w = random_rows(8, 512, 19);
  const std::vector<std::byte> out = compensated(DType::kQ4_K, compensation, w, pool);
  EXPECT_LT(product_error(DType::kQ4_K, w, out, inputs),
            product_error(DType::kQ4_K, w, plain(DType::kQ4_K, w, 512), inputs));
}

TEST(CompensateOddMoments, NoInputsAreRefused) {
  ThreadPool pool(1);
  EXPECT_THROW(Compensation(SymmetricMatrix(32), pool), InternalError);
}

}  // namespace
}  // namespace sampan
