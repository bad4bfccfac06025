#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifdef SAMPAN_AVXVNNI
#include "kernels/avxvnni/add_products.h"
#else
#include "kernels/avx2/add_products.h"
#endif
#include "kernels/avx2/panel_run.h"

// Products of one panel with a few tokens, of a format F and of Codes, which are F's own,
// UnpackedCodes or SignCodes. Sources of avxvnni/ share this with those of avx2/.
namespace sampan {
namespace {

template <int kTokens>
SAMPAN_INLINE inline void start(const PanelRun& run, const std::byte* (&x)[kTokens],
                                __m256 (&acc)[kTokens][2]) {
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value;
    x[kT] = run.x + kT * run.x_stride;
    const float* y = run.y + kT * run.y_stride;
    acc[kT][0] = run.resume ? _mm256_loadu_ps(y) : _mm256_setzero_ps();
    acc[kT][1] = run.resume ? _mm256_loadu_ps(y + 8) : _mm256_setzero_ps();
  });
}

template <int kTokens>
SAMPAN_INLINE inline void finish(const PanelRun& run, const __m256 (&acc)[kTokens][2]) {
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value;
    float* y = run.y + kT * run.y_stride;
    _mm256_storeu_ps(y, acc[kT][0]);
    _mm256_storeu_ps(y + 8, acc[kT][1]);
  });
}

// What zero points take from the sums of a tile: -zero · Σ q. |Σ q| < 2^15, so a 16-bit product
// is enough.
template <typename F, int kTokens>
SAMPAN_INLINE inline void start_sums(const std::uint8_t* header,
                                     const std::byte* const (&x)[kTokens],
                                     __m256i (&sums)[kTokens][2]) {
  unroll<2>([&](auto h) SAMPAN_INLINE {
    constexpr int kH = decltype(h)::value;
    __m256i zeros = _mm256_setzero_si256();
    if constexpr (F::kZeroPoints) zeros = F::zeros(header, kH);
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      const __m256i minus_sum = broadcast4(x[kT] + offsetof(ActivationBlock32, minus_sum));
      if constexpr (F::kZeroPoints) {
        sums[kT][kH] = _mm256_madd_epi16(zeros, minus_sum);
      } else if constexpr (F::kZeroShift >= 0) {
        sums[kT][kH] = _mm256_slli_epi32(minus_sum, F::kZeroShift);
      } else {
        sums[kT][kH] = zeros;
      }
    });
  });
}

// Formats with blocks of 32 columns.
template <typename F, typename Codes, typename Fetch, int kTokens>
[[gnu::noinline]] void run_block32(const PanelRun& run) {
  const std::byte* x[kTokens];
  __m256 acc[kTokens][2];
  start(run, x, acc);
  const std::uint8_t* header = run.header;
  const std::uint8_t* codes = run.codes;
  const __m256i ones[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
  Fetch ahead(run);
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    ahead.next_tile();
    __m256i sums[kTokens][2];
    start_sums<F>(header, x, sums);
    add_products<F, Codes, kTokens, 0, 8>(codes, ahead, x, ones, sums);
    ahead.next_columns();
    unroll<2>([&](auto h) SAMPAN_INLINE {
      constexpr int kH = decltype(h)::value;
      const __m256 scales = F::scales(header, kH);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m256 d = broadcast_float(x[kT] + offsetof(ActivationBlock32, d));
        acc[kT][kH] = _mm256_fmadd_ps(_mm256_mul_ps(scales, d), _mm256_cvtepi32_ps(sums[kT][kH]),
                                      acc[kT][kH]);
        if constexpr (F::kMinimum) {
          const __m256 sum = broadcast_float(x[kT] + offsetof(ActivationBlock32, sum));
          acc[kT][kH] = _mm256_fmadd_ps(_mm256_mul_ps(F::minima(header, kH), d), sum, acc[kT][kH]);
        }
      });
    });
    header += kPanelFormats[static_cast<int>(F::kType)].header_bytes;
    codes += Codes::kGroupBytes;
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { x[decltype(t)::value] += sizeof(ActivationBlock32); });
  }
  finish(run, acc);
}

// dots[t][h] = Σ over sub-blocks of pairs(pair, h) · sums of x, as 32-bit integers. sums_offset: of
// the sums in the block.
template <typename F, int kTokens, typename Pairs>
SAMPAN_INLINE inline void dot_with_sums(Pairs pairs, const std::byte* const (&x)[kTokens],
                                        __m256i (&dots)[kTokens][2]) {
  constexpr int kPairs = 128 / F::kSub;
  constexpr int kOffset =
      F::kSub == 16 ? offsetof(ActivationBlock256, sums16) : offsetof(ActivationBlock256, sums32);
  unroll<kPairs>([&](auto p) SAMPAN_INLINE {
    constexpr int kP = decltype(p)::value;
    unroll<2>([&](auto h) SAMPAN_INLINE {
      constexpr int kH = decltype(h)::value;
      const __m256i pair = pairs(kP, kH);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m256i products = _mm256_madd_epi16(pair, broadcast4(x[kT] + kOffset + 4 * kP));
        dots[kT][kH] = kP == 0 ? products : _mm256_add_epi32(dots[kT][kH], products);
      });
    });
  });
}

