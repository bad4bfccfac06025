#pragma once

#include <span>

namespace sampan {

// x[i] = exp_f32((x[i] - top) / temperature), 0 where that is not a number. The same bits on every
// machine, as the sum.
void exponentials(std::span<float> x, float top, float temperature);

// The sum over 8 lanes of doubles, folded in one order.
double sum_over_lanes(std::span<const float> x);

}  // namespace sampan
