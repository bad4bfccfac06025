#pragma once

#include "kernels/math.h"

// Included after the vectors.h of an instruction set, as all of this folder: a register is Floats.
namespace sampan {
namespace {

enum class ExpRange { kAll, kNotPositive };

// exp_f32 of each lane; kNotPositive (x <= 0 or NaN) leaves out the test for overflow.
template <ExpRange kRange = ExpRange::kAll>
inline Floats exp_lanes(Floats x) {
  const Floats round = all(kExpRound);
  const Floats shifted = add_product(x, all(kExpLog2E), round);
  const Floats n = subtract(shifted, round);
  Floats r = subtract_product(n, all(kExpLn2High), x);
  r = subtract_product(n, all(kExpLn2Low), r);
  Floats p = add_product(all(kExpC6), r, all(kExpC5));
  p = add_product(p, r, all(kExpC4));
  p = add_product(p, r, all(kExpC3));
  p = add_product(p, r, all(kExpC2));
  p = add_product(p, r, all(1.0f));
  p = add_product(p, r, all(1.0f));
  p = zero_where(is_less(x, all(kExpLowest)), add_to_exponent(p, shifted));
  if constexpr (kRange == ExpRange::kAll) {
    p = choose(is_less(all(kExpHighest), x), all(__builtin_inff()), p);
  }
  return choose(is_nan(x), x, p);
}

}  // namespace
}  // namespace sampan
