#pragma once

#include "kernels/math.h"

// Included after the vectors.h of an instruction set, as all of this folder: a register is Floats.
namespace sampan {
namespace {

enum class ExpRange { kAll, kNotPositive };

// exp_f32 of each lane; kNotPositive (x <= 0 or NaN) leaves out the test for overflow.
template <ExpRange kRange = ExpRange::kAll>
inline Floats exp_lanes(Floats x) {
  const Floats round = broadcast(kExpRound);
  const Floats shifted = add_product(x, broadcast(kExpLog2E), round);
  const Floats n = subtract(shifted, round);
  Floats r = subtract_product(n, broadcast(kExpLn2High), x);
  r = subtract_product(n, broadcast(kExpLn2Low), r);
  Floats p = add_product(broadcast(kExpC6), r, broadcast(kExpC5));
  p = add_product(p, r, broadcast(kExpC4));
  p = add_product(p, r, broadcast(kExpC3));
  p = add_product(p, r, broadcast(kExpC2));
  p = add_product(p, r, broadcast(1.0f));
  p = add_product(p, r, broadcast(1.0f));
  p = zero_where(is_less(x, broadcast(kExpLowest)), add_to_exponent(p, shifted));
  if constexpr (kRange == ExpRange::kAll) {
    p = choose(is_less(broadcast(kExpHighest), x), broadcast(__builtin_inff()), p);
  }
  return choose(is_nan(x), x, p);
}

}  // namespace
}  // namespace sampan
