#pragma once

#include <cstdint>

#include "kernels/ops_table.h"
#include "kernels/unroll.h"
#include "kernels/vectors/exp.h"

// OpsTable (kernels/ops_table.h) for any registers of floats.
namespace sampan {
namespace {

// A register's floats, or the first n.
struct Whole {
  template <typename T>
  Floats load_from(const T* x) const {
    return load(x);
  }
  template <typename T>
  void store_to(T* x, Floats v) const {
    store(x, v);
  }
};
struct Some {
  std::int64_t n;
  template <typename T>
  Floats load_from(const T* x) const {
    return load_some(x, n);
  }
  template <typename T>
  void store_to(T* x, Floats v) const {
    store_some(x, v, n);
  }
};

// step(offset, access) for groups of a register's floats of [0, n); access is Some for a last,
// partial one.
template <typename Step>
inline void for_groups(std::int64_t n, const Step& step) {
  std::int64_t i = 0;
  for (; i + kVector <= n; i += kVector) step(i, Whole{});
  if (i < n) step(i, Some{n - i});
}

void exp(const float* x, std::int64_t n, float* y) {
  for_groups(n, [=](std::int64_t i, auto access) {
    access.store_to(y + i, exp_lanes(access.load_from(x + i)));
  });
}

// Over the virtual lanes.
inline float sum_of_squares(const float* x, std::int64_t dim) {
  Floats lanes[kLaneVectors];
  unroll<kLaneVectors>([&](auto v) SAMPAN_INLINE { lanes[decltype(v)::value] = zeros(); });
  const auto add_square = [&](auto v, Floats a) SAMPAN_INLINE {
    Floats& lane = lanes[decltype(v)::value];
    lane = add_product(a, a, lane);
  };
  std::int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    unroll<kLaneVectors>(
        [&](auto v) SAMPAN_INLINE { add_square(v, load(x + i + decltype(v)::value * kVector)); });
  }
  unroll<kLaneVectors>([&](auto v) SAMPAN_INLINE {
    const std::int64_t from = i + decltype(v)::value * kVector;
    if (from >= dim) return;
    add_square(v, load_some(x + from, dim - from < kVector ? dim - from : kVector));
  });
  return fold_lanes(lanes);
}

void rms_norm(const float* x, const float* weight, std::int64_t rows, std::int64_t dim, float eps,
              float* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += dim, y += dim) {
    const float mean = sum_of_squares(x, dim) / static_cast<float>(dim);
    const Floats inverse = broadcast(1.0f / square_root(mean + eps));
    for_groups(dim, [=](std::int64_t i, auto access) {
      const Floats v = multiply(access.load_from(x + i), inverse);
      access.store_to(y + i, multiply(v, access.load_from(weight + i)));
    });
  }
}

void add_to(float* x, const float* y, std::int64_t n) {
  for_groups(n, [=](std::int64_t i, auto access) {
    access.store_to(x + i, add(access.load_from(x + i), access.load_from(y + i)));
  });
}

void silu_mul(const float* gate, const float* up, std::int64_t n, float* y) {
  for_groups(n, [=](std::int64_t i, auto access) {
    const Floats g = access.load_from(gate + i);
    const Floats silu = divide(g, add(broadcast(1.0f), exp_lanes(negate(g))));
    access.store_to(y + i, multiply(silu, access.load_from(up + i)));
  });
}

void rope_half(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
               const float* sin, std::int64_t half) {
  for (std::int64_t head = 0; head < heads; ++head, x += head_dim) {
    for_groups(half, [=](std::int64_t i, auto access) {
      const Floats a = access.load_from(x + i);
      const Floats b = access.load_from(x + i + half);
      const Floats c = access.load_from(cos + i);
      const Floats s = access.load_from(sin + i);
      access.store_to(x + i, subtract_product(b, s, multiply(a, c)));
      access.store_to(x + i + half, add_product(a, s, multiply(b, c)));
    });
  }
}

// Both lanes of a pair meet the pair's cos, and its sin with the sign that the even lane needs.
void rope_interleaved(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos,
                      const float* sin, std::int64_t half) {
  constexpr std::int64_t kPairs = kVector / 2;
  for (std::int64_t i = 0; i < half; i += kPairs) {
    const std::int64_t n = half - i < kPairs ? half - i : kPairs;
    const Floats c = twice(load_some(cos + i, n));
    const Floats s = negate_even(twice(load_some(sin + i, n)));
    const auto turn_heads = [=](auto access) {
      for (std::int64_t head = 0; head < heads; ++head) {
        float* const at = x + head * head_dim + 2 * i;
        const Floats v = access.load_from(at);
        access.store_to(at, add_product(swap_pairs(v), s, multiply(v, c)));
      }
    };
    if (n == kPairs) {
      turn_heads(Whole{});
    } else {
      turn_heads(Some{2 * n});
    }
  }
}

void narrow_f16(const float* x, std::int64_t n, std::uint16_t* y) {
  for_groups(n,
             [=](std::int64_t i, auto access) { access.store_to(y + i, access.load_from(x + i)); });
}

void widen_f16(const std::uint16_t* x, std::int64_t n, float* y) {
  for_groups(n,
             [=](std::int64_t i, auto access) { access.store_to(y + i, access.load_from(x + i)); });
}

constexpr OpsTable kOpsTable = {.exp = exp,
                                .rms_norm = rms_norm,
                                .add = add_to,
                                .silu_mul = silu_mul,
                                .rope_half = rope_half,
                                .rope_interleaved = rope_interleaved,
                                .narrow_f16 = narrow_f16,
                                .widen_f16 = widen_f16};

}  // namespace
}  // namespace sampan
