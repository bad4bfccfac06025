#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/matmul_table.h"
#ifdef SAMPAN_I8MM
#include "kernels/i8mm/add_products.h"
#else
#include "kernels/neon/add_products.h"
#endif
#include "kernels/neon/matmul_formats.h"
#include "kernels/unroll.h"

// Products of one panel with a few tokens, of a format F and of Codes, which are F's own or
// UnpackedCodes. Half a panel's rows at a time, two quarters, so that the integer sums of 4 tokens
// fit the 32 registers. Sources of i8mm/ share this with those of neon/.
namespace sampan {
namespace {

// A run of tiles of one panel, and the tokens that it meets.
struct PanelRun {
  const std::uint8_t* header;
  const std::uint8_t* codes;
  std::int64_t tiles;
  const std::byte* x;
  std::int64_t x_stride;
  float* y;  // 16 rows side by side
  std::int64_t y_stride;
  bool resume;  // goes on from the sums in y
};

template <typename T>
SAMPAN_INLINE inline T number_at(const std::byte* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

template <int kTokens>
SAMPAN_INLINE inline void start(const PanelRun& run, const std::byte* (&x)[kTokens],
                                float32x4_t (&acc)[kTokens][4]) {
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value;
    x[kT] = run.x + kT * run.x_stride;
    unroll<4>([&](auto i) SAMPAN_INLINE {
      constexpr int kI = decltype(i)::value;
      acc[kT][kI] = run.resume ? vld1q_f32(run.y + kT * run.y_stride + 4 * kI) : vdupq_n_f32(0.0f);
    });
  });
}

template <int kTokens>
SAMPAN_INLINE inline void finish(const PanelRun& run, const float32x4_t (&acc)[kTokens][4]) {
  unroll<kTokens * 4>([&](auto n) SAMPAN_INLINE {
    constexpr int kT = decltype(n)::value / 4, kI = decltype(n)::value % 4;
    vst1q_f32(run.y + kT * run.y_stride + 4 * kI, acc[kT][kI]);
  });
}

// What the zeros of a format take from the sums of a tile: -zero · Σ q.
template <typename F, int kTokens>
SAMPAN_INLINE inline void start_sums(const std::uint8_t* header, int half,
                                     const std::byte* const (&x)[kTokens],
                                     int32x4_t (&sums)[kTokens][2]) {
  unroll<kTokens * 2>([&](auto n) SAMPAN_INLINE {
    constexpr int kT = decltype(n)::value / 2, kI = decltype(n)::value % 2;
    const auto minus_sum = number_at<std::int32_t>(x[kT] + offsetof(ActivationBlock32, minus_sum));
    if constexpr (F::kZeroPoints) {
      sums[kT][kI] = vmulq_n_s32(F::zeros(header, 2 * half + kI), minus_sum);
    } else if constexpr (F::kZeroShift >= 0) {
      sums[kT][kI] = vshlq_n_s32(vdupq_n_s32(minus_sum), F::kZeroShift);
    } else {
      sums[kT][kI] = vdupq_n_s32(0);
    }
  });
}

// acc[t] += what the rows of a quarter make of their sums in a tile of 32 columns.
template <typename F, int kTokens>
SAMPAN_INLINE inline void add_tile(const std::uint8_t* header, int quarter,
                                   const std::byte* const (&x)[kTokens], int i,
                                   const int32x4_t (&sums)[kTokens][2],
                                   float32x4_t (&acc)[kTokens][4]) {
  const float32x4_t scales = F::scales(header, quarter);
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value;
    const auto d = number_at<float>(x[kT] + offsetof(ActivationBlock32, d));
    float32x4_t& total = acc[kT][quarter];
    total = vfmaq_f32(total, vmulq_n_f32(scales, d), vcvtq_f32_s32(sums[kT][i]));
    if constexpr (F::kMinimum) {
      const auto sum = number_at<float>(x[kT] + offsetof(ActivationBlock32, sum));
      total = vfmaq_n_f32(total, vmulq_n_f32(F::minima(header, quarter), d), sum);
    }
  });
}

// Formats with blocks of 32 columns.
template <typename F, typename Codes, int kTokens>
[[gnu::noinline]] void run_block32(const PanelRun& run) {
  const std::byte* x[kTokens];
  float32x4_t acc[kTokens][4];
  start(run, x, acc);
  const std::uint8_t* header = run.header;
  const std::uint8_t* codes = run.codes;
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    unroll<2>([&](auto h) SAMPAN_INLINE {
      constexpr int kHalf = decltype(h)::value;
      int32x4_t sums[kTokens][2];
      start_sums<F>(header, kHalf, x, sums);
      add_products<Codes, 0, 8>(codes, kHalf, x, sums);
      add_tile<F>(header, 2 * kHalf, x, 0, sums, acc);
      add_tile<F>(header, 2 * kHalf + 1, x, 1, sums, acc);
    });
    header += kPanelFormats[static_cast<int>(F::kType)].header_bytes;
    codes += Codes::kGroupBytes;
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { x[decltype(t)::value] += sizeof(ActivationBlock32); });
  }
  finish(run, acc);
}

// f(Index<quarter>, its four numbers).
template <typename Function>
SAMPAN_INLINE inline void for_each_quarter(const RowNumbers& numbers, Function&& f) {
  f(Index<0>{}, vget_low_s16(numbers.first));
  f(Index<1>{}, vget_high_s16(numbers.first));
  f(Index<2>{}, vget_low_s16(numbers.second));
  f(Index<3>{}, vget_high_s16(numbers.second));
}

