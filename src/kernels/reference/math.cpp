#include "kernels/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace sampan {
namespace {

// pi / 2 in parts of 23 bits: the product of each with an integer of 30 bits is exact.
constexpr double kHalfPi1 = 0x1.921fb4p+0;
constexpr double kHalfPi2 = 0x1.4442d0p-24;
constexpr double kHalfPi3 = 0x1.846988p-48;
constexpr double kHalfPi4 = 0x1.8cc514p-72;
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
constexpr double kRoundToInteger = 0x1.8p+52;

// Taylor polynomials by Horner's rule; the first term left out is below 5e-17 at pi / 4.
double sin_near_zero(double r) {
  const double s = r * r;
  double p = -1.0 / 1307674368000.0;  // -1 / 15!
  p = p * s + 1.0 / 6227020800.0;
  p = p * s - 1.0 / 39916800.0;
  p = p * s + 1.0 / 362880.0;
  p = p * s - 1.0 / 5040.0;
  p = p * s + 1.0 / 120.0;
  p = p * s - 1.0 / 6.0;
  return r + r * s * p;
}

double cos_near_zero(double r) {
  const double s = r * r;
  double p = 1.0 / 20922789888000.0;  // 1 / 16!
  p = p * s - 1.0 / 87178291200.0;
  p = p * s + 1.0 / 479001600.0;
  p = p * s - 1.0 / 3628800.0;
  p = p * s + 1.0 / 40320.0;
  p = p * s - 1.0 / 720.0;
  p = p * s + 1.0 / 24.0;
  return 1.0 - (0.5 * s - s * s * p);
}

}  // namespace

float exp_f32(float x) {
  if (x != x) return x;
  if (x < kExpLowest) return 0.0f;
  if (x > kExpHighest) return std::numeric_limits<float>::infinity();
  const float shifted = std::fma(x, kExpLog2E, kExpRound);
  const float n = shifted - kExpRound;
  float r = std::fma(-n, kExpLn2High, x);
  r = std::fma(-n, kExpLn2Low, r);
  float p = kExpC6;
  p = std::fma(p, r, kExpC5);
  p = std::fma(p, r, kExpC4);
  p = std::fma(p, r, kExpC3);
  p = std::fma(p, r, kExpC2);
  p = std::fma(p, r, 1.0f);
  p = std::fma(p, r, 1.0f);
  // The low bits of `shifted` hold n; the shift moves them to the exponent and drops the rest.
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) << 23;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
}

void sincos_f64(double x, double* sin, double* cos) {
  const double k = (x * kTwoOverPi + kRoundToInteger) - kRoundToInteger;
  const double r = ((x - k * kHalfPi1) - k * kHalfPi2) - (k * kHalfPi3 + k * kHalfPi4);
  const double s = sin_near_zero(r);
  const double c = cos_near_zero(r);
  switch (static_cast<std::int64_t>(k) & 3) {
    case 0:
      *sin = s, *cos = c;
      break;
    case 1:
      *sin = c, *cos = -s;
      break;
    case 2:
      *sin = -s, *cos = -c;
      break;
    default:
      *sin = -c, *cos = s;
      break;
  }
}

}  // namespace sampan
