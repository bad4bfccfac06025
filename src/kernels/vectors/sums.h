#pragma once

#include "kernels/unroll.h"

// Sums that a kernel keeps in registers. Included after the vectors.h of an instruction set, as all
// of this folder: a register is Floats.
namespace sampan {
namespace {

// So many, beside what they are made of.
constexpr int kMaxSums = kRegisters == 16 ? 12 : 24;

// The largest power of two up to kMost by which kSums sums still are kMaxSums at most.
template <int kSums, int kMost>
constexpr int times_at_once() {
  int times = kMost;
  while (times > 1 && kSums * times > kMaxSums) times /= 2;
  return times;
}

template <int kRows, int kVectors>
using Sums = Floats[kRows][kVectors];

// f(r, v, the sum of row r in vector v) for all.
template <int kRows, int kVectors, typename F>
SAMPAN_INLINE inline void for_sums(Sums<kRows, kVectors>& sums, const F& f) {
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    unroll<kVectors>([&](auto v) SAMPAN_INLINE {
      f(decltype(r)::value, decltype(v)::value, sums[decltype(r)::value][decltype(v)::value]);
    });
  });
}

// sums[r][v] = accumulate(x[r], y[v], sums[r][v]). The fewer of the two stay in registers while the
// others are loaded one by one, so that everything fits.
template <int kRows, int kVectors, typename LoadX, typename LoadY, typename Accumulate>
SAMPAN_INLINE inline void add_products(Sums<kRows, kVectors>& sums, const LoadX& load_x,
                                       const LoadY& load_y, const Accumulate& accumulate) {
  if constexpr (kRows > kVectors) {
    decltype(load_y(0)) y[kVectors];
    unroll<kVectors>([&](auto v)
                         SAMPAN_INLINE { y[decltype(v)::value] = load_y(decltype(v)::value); });
    unroll<kRows>([&](auto r) SAMPAN_INLINE {
      const auto x = load_x(decltype(r)::value);
      unroll<kVectors>([&](auto v) SAMPAN_INLINE {
        Floats& sum = sums[decltype(r)::value][decltype(v)::value];
        sum = accumulate(x, y[decltype(v)::value], sum);
      });
    });
  } else {
    decltype(load_x(0)) x[kRows];
    unroll<kRows>([&](auto r)
                      SAMPAN_INLINE { x[decltype(r)::value] = load_x(decltype(r)::value); });
    unroll<kVectors>([&](auto v) SAMPAN_INLINE {
      const auto y = load_y(decltype(v)::value);
      unroll<kRows>([&](auto r) SAMPAN_INLINE {
        Floats& sum = sums[decltype(r)::value][decltype(v)::value];
        sum = accumulate(x[decltype(r)::value], y, sum);
      });
    });
  }
}
template <int kRows, int kVectors, typename LoadX, typename LoadY>
SAMPAN_INLINE inline void add_products(Sums<kRows, kVectors>& sums, const LoadX& load_x,
                                       const LoadY& load_y) {
  add_products<kRows, kVectors>(sums, load_x, load_y,
                                [](Floats x, Floats y, Floats sum)
                                    SAMPAN_INLINE { return add_product(x, y, sum); });
}

}  // namespace
}  // namespace sampan
