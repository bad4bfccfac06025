#include "kernels/block_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "tensor/blocks.h"
#include "tensor/half.h"

// tests/data/gguf_blocks: blocks and floats converted by the `gguf` package
// (tools/make_block_goldens.py).

namespace sampan {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::string golden(const std::string& name) {
  return read_file(std::string(SAMPAN_TEST_DATA) + "/gguf_blocks/" + name);
}

const std::byte* bytes_of(const std::string& text) {
  return reinterpret_cast<const std::byte*>(text.data());
}

std::vector<float> floats_of(const std::string& text) {
  std::vector<float> values(text.size() / sizeof(float));
  std::memcpy(values.data(), text.data(), text.size());
  return values;
}

std::vector<std::byte> quantize(DType dtype, const std::vector<float>& x,
                                const float* importance = nullptr) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> out(static_cast<std::size_t>(row_bytes(dtype, n)));
  quantize_row(dtype, x.data(), n, importance, out.data());
  return out;
}

std::vector<float> dequantize(DType dtype, const std::vector<std::byte>& row, std::size_t n) {
  std::vector<float> out(n);
  dequantize_row(dtype, row.data(), static_cast<std::int64_t>(n), out.data());
  return out;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& x) {
  return dequantize(dtype, quantize(dtype, x), x.size());
}

std::vector<float> normal_values(std::size_t n, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& value : values) value = scale * normal(random);
  return values;
}

double relative_rmse(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    error += (static_cast<double>(x[i]) - y[i]) * (static_cast<double>(x[i]) - y[i]);
    norm += static_cast<double>(x[i]) * x[i];
  }
  return std::sqrt(error / norm);
}

std::string type_name(const ::testing::TestParamInfo<DType>& info) {
  return std::string(dtype_name(info.param));
}

const auto kBlockTypes =
    ::testing::Values(DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                    DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K,
                    DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4);

class Dequantize : public ::testing::TestWithParam<DType> {};

TEST_P(Dequantize, EqualsTheGgufPackageToTheBit) {
  const std::string name(dtype_name(GetParam()));
  const std::string blocks = golden(name + ".blocks"), values = golden(name + ".f32");
  const std::size_t n = values.size() / sizeof(float);
  ASSERT_EQ(row_bytes(GetParam(), static_cast<std::int64_t>(n)),
            static_cast<std::int64_t>(blocks.size()));
  std::vector<float> out(n);
  dequantize_row(GetParam(), bytes_of(blocks), static_cast<std::int64_t>(n), out.data());
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_EQ(std::memcmp(&out[i], values.data() + 4 * i, 4), 0)
        << "element " << i << ": " << out[i] << ", not " << floats_of(values)[i];
  }
}

