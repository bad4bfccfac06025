#pragma once

namespace sampan {

// Elementary functions with one definition for every instruction set (reference/math.cpp; the
// others evaluate the same polynomial with the same operations). Thread-safe, no errors.

// e^x in float, within 1 ulp: n = round(x / ln 2), r = x - n ln 2 with ln 2 in two parts by fma, a
// polynomial of degree 6 in r by fma (Horner), n added to the exponent bits. 1 for 0, NaN for NaN,
// exactly 0 below kExpLowest (results under the least normal float flush to 0) and for -infinity,
// +infinity above kExpHighest.
float exp_f32(float x);

inline constexpr float kExpLowest = -0x1.5d589ep+6f;  // ln 2^-126, rounded up
inline constexpr float kExpHighest = 0x1.62e42ep+6f;  // ln of the greatest float, rounded down
inline constexpr float kExpLog2E = 0x1.715476p+0f;    // 1 / ln 2
inline constexpr float kExpRound = 0x1.8p+23f;       // added and taken off again: rounds to integer
inline constexpr float kExpLn2High = 0x1.62e43p-1f;  // n * kExpLn2High is within fma's reach:
inline constexpr float kExpLn2Low = -0x1.05c610p-29f;  // the first reduction step is exact
// e^r = 1 + r + r² (c2 + c3 r + c4 r² + c5 r³ + c6 r⁴) on |r| <= ln 2 / 2, minimax in relative
// error (3.1e-9; found by a Remez exchange, then rounded to float).
inline constexpr float kExpC2 = 0x1.fffffcp-2f;
inline constexpr float kExpC3 = 0x1.555492p-3f;
inline constexpr float kExpC4 = 0x1.5558f2p-5f;
inline constexpr float kExpC5 = 0x1.123a20p-7f;
inline constexpr float kExpC6 = 0x1.6a23d0p-10f;

// cos and sin in double for |x| < 2^30 with absolute errors below 1e-15: Cody-Waite reduction to
// |r| <= pi / 4 with pi / 2 in four parts, then Taylor polynomials. Plain multiplications and
// additions: the same bits on every machine.
void sincos_f64(double x, double* sin, double* cos);

}  // namespace sampan
