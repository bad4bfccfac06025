#include "tensor/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sampan {
namespace {

// Value of a finite half by the definition of IEEE 754: (-1)^s 2^(e - 15) 1.m, or 2^-14 0.m.
double value_of(std::uint32_t half) {
  const std::uint32_t exponent = half >> 10 & 31;
  const double mantissa = half & 1023;
  const double magnitude = exponent == 0
                               ? std::ldexp(mantissa, -24)
                               : std::ldexp(1024 + mantissa, static_cast<int>(exponent) - 25);
  return half >> 15 != 0 ? -magnitude : magnitude;
}

TEST(F16, EveryHalfWidensToItsValue) {
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const float widened = f16_to_float(static_cast<std::uint16_t>(half));
    ASSERT_EQ(std::signbit(widened), half >> 15 != 0) << half;
    if ((half & 0x7C00) != 0x7C00) {
      ASSERT_EQ(double{widened}, value_of(half)) << half;
    } else if ((half & 0x3FF) == 0) {
      ASSERT_TRUE(std::isinf(widened)) << half;
    } else {
      ASSERT_TRUE(std::isnan(widened)) << half;
    }
  }
}

// The half nearest to a finite value, of two equally near the one with an even last bit; by
// comparing distances, over the magnitudes of one sign.
std::uint16_t nearest_half(float value) {
  const double magnitude = std::abs(double{value});
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  std::uint32_t low = 0;
  std::uint32_t high = 0x7C00;  // stands for 65536, the next step after the greatest half
  const auto at = [](std::uint32_t half) { return half == 0x7C00 ? 65536.0 : value_of(half); };
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (at(middle) <= magnitude ? low : high) = middle;
  }
  if (magnitude >= 65536.0) return static_cast<std::uint16_t>(sign | 0x7C00);
  const double below = magnitude - at(low);
  const double above = at(high) - magnitude;
  const bool up = above < below || (above == below && low % 2 == 1);
  return static_cast<std::uint16_t>(sign | (up ? high : low));
}

TEST(F16, FloatsRoundToTheNearestHalf) {
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 2039) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (!std::isfinite(value)) continue;
    ASSERT_EQ(float_to_f16(value), nearest_half(value)) << value;
  }
}

TEST(F16, EveryHalfComesBackAndTiesGoToEven) {
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const float exact = f16_to_float(static_cast<std::uint16_t>(half));
    if (std::isnan(exact)) {
      ASSERT_TRUE(std::isnan(f16_to_float(float_to_f16(exact))));
      continue;
    }
    ASSERT_EQ(float_to_f16(exact), half);
    if (std::isinf(exact)) continue;
    const auto bits = std::bit_cast<std::uint32_t>(exact);
    for (const std::uint32_t step : {1u, 0xFFFu, 0x1000u, 0x1001u, 0x1FFFu}) {
      const float near = std::bit_cast<float>(bits + step);
      ASSERT_EQ(float_to_f16(near), nearest_half(near)) << near;
    }
  }
}

TEST(F16, EdgesOfTheRange) {
  EXPECT_EQ(float_to_f16(65504.0f), 0x7BFF);
  EXPECT_EQ(float_to_f16(65519.996f), 0x7BFF);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(float_to_f16(-65520.0f), 0xFC00);
  EXPECT_EQ(float_to_f16(std::numeric_limits<float>::infinity()), 0x7C00);
  EXPECT_EQ(float_to_f16(0x1p-24f), 0x0001);
  EXPECT_EQ(float_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(float_to_f16(0x1.000002p-25f), 0x0001);
  EXPECT_EQ(float_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(float_to_f16(-1e-40f), 0x8000);
}

#if defined(__x86_64__)
__attribute__((target("f16c"))) std::uint16_t hardware_narrow(float value) {
  return static_cast<std::uint16_t>(
      _mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT), 0));
}

__attribute__((target("f16c"))) float hardware_widen(std::uint16_t half) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_set1_epi16(static_cast<short>(half))));
}

TEST(F16, AgreesWithTheHardwareToTheBitOnNansToo) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "no F16C";
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const auto bits = static_cast<std::uint16_t>(half);
    ASSERT_EQ(std::bit_cast<std::uint32_t>(f16_to_float(bits)),
              std::bit_cast<std::uint32_t>(hardware_widen(bits)));
  }
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 251) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    ASSERT_EQ(float_to_f16(value), hardware_narrow(value)) << bits;
  }
}
#endif

TEST(Bf16, EveryValueWidensAndComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float widened = bf16_to_float(static_cast<std::uint16_t>(bits));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(widened), bits << 16);
    if (std::isnan(widened)) {
      ASSERT_TRUE(std::isnan(bf16_to_float(float_to_bf16(widened)))) << bits;
    } else {
      ASSERT_EQ(float_to_bf16(widened), bits);
    }
  }
}

TEST(Bf16, FloatsRoundToTheNearestTiesToEven) {
  for (std::uint32_t bits = 0; bits < 0x7F80; ++bits) {
    const std::uint32_t low = bits << 16;
    const auto round = [&](std::uint32_t rest) {
      return float_to_bf16(std::bit_cast<float>(low | rest));
    };
    ASSERT_EQ(round(1), bits);
    ASSERT_EQ(round(0x7FFF), bits);
    ASSERT_EQ(round(0x8000), bits + bits % 2);
    ASSERT_EQ(round(0x8001), bits + 1);
    ASSERT_EQ(round(0xFFFF), bits + 1);
  }
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7F800001u)))));
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0xFFFFFFFFu)))));
}

}  // namespace
}  // namespace sampan
