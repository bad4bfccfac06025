#pragma once

#include <vector>

#include "kernels/matmul.h"

namespace sampan {

// y (tokens, rows of w) = x Wᵀ + bias, of all columns of x; bias (rows of w) or empty. What it is given is kept by reference.
inline MatmulTask project(const WeightMatrix& w, const std::vector<float>& bias, std::int64_t tokens, float* y) {
  return {&w, 0, tokens, 0, y, w.rows(), bias.empty() ? nullptr : bias.data()};
}

}  // namespace sampan