// sums += scales times the products of one sub-block.
template <typename Codes, int kFirst, int kCount, int kTokens>
SAMPAN_INLINE inline void add_sub_block(const std::uint8_t* codes,
                                        const std::byte* const (&x)[kTokens],
                                        const RowNumbers& scales, int32x4_t (&sums)[kTokens][4]) {
  unroll<2>([&](auto h) SAMPAN_INLINE {
    constexpr int kHalf = decltype(h)::value;
    int32x4_t products[kTokens][2];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      products[decltype(t)::value][0] = products[decltype(t)::value][1] = vdupq_n_s32(0);
    });
    add_products<Codes, kFirst, kCount>(codes, kHalf, x, products);
    const int16x8_t rows = kHalf == 0 ? scales.first : scales.second;
    const int32x4_t low = vmovl_s16(vget_low_s16(rows)), high = vmovl_high_s16(rows);
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      sums[kT][2 * kHalf] = vmlaq_s32(sums[kT][2 * kHalf], products[kT][0], low);
      sums[kT][2 * kHalf + 1] = vmlaq_s32(sums[kT][2 * kHalf + 1], products[kT][1], high);
    });
  });
}

// The same of a pair of sub-blocks whose activations start at x.
template <typename F, typename Codes, int kTokens>
SAMPAN_INLINE inline void add_pair(const std::uint8_t* header, const std::uint8_t* codes, int pair,
                                   const std::byte* const (&x)[kTokens],
                                   int32x4_t (&sums)[kTokens][4]) {
  RowNumbers scales[2];
  F::scale_pair(header, pair, scales);
  if constexpr (F::kSub == 16) {
    add_sub_block<Codes, 0, 4>(codes, x, scales[0], sums);
    add_sub_block<Codes, 4, 4>(codes, x, scales[1], sums);
  } else {
    const std::byte* next[kTokens];
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { next[decltype(t)::value] = x[decltype(t)::value] + 32; });
    add_sub_block<Codes, 0, 8>(codes, x, scales[0], sums);
    add_sub_block<Codes, 0, 8>(codes + Codes::kGroupBytes, next, scales[1], sums);
  }
}

// dots[t] = Σ over sub-blocks of their minima times the sums of x.
template <typename F, int kTokens>
SAMPAN_INLINE inline void dot_minima(const std::uint8_t* header,
                                     const std::byte* const (&x)[kTokens],
                                     int32x4_t (&dots)[kTokens][4]) {
  constexpr int kOffset =
      F::kSub == 16 ? offsetof(ActivationBlock256, sums16) : offsetof(ActivationBlock256, sums32);
  unroll<kTokens * 4>([&](auto n) SAMPAN_INLINE {
    dots[decltype(n)::value / 4][decltype(n)::value % 4] = vdupq_n_s32(0);
  });
  for (int pair = 0; pair < 128 / F::kSub; ++pair) {
    RowNumbers minima[2];
    F::minimum_pair(header, pair, minima);
    unroll<kTokens * 2>([&](auto n) SAMPAN_INLINE {
      constexpr int kT = decltype(n)::value / 2, kI = decltype(n)::value % 2;
      const auto sum = number_at<std::int16_t>(x[kT] + kOffset + 4 * pair + 2 * kI);
      for_each_quarter(minima[kI], [&](auto quarter, int16x4_t rows) SAMPAN_INLINE {
        int32x4_t& dot = dots[kT][decltype(quarter)::value];
        dot = vmlal_n_s16(dot, rows, sum);
      });
    });
  }
}

// Formats with super-blocks of 256 columns.
template <typename F, typename Codes, int kTokens>
[[gnu::noinline]] void run_block256(const PanelRun& run) {
  const std::byte* x[kTokens];
  float32x4_t acc[kTokens][4];
  start(run, x, acc);
  const std::uint8_t* header = run.header;
  const std::uint8_t* codes = run.codes;
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    int32x4_t sums[kTokens][4] = {};
    const std::byte* q[kTokens];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE { q[decltype(t)::value] = x[decltype(t)::value]; });
    for (int pair = 0; pair < 128 / F::kSub; ++pair) {
      add_pair<F, Codes>(header, codes, pair, q, sums);
      codes += Codes::kGroupBytes * (F::kSub / 16);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE { q[decltype(t)::value] += 2 * F::kSub; });
    }
    unroll<kTokens * 4>([&](auto n) SAMPAN_INLINE {
      constexpr int kT = decltype(n)::value / 4, kI = decltype(n)::value % 4;
      const auto d = number_at<float>(x[kT] + offsetof(ActivationBlock256, d));
      acc[kT][kI] = vfmaq_f32(acc[kT][kI], vmulq_n_f32(load_halves(header + 8 * kI), d),
                              vcvtq_f32_s32(sums[kT][kI]));
    });
    if constexpr (F::kMinimum) {
      int32x4_t minima[kTokens][4];
      dot_minima<F>(header, x, minima);
      unroll<kTokens * 4>([&](auto n) SAMPAN_INLINE {
        constexpr int kT = decltype(n)::value / 4, kI = decltype(n)::value % 4;
        const auto d = number_at<float>(x[kT] + offsetof(ActivationBlock256, d));
        acc[kT][kI] = vfmsq_f32(acc[kT][kI], vmulq_n_f32(load_halves(header + 32 + 8 * kI), d),
                                vcvtq_f32_s32(minima[kT][kI]));
      });
    }
    header += kPanelFormats[static_cast<int>(F::kType)].header_bytes;
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { x[decltype(t)::value] += sizeof(ActivationBlock256); });
  }
  finish(run, acc);
}

}  // namespace
}  // namespace sampan
