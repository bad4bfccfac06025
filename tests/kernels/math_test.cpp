#include "kernels/math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/isa.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float from_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }
std::uint32_t to_bits(float value) { return std::bit_cast<std::uint32_t>(value); }

// Floats of every exponent and sign, and all those around the places where the definition changes.
std::vector<float> exp_arguments() {
  std::vector<float> out;
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 4093) {
    out.push_back(from_bits(static_cast<std::uint32_t>(bits)));
  }
  for (const float edge : {0.0f, -0.0f, kExpLowest, kExpHighest, 88.375f, -87.0f, 0.34657359f,
                           -0.34657359f, 1.0f, -104.0f, 89.0f, kInfinity, -kInfinity}) {
    for (std::uint32_t step = 0; step < 2000; ++step) {
      out.push_back(from_bits(to_bits(edge) + step));
      out.push_back(from_bits(to_bits(edge) - step));
    }
  }
  return out;
}

// Distance of `value` from the exact result in units of its last place.
double ulps(float value, double exact) {
  const float nearest = static_cast<float>(exact);
  const double spacing = double{std::nextafter(nearest, kInfinity)} - double{nearest};
  return std::abs(double{value} - exact) / spacing;
}

TEST(ExpF32, WithinOneUlpOfTheExactResult) {
  double worst = 0;
  for (const float x : exp_arguments()) {
    if (!(x >= kExpLowest && x <= kExpHighest)) continue;
    worst = std::max(worst, ulps(exp_f32(x), std::exp(double{x})));
  }
  EXPECT_LT(worst, 1.0);
}

TEST(ExpF32, EveryFloatOfOneOctaveIsWithinOneUlp) {
  double worst = 0;
  for (std::uint32_t bits = to_bits(-2.0f); bits >= to_bits(-1.0f); --bits) {
    const float x = from_bits(bits);
    worst = std::max(worst, ulps(exp_f32(x), std::exp(double{x})));
  }
  EXPECT_LT(worst, 1.0);
}

TEST(ExpF32, IsExactWhereTheContractSaysSo) {
  EXPECT_EQ(exp_f32(0.0f), 1.0f);
  EXPECT_EQ(exp_f32(-0.0f), 1.0f);
  EXPECT_EQ(to_bits(exp_f32(-kInfinity)), 0u);
  EXPECT_EQ(exp_f32(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(exp_f32(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(exp_f32(from_bits(0x7F800001u))));
  EXPECT_TRUE(std::isnan(exp_f32(from_bits(0xFFC00101u))));
}

TEST(ExpF32, ItsEdgesAreTheLastNormalResults) {
  EXPECT_GE(exp_f32(kExpLowest), std::numeric_limits<float>::min());
  EXPECT_LT(std::exp(double{std::nextafter(kExpLowest, -kInfinity)}),
            double{std::numeric_limits<float>::min()});
  EXPECT_EQ(to_bits(exp_f32(std::nextafter(kExpLowest, -kInfinity))), 0u);
  EXPECT_LE(exp_f32(kExpHighest), std::numeric_limits<float>::max());
  EXPECT_GT(std::exp(double{std::nextafter(kExpHighest, kInfinity)}),
            double{std::numeric_limits<float>::max()});
  EXPECT_EQ(exp_f32(std::nextafter(kExpHighest, kInfinity)), kInfinity);
}

TEST(ExpF32, NeverFallsWhereItsArgumentRisesMuch) {
  float last = 0.0f;
  for (float x = -100.0f; x < 100.0f; x += 0.0009765625f) {
    const float y = exp_f32(x);
    ASSERT_GE(y, last) << x;
    last = y;
  }
}

TEST(ExpF32, EveryInstructionSetGivesTheSameBits) {
  const std::vector<float> x = exp_arguments();
  std::vector<float> expected(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] = exp_f32(x[i]);
  for (const Isa isa : kAllIsas) {
    if (!isa_supported(isa)) continue;
    std::vector<float> y(x.size());
    ops_table(isa).exp(x.data(), static_cast<std::int64_t>(x.size()), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(y[i])) << isa_name(isa);
      } else {
        ASSERT_EQ(to_bits(y[i]), to_bits(expected[i])) << isa_name(isa) << " " << x[i];
      }
    }
  }
}

void expect_sincos(double x) {
  double sin = 0, cos = 0;
  sincos_f64(x, &sin, &cos);
  const long double exact = x;
  ASSERT_LT(std::abs(static_cast<long double>(sin) - std::sin(exact)), 1e-15L) << x;
  ASSERT_LT(std::abs(static_cast<long double>(cos) - std::cos(exact)), 1e-15L) << x;
}

TEST(SincosF64, RandomAnglesOfEverySize) {
  std::mt19937_64 engine(1);
  for (int exponent = -40; exponent <= 30; ++exponent) {
    std::uniform_real_distribution<double> angle(-std::ldexp(1.0, exponent),
                                                 std::ldexp(1.0, exponent));
    for (int i = 0; i < 5000; ++i) {
      expect_sincos(angle(engine));
      expect_sincos(static_cast<float>(angle(engine)));
    }
  }
}

TEST(SincosF64, WholeNumbersAndMultiplesOfAnEighthTurn) {
  for (int i = -70000; i <= 70000; ++i) {
    expect_sincos(i);
    const double eighth = i * 0.78539816339744830962;
    expect_sincos(eighth);
    expect_sincos(std::nextafter(eighth, 1e9));
    expect_sincos(std::nextafter(eighth, -1e9));
  }
  for (int i = 0; i < 1000; ++i) expect_sincos(0x1p30 - 1 - i * 0.123);
}

TEST(SincosF64, ZeroIsExact) {
  double sin = 1, cos = 0;
  sincos_f64(0.0, &sin, &cos);
  EXPECT_EQ(sin, 0.0);
  EXPECT_EQ(cos, 1.0);
}

}  // namespace
}  // namespace sampan