// sums[t][h] += the products of one pair of sub-blocks whose activations start at x.
template <typename F, typename Codes, int kTokens, typename Fetch>
SAMPAN_INLINE inline void add_pair(const std::uint8_t* header, const std::uint8_t* codes, int pair,
                                   Fetch& ahead, const std::byte* const (&x)[kTokens],
                                   __m256i (&sums)[kTokens][2]) {
  __m256i first[2], second[2];
  unroll<2>([&](auto h) SAMPAN_INLINE {
    constexpr int kH = decltype(h)::value;
    const __m256i scales = F::scale_pairs(header, pair, kH);
    first[kH] = first_multiplier(scales);
    second[kH] = second_multiplier(scales);
  });
  if constexpr (F::kSub == 16) {
    add_products<F, Codes, kTokens, 0, 4>(codes, ahead, x, first, sums);
    add_products<F, Codes, kTokens, 4, 4>(codes, ahead, x, second, sums);
  } else {
    const std::byte* next[kTokens];
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { next[decltype(t)::value] = x[decltype(t)::value] + 32; });
    add_products<F, Codes, kTokens, 0, 8>(codes, ahead, x, first, sums);
    ahead.next_columns();
    add_products<F, Codes, kTokens, 0, 8>(codes + Codes::kGroupBytes, ahead, next, second, sums);
  }
  ahead.next_columns();
}

// Formats with super-blocks of 256 columns.
template <typename F, typename Codes, typename Fetch, int kTokens>
[[gnu::noinline]] void run_block256(const PanelRun& run) {
  constexpr int kPairs = 128 / F::kSub;
  const std::byte* x[kTokens];
  __m256 acc[kTokens][2];
  start(run, x, acc);
  const std::uint8_t* header = run.header;
  const std::uint8_t* codes = run.codes;
  Fetch ahead(run);
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    ahead.next_tile();
    __m256i sums[kTokens][2] = {};
    const std::byte* q[kTokens];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE { q[decltype(t)::value] = x[decltype(t)::value]; });
    for (int pair = 0; pair < kPairs; ++pair) {
      add_pair<F, Codes, kTokens>(header, codes, pair, ahead, q, sums);
      codes += Codes::kGroupBytes * (F::kSub / 16);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE { q[decltype(t)::value] += 2 * F::kSub; });
    }
    if constexpr (F::kZeroShift >= 0) {
      __m256i zero[kTokens][2];
      dot_with_sums<F, kTokens>([&](int pair, int half)
                                    SAMPAN_INLINE { return F::scale_pairs(header, pair, half); },
                                x, zero);
      unroll<2 * kTokens>([&](auto i) SAMPAN_INLINE {
        __m256i& sum = sums[decltype(i)::value / 2][decltype(i)::value % 2];
        const __m256i& z = zero[decltype(i)::value / 2][decltype(i)::value % 2];
        sum = _mm256_sub_epi32(sum, _mm256_slli_epi32(z, F::kZeroShift));
      });
    }
    unroll<2 * kTokens>([&](auto i) SAMPAN_INLINE {
      constexpr int kT = decltype(i)::value / 2, kH = decltype(i)::value % 2;
      const __m256 d = broadcast_float(x[kT] + offsetof(ActivationBlock256, d));
      acc[kT][kH] = _mm256_fmadd_ps(_mm256_mul_ps(load_halves(header + 16 * kH), d),
                                    _mm256_cvtepi32_ps(sums[kT][kH]), acc[kT][kH]);
    });
    if constexpr (F::kMinimum) {
      __m256i minima[kTokens][2];
      dot_with_sums<F, kTokens>([&](int pair, int half)
                                    SAMPAN_INLINE { return F::minimum_pairs(header, pair, half); },
                                x, minima);
      unroll<2 * kTokens>([&](auto i) SAMPAN_INLINE {
        constexpr int kT = decltype(i)::value / 2, kH = decltype(i)::value % 2;
        const __m256 d = broadcast_float(x[kT] + offsetof(ActivationBlock256, d));
        acc[kT][kH] = _mm256_fnmadd_ps(_mm256_mul_ps(load_halves(header + 32 + 16 * kH), d),
                                       _mm256_cvtepi32_ps(minima[kT][kH]), acc[kT][kH]);
      });
    }
    header += kPanelFormats[static_cast<int>(F::kType)].header_bytes;
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { x[decltype(t)::value] += sizeof(ActivationBlock256); });
  }
  finish(run, acc);
}

template <typename F, typename Codes, typename Fetch, int kTokens>
void run_tokens(const PanelRun& run) {
  if constexpr (kPanelFormats[static_cast<int>(F::kType)].tile_columns == 32) {
    run_block32<F, Codes, Fetch, kTokens>(run);
  } else {
    run_block256<F, Codes, Fetch, kTokens>(run);
  }
}

}  // namespace
}  // namespace sampan
