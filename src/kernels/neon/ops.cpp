#include "kernels/lanes.h"
#include "kernels/neon/vector_math.h"
#include "kernels/ops_table.h"

namespace sampan {
namespace {

// Up to four floats: whole vectors are read and written plainly, the last by way of the stack.
struct Whole {
  static float32x4_t load(const float* x) { return vld1q_f32(x); }
  static void store(float* x, float32x4_t v) { vst1q_f32(x, v); }
};
struct Some {
  std::int64_t n;
  float32x4_t load(const float* x) const { return load_some(x, n); }
  void store(float* x, float32x4_t v) const { store_some(x, v, n); }
};

// Calls step(offset, access) for groups of 4 of [0, n); access is Some for a last, partial one.
template <typename Step>
inline void for_groups(std::int64_t n, const Step& step) {
  std::int64_t i = 0;
  for (; i + kVector <= n; i += kVector) step(i, Whole{});
  if (i < n) step(i, Some{n - i});
}

void exp(const float* x, std::int64_t n, float* y) {
  for_groups(n, [=](std::int64_t i, auto some) { some.store(y + i, exp_lanes(some.load(x + i))); });
}

float sum_of_squares(const float* x, std::int64_t dim) {
  float32x4_t lanes[4];
  for (float32x4_t& four : lanes) four = vdupq_n_f32(0.0f);
  std::int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    for (int v = 0; v < 4; ++v) {
      const float32x4_t a = vld1q_f32(x + i + v * kVector);
      lanes[v] = vfmaq_f32(lanes[v], a, a);
    }
  }
  for_groups(dim - i, [&](std::int64_t rest, auto some) {
    const float32x4_t a = some.load(x + i + rest);
    lanes[rest / kVector] = vfmaq_f32(lanes[rest / kVector], a, a);
  });
  return fold_lanes(lanes);
}

void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t dim, float eps,
              float* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += dim, y += dim) {
    const float mean = sum_of_squares(x, dim) / static_cast<float>(dim) + eps;
    const float inv = 1.0f / vget_lane_f32(vsqrt_f32(vdup_n_f32(mean)), 0);
    for_groups(dim, [=](std::int64_t i, auto some) {
      const float32x4_t v = vmulq_n_f32(some.load(x + i), inv);
      some.store(y + i, vmulq_f32(v, some.load(weight + i)));
    });
  }
}

void add(float* x, const float* y, std::int64_t n) {
  for_groups(n, [=](std::int64_t i, auto some) {
    some.store(x + i, vaddq_f32(some.load(x + i), some.load(y + i)));
  });
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  for_groups(n, [=](std::int64_t i, auto some) {
    const float32x4_t g = some.load(gate + i);
    const float32x4_t divisor = vaddq_f32(vdupq_n_f32(1.0f), exp_lanes(vnegq_f32(g)));
    some.store(y + i, vmulq_f32(vdivq_f32(g, divisor), some.load(up + i)));
  });
}

// (a, b) turned by an angle: (a cos - b sin, b cos + a sin).
inline float32x4x2_t rotated(float32x4_t a, float32x4_t b, float32x4_t cos, float32x4_t sin) {
  return {{vfmsq_f32(vmulq_f32(a, cos), b, sin), vfmaq_f32(vmulq_f32(b, cos), a, sin)}};
}

void rope_half(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
               const float* sin, std::int64_t half) {
  for (std::int64_t head = 0; head < heads; ++head, x += head_dim) {
    for_groups(half, [=](std::int64_t i, auto some) {
      const float32x4x2_t pair = rotated(some.load(x + i), some.load(x + i + half),
                                         some.load(cos + i), some.load(sin + i));
      some.store(x + i, pair.val[0]);
      some.store(x + i + half, pair.val[1]);
    });
  }
}

void rope_interleaved(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
                      const float* sin, std::int64_t half) {
  for (std::int64_t head = 0; head < heads; ++head, x += head_dim) {
    std::int64_t i = 0;
    for (; i + kVector <= half; i += kVector) {
      const float32x4x2_t pair = vld2q_f32(x + 2 * i);
      vst2q_f32(x + 2 * i,
                rotated(pair.val[0], pair.val[1], vld1q_f32(cos + i), vld1q_f32(sin + i)));
    }
    if (i == half) continue;
    const auto pair_bytes = static_cast<std::size_t>(2 * (half - i)) * sizeof(float);
    float padded[2 * kVector] = {};
    __builtin_memcpy(padded, x + 2 * i, pair_bytes);
    const float32x4x2_t pair = vld2q_f32(padded);
    vst2q_f32(padded, rotated(pair.val[0], pair.val[1], load_some(cos + i, half - i),
                              load_some(sin + i, half - i)));
    __builtin_memcpy(x + 2 * i, padded, pair_bytes);
  }
}

inline uint16x4_t to_halves(float32x4_t floats) {
  return vreinterpret_u16_f16(vcvt_f16_f32(floats));
}

void narrow_f16(const float* x, std::int64_t n, std::uint16_t* y) {
  std::int64_t i = 0;
  for (; i + kVector <= n; i += kVector) vst1_u16(y + i, to_halves(vld1q_f32(x + i)));
  if (i == n) return;
  std::uint16_t halves[kVector];
  vst1_u16(halves, to_halves(load_some(x + i, n - i)));
  for (std::int64_t j = 0; i + j < n; ++j) y[i + j] = halves[j];
}

inline float32x4_t to_floats(const std::uint16_t* x) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x)));
}

void widen_f16(const std::uint16_t* x, std::int64_t n, float* y) {
  std::int64_t i = 0;
  for (; i + kVector <= n; i += kVector) vst1q_f32(y + i, to_floats(x + i));
  if (i == n) return;
  std::uint16_t halves[kVector] = {};
  for (std::int64_t j = 0; i + j < n; ++j) halves[j] = x[i + j];
  store_some(y + i, to_floats(halves), n - i);
}

constexpr OpsTable kTable = {exp,       rms_norm,         add,        silu_mul,
                             rope_half, rope_interleaved, narrow_f16, widen_f16};

}  // namespace

const OpsTable& ops_table_neon() { return kTable; }

}  // namespace sampan
