#include <cmath>

#include "kernels/lanes.h"
#include "kernels/math.h"
#include "kernels/ops_table.h"
#include "tensor/half.h"

namespace sampan {
namespace {

void exp(const float* x, std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = exp_f32(x[i]);
}

float sum_of_squares(const float* x, std::int64_t dim) {
  float lane[kLanes] = {};
  for (std::int64_t i = 0; i < dim; ++i) lane[i % kLanes] = std::fma(x[i], x[i], lane[i % kLanes]);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t dim, float eps,
              float* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += dim, y += dim) {
    const float inv = 1.0f / std::sqrt(sum_of_squares(x, dim) / static_cast<float>(dim) + eps);
    for (std::int64_t i = 0; i < dim; ++i) y[i] = (x[i] * inv) * weight[i];
  }
}

void add(float* x, const float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
}

void rope_half(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
               const float* sin, std::int64_t half) {
  for (std::int64_t head = 0; head < heads; ++head, x += head_dim) {
    for (std::int64_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[i + half];
      x[i] = std::fma(-b, sin[i], a * cos[i]);
      x[i + half] = std::fma(a, sin[i], b * cos[i]);
    }
  }
}

void rope_interleaved(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
                      const float* sin, std::int64_t half) {
  for (std::int64_t head = 0; head < heads; ++head, x += head_dim) {
    for (std::int64_t i = 0; i < half; ++i) {
      const float a = x[2 * i];
      const float b = x[2 * i + 1];
      x[2 * i] = std::fma(-b, sin[i], a * cos[i]);
      x[2 * i + 1] = std::fma(a, sin[i], b * cos[i]);
    }
  }
}

void narrow_f16(const float* x, std::int64_t n, std::uint16_t* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = float_to_f16(x[i]);
}

void widen_f16(const std::uint16_t* x, std::int64_t n, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = f16_to_float(x[i]);
}

constexpr OpsTable kTable = {exp,       rms_norm,         add,        silu_mul,
                             rope_half, rope_interleaved, narrow_f16, widen_f16};

}  // namespace

const OpsTable& ops_table_reference() { return kTable; }

}  // namespace sampan