TEST_P(Dequantize, ReadsRowsThatAreNotAligned) {
  const std::string name(dtype_name(GetParam()));
  const std::string blocks = golden(name + ".blocks"), shifted = "x" + blocks;
  const std::size_t n = golden(name + ".f32").size() / sizeof(float);
  std::vector<float> even(n), odd(n);
  dequantize_row(GetParam(), bytes_of(blocks), static_cast<std::int64_t>(n), even.data());
  dequantize_row(GetParam(), bytes_of(shifted) + 1, static_cast<std::int64_t>(n), odd.data());
  EXPECT_EQ(std::memcmp(even.data(), odd.data(), n * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Blocks, Dequantize, kBlockTypes, type_name);
INSTANTIATE_TEST_SUITE_P(Floats, Dequantize, ::testing::Values(DType::kF16, DType::kBF16), type_name);

class PlainRounding : public ::testing::TestWithParam<DType> {};

TEST_P(PlainRounding, EqualsTheGgufPackageToTheBit) {
  const std::string expected = golden(std::string(dtype_name(GetParam())) + ".quantized");
  const std::vector<std::byte> out = quantize(GetParam(), floats_of(golden("input.f32")));
  ASSERT_EQ(out.size(), expected.size());
  const auto block = static_cast<std::size_t>(dtype_info(GetParam()).block_bytes);
  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(out[i], bytes_of(expected)[i]) << "byte " << i % block << " of block " << i / block;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, PlainRounding,
                         ::testing::Values(DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ4_1,
                                         DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kMXFP4),
                         type_name);

struct Quality {
  DType dtype;
  double most_error;  // relative RMSE of normal values; what this codec reaches, plus 2 %
};

std::string quality_name(const ::testing::TestParamInfo<Quality>& info) {
  return std::string(dtype_name(info.param.dtype));
}

class SearchedQuality : public ::testing::TestWithParam<Quality> {};

TEST_P(SearchedQuality, StaysAsGoodAsItIs) {
  const std::vector<float> x = normal_values(64 * 256, 7, 0.05f);
  EXPECT_LT(relative_rmse(x, round_trip(GetParam().dtype, x)), GetParam().most_error);
}

INSTANTIATE_TEST_SUITE_P(
    Types, SearchedQuality,
    ::testing::Values(Quality{DType::kQ2_K, 0.269}, Quality{DType::kQ3_K, 0.1462},
                    Quality{DType::kQ4_K, 0.0714}, Quality{DType::kQ5_K, 0.0354},
                    Quality{DType::kQ6_K, 0.01721}, Quality{DType::kIQ4_NL, 0.074},
                    Quality{DType::kIQ4_XS, 0.0746}),
    quality_name);

class Quantize : public ::testing::TestWithParam<DType> {};

TEST_P(Quantize, ZerosStayZeros) {
  for (const float value : round_trip(GetParam(), std::vector<float>(512, 0.0f))) {
    EXPECT_EQ(value, 0.0f);
  }
}

TEST_P(Quantize, WhatItWroteIsAFixedPointInError) {
  const std::vector<float> once = round_trip(GetParam(), normal_values(1024, 3));
  EXPECT_LT(relative_rmse(once, round_trip(GetParam(), once)), 0.09);
}

TEST_P(Quantize, ConstantsOfEitherSignAreKept) {
  for (const float constant : {0.37f, -0.37f}) {
    const std::vector<float> x(256, constant);
    EXPECT_LT(relative_rmse(x, round_trip(GetParam(), x)), 0.15) << constant;
  }
}

TEST_P(Quantize, IsDeterministicAndReadsNothingBeyondItsBlocks) {
  std::vector<float> x = normal_values(512, 5);
  const std::vector<std::byte> first = quantize(GetParam(), x);
  const std::vector<std::byte> again = quantize(GetParam(), x);
  EXPECT_EQ(first, again);
  std::fill(x.begin() + 256, x.end(), 1e6f);  // the other super-block
  const std::vector<std::byte> other = quantize(GetParam(), x);
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + first.size() / 2, other.begin()));
}

TEST_P(Quantize, NotANumberCountsAsZeroAndInfinityAsTheLargest) {
  std::vector<float> broken = normal_values(256, 9), mended = broken;
  broken[3] = std::nanf("");
  mended[3] = 0;
  EXPECT_EQ(quantize(GetParam(), broken), quantize(GetParam(), mended));
  broken[40] = kInfinity;
  broken[77] = -kInfinity;
  mended[40] = std::numeric_limits<float>::max();
  mended[77] = -std::numeric_limits<float>::max();
  EXPECT_EQ(quantize(GetParam(), broken), quantize(GetParam(), mended));
}

