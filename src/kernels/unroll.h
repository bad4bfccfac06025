#pragma once

#include <utility>

// Loops that are written out at compile time, for files compiled for one instruction set. Internal
// linkage on purpose: an instantiation with such flags must not be merged with one of plain code.
namespace sampan {
namespace {

template <int kValue>
struct Index {
  static constexpr int value = kValue;
};

template <typename F, int... kIndices>
[[gnu::always_inline]] inline void unroll_sequence(std::integer_sequence<int, kIndices...>, F&& f) {
  (f(Index<kIndices>{}), ...);
}

// f(Index<0>{}), …, f(Index<kCount - 1>{}); f must be always_inline.
template <int kCount, typename F>
[[gnu::always_inline]] inline void unroll(F&& f) {
  unroll_sequence(std::make_integer_sequence<int, kCount>{}, f);
}

}  // namespace
}  // namespace sampan

#define SAMPAN_INLINE __attribute__((always_inline))
