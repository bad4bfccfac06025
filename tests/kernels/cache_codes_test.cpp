#include "kernels/cache_codes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention_test_data.h"
#include "tensor/half.h"

namespace sampan {
namespace {

struct Encoded {
  std::vector<std::int8_t> codes;
  std::vector<std::uint16_t> scales;
};

Encoded encode(const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  Encoded e{std::vector<std::int8_t>(x.size()),
            std::vector<std::uint16_t>(static_cast<std::size_t>(cache_scales(n)))};
  encode_cache_row(x.data(), n, e.codes.data(), e.scales.data());
  return e;
}

std::vector<float> decode(const Encoded& e) {
  std::vector<float> x(e.codes.size());
  decode_cache_row(e.codes.data(), e.scales.data(), static_cast<std::int64_t>(x.size()), x.data());
  return x;
}

TEST(CacheCodes, AreTheNearestOfTheScalesMultiples) {
  for (const float spread : {1e-5f, 1.0f, 3e4f}) {
    const std::vector<float> x = random_floats(157, 5, spread);
    const Encoded e = encode(x);
    ASSERT_EQ(e.scales.size(), 5u);
    const std::vector<float> y = decode(e);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float scale = f16_to_float(e.scales[i / 32]);
      const float nearest =
          std::clamp(std::nearbyint(x[i] * (1.0f / scale)), -127.0f, 127.0f) * scale;
      ASSERT_EQ(y[i], nearest) << i;
    }
  }
}

TEST(CacheCodes, AScaleIsTheHighestOverTheHighestCode) {
  std::vector<float> x(40, 0.25f);
  x[7] = -254.0f;
  x[39] = 12.7f;
  const Encoded e = encode(x);
  EXPECT_EQ(f16_to_float(e.scales[0]), 2.0f);
  EXPECT_EQ(e.codes[7], -127);
  EXPECT_EQ(e.codes[0], 0);
  EXPECT_EQ(f16_to_float(e.scales[1]), f16_to_float(float_to_f16(0.1f)));
  EXPECT_EQ(e.codes[39], 127);
}

TEST(CacheCodes, HalvesRoundToEven) {
  std::vector<float> x = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f};
  const Encoded e = encode(x);
  EXPECT_EQ(e.codes, (std::vector<std::int8_t>{127, 0, 2, 2, 0, -2, -2}));
}

TEST(CacheCodes, ZerosAndWhatIsTooSmallAreZero) {
  for (const float x : {0.0f, -0.0f, 1e-30f, std::numeric_limits<float>::denorm_min()}) {
    for (const float y : decode(encode(std::vector<float>(33, x)))) EXPECT_EQ(y, 0.0f);
  }
}

TEST(CacheCodes, SmallScalesNeverLetACodeOverflow) {
  for (float x = 3.0e-6f; x < 1e-3f; x *= 1.01f) {
    const Encoded e = encode({x, -x});
    ASSERT_LE(e.codes[0], 127);
    ASSERT_EQ(e.codes[0], -e.codes[1]);
    ASSERT_NEAR(decode(e)[0], x, 0.5 * f16_to_float(e.scales[0]) + 0x1p-25 * 127) << x;
  }
}

TEST(CacheCodes, WhatIsNotFiniteOrTooLargeReadsBackAsNanInItsGroupOnly) {
  const float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kInfinity, -kInfinity, std::nanf(""), -std::nanf(""), 1e7f, 3e38f}) {
    std::vector<float> x = random_floats(96, 7);
    x[40] = bad;
    const std::vector<float> y = decode(encode(x));
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / 32 == 1) << bad << " at " << i;
    }
  }
}

}  // namespace
}  // namespace sampan