TEST_P(Quantize, AnyMagnitudeGivesNumbers) {
  for (const float scale : {1e-44f, 1e-38f, 1e-10f, 1e-6f, 1e5f, 1e9f, 1e38f}) {
    for (const float value : round_trip(GetParam(), normal_values(512, 11, scale))) {
      ASSERT_FALSE(std::isnan(value)) << scale;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, Quantize, kBlockTypes, type_name);

class Importance : public ::testing::TestWithParam<DType> {};

TEST_P(Importance, ColumnsThatMatterGetTheSmallerError) {
  const std::vector<float> x = normal_values(256, 13);
  std::vector<float> importance(256, 1.0f);
  for (std::size_t i = 0; i < 256; i += 4) importance[i] = 100.0f;
  const auto error = [&](const std::vector<std::byte>& row) {
    const std::vector<float> y = dequantize(GetParam(), row, x.size());
    double sum = 0;
    for (std::size_t i = 0; i < 256; i += 4) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sum;
  };
  EXPECT_LT(error(quantize(GetParam(), x, importance.data())),
            0.9 * error(quantize(GetParam(), x)));
}

TEST_P(Importance, BrokenWeightsCountAsZero) {
  const std::vector<float> x = normal_values(256, 13);
  std::vector<float> broken(256, 1.0f), mended = broken;
  broken[1] = std::nanf("");
  broken[2] = -5;
  broken[3] = kInfinity;
  mended[1] = mended[2] = mended[3] = 0;
  EXPECT_EQ(quantize(GetParam(), x, broken.data()), quantize(GetParam(), x, mended.data()));
}

TEST_P(Importance, AnyMagnitudeOfBothGivesNumbers) {
  for (const float scale : {1e-44f, 1e-20f, 1e5f, 1e21f, 1e38f}) {
    const std::vector<float> x = normal_values(256, 17, scale);
    for (const float value : dequantize(GetParam(), quantize(GetParam(), x, x.data()), x.size())) {
      ASSERT_FALSE(std::isnan(value)) << scale;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Importance,
                         ::testing::Values(DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K,
                                         DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS),
                         type_name);

TEST(BlockCodec, KnowsItsTypes) {
  EXPECT_TRUE(can_quantize(DType::kF32));
  EXPECT_TRUE(can_quantize(DType::kQ4_K));
  EXPECT_FALSE(can_quantize(DType::kI32));
  float value = 0;
  std::byte bytes[4] = {};
  try {
    dequantize_row(DType::kI32, bytes, 1, &value);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_STREQ(error.what(), "I32 cannot be converted to float");
  }
  EXPECT_THROW(quantize_row(DType::kF8E4M3, &value, 1, nullptr, bytes), Error);
}

TEST(BlockCodec, FloatsKeepNotANumberAndInfinity) {
  const std::vector<float> x = {std::nanf(""), kInfinity, -kInfinity, 1e30f};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::vector<float> y = round_trip(dtype, x);
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_EQ(y[1], kInfinity);
    EXPECT_EQ(y[2], -kInfinity);
  }
}

TEST(BlockCodec, BlockSizesAgreeWithTheTypeTable) {
  EXPECT_EQ(row_bytes(DType::kQ4_0, 32), static_cast<std::int64_t>(sizeof(BlockQ4_0)));
  EXPECT_EQ(row_bytes(DType::kQ4_1, 32), static_cast<std::int64_t>(sizeof(BlockQ4_1)));
  EXPECT_EQ(row_bytes(DType::kQ5_0, 32), static_cast<std::int64_t>(sizeof(BlockQ5_0)));
  EXPECT_EQ(row_bytes(DType::kQ5_1, 32), static_cast<std::int64_t>(sizeof(BlockQ5_1)));
  EXPECT_EQ(row_bytes(DType::kQ8_0, 32), static_cast<std::int64_t>(sizeof(BlockQ8_0)));
  EXPECT_EQ(row_bytes(DType::kIQ4_NL, 32), static_cast<std::int64_t>(sizeof(BlockIQ4_NL)));
  EXPECT_EQ(row_bytes(DType::kMXFP4, 32), static_cast<std::int64_t>(sizeof(BlockMXFP4)));
  EXPECT_EQ(row_bytes(DType::kQ2_K, 256), static_cast<std::int64_t>(sizeof(BlockQ2_K)));
  EXPECT_EQ(row_bytes(DType::kQ3_K, 256), static_cast<std::int64_t>(sizeof(BlockQ3_K)));
  EXPECT_EQ(row_bytes(DType::kQ4_K, 256), static_cast<std::int64_t>(sizeof(BlockQ4_K)));
  EXPECT_EQ(row_bytes(DType::kQ5_K, 256), static_cast<std::int64_t>(sizeof(BlockQ5_K)));
  EXPECT_EQ(row_bytes(DType::kQ6_K, 256), static_cast<std::int64_t>(sizeof(BlockQ6_K)));
  EXPECT_EQ(row_bytes(DType::kIQ4_XS, 256), static_cast<std::int64_t>(sizeof(BlockIQ4_XS)));
}

}  // namespace
}  // namespace sampan
