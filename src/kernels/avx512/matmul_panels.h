#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512/matmul_formats.h"
#include "kernels/matmul_table.h"
#include "kernels/unroll.h"

// Products of one or two panels with a few tokens by vpdpbusd: unsigned codes times signed
// activations into 32-bit sums. Of a format F and of Codes, which are F's own or the bytes that
// unpack_panel() makes of them.
namespace sampan {
namespace {

// A run of tiles of kPanels panels, and the tokens that it meets.
template <int kPanels>
struct PanelRun {
  const std::uint8_t* header[kPanels];
  const std::uint8_t* codes[kPanels];
  std::int64_t tiles;
  const std::byte* x;
  std::int64_t x_stride;
  float* y[kPanels];  // 16 rows side by side
  std::int64_t y_stride;
  bool resume;  // goes on from the sums in y
  // Weights that are fetched meanwhile, from `ahead` on, and bytes with 32 columns.
  const std::uint8_t* ahead;
  std::int64_t ahead_step;
};

// How far ahead of a panel's codes weights are fetched: more than memory's latency times its speed.
constexpr std::int64_t kFetchBytes = 4096;

// Column groups in the order in which they are taken: both nibbles of a byte together where their
// sub-block is the same.
template <int kSub>
constexpr int column_group(int i) {
  return kSub == 16 ? i : i / 2 + (i % 2) * 4;
}

SAMPAN_INLINE inline __m512i broadcast4(const std::byte* p) {
  int bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm512_set1_epi32(bits);
}

SAMPAN_INLINE inline __m512 broadcast_float(const std::byte* p) {
  return _mm512_castsi512_ps(broadcast4(p));
}

template <int kTokens, int kPanels>
struct Sums {
  __m512i at[kTokens][kPanels];
};

// sums += codes times x over column groups kFirst … kFirst + kCount - 1 (in column_group<kSub>
// order).
template <typename Codes, int kSub, int kFirst, int kCount, int kTokens, int kPanels>
SAMPAN_INLINE inline void add_products(const std::uint8_t* const (&codes)[kPanels],
                                       std::int64_t offset, const std::byte* const (&x)[kTokens],
                                       Sums<kTokens, kPanels>& sums) {
  unroll<kCount>([&](auto i) SAMPAN_INLINE {
    constexpr int kG = column_group<kSub>(kFirst + decltype(i)::value);
    __m512i w[kPanels];
    unroll<kPanels>([&](auto p) SAMPAN_INLINE {
      w[decltype(p)::value] = Codes::template group<kG>(codes[decltype(p)::value] + offset);
    });
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      const __m512i q = broadcast4(x[kT] + 4 * kG);
      unroll<kPanels>([&](auto p) SAMPAN_INLINE {
        __m512i& sum = sums.at[kT][decltype(p)::value];
        sum = _mm512_dpbusd_epi32(sum, w[decltype(p)::value], q);
      });
    });
  });
}

// f(Index<token>, Index<panel>) for all.
template <int kTokens, int kPanels, typename F>
SAMPAN_INLINE inline void for_each_sum(F&& f) {
  unroll<kTokens>([&](auto t)
                      SAMPAN_INLINE { unroll<kPanels>([&](auto p) SAMPAN_INLINE { f(t, p); }); });
}

template <int kTokens, int kPanels>
SAMPAN_INLINE inline void start(const PanelRun<kPanels>& run, const std::byte* (&x)[kTokens],
                                __m512 (&acc)[kTokens][kPanels]) {
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    x[decltype(t)::value] = run.x + decltype(t)::value * run.x_stride;
  });
  for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value, kP = decltype(p)::value;
    acc[kT][kP] = run.resume ? _mm512_loadu_ps(run.y[kP] + kT * run.y_stride) : _mm512_setzero_ps();
  });
}

template <int kTokens, int kPanels>
SAMPAN_INLINE inline void finish(const PanelRun<kPanels>& run,
                                 const __m512 (&acc)[kTokens][kPanels]) {
  for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value, kP = decltype(p)::value;
    _mm512_storeu_ps(run.y[kP] + kT * run.y_stride, acc[kT][kP]);
  });
}

// Fetches weights while others are multiplied: the same bytes with each 32 columns, since all lines
// of a tile of 256 at once are more than a core can wait for. Into the second-level cache: what is
// on its way to the first keeps loads from the second waiting (measured on Zen 4).
class Fetch {
 public:
  template <int kPanels>
  explicit Fetch(const PanelRun<kPanels>& run)
      : ahead_(run.ahead), due_(run.ahead), step_(run.ahead_step) {}
  SAMPAN_INLINE void next_columns() {
    due_ += step_;
    for (; ahead_ < due_; ahead_ += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(ahead_), _MM_HINT_T1);
    }
  }

 private:
  const std::uint8_t* ahead_;
  const std::uint8_t* due_;
  std::int64_t step_;
};

// Formats with blocks of 32 columns.
template <typename F, typename Codes, int kTokens, int kPanels>
[[gnu::noinline]] void run_block32(const PanelRun<kPanels>& run) {
  const std::byte* x[kTokens];
  __m512 acc[kTokens][kPanels];
  start(run, x, acc);
  std::int64_t header_offset = 0;
  std::int64_t codes_offset = 0;
  Fetch fetch(run);
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    fetch.next_columns();
    Sums<kTokens, kPanels> sums;
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      __m512i zero = _mm512_setzero_si512();
      if constexpr (F::kZeroShift >= 0) {
        zero = _mm512_slli_epi32(broadcast4(x[kT] + offsetof(ActivationBlock32, minus_sum)),
                                 F::kZeroShift);
      }
      unroll<kPanels>([&](auto p) SAMPAN_INLINE { sums.at[kT][decltype(p)::value] = zero; });
    });
    add_products<Codes, 32, 0, 8>(run.codes, codes_offset, x, sums);
    unroll<kPanels>([&](auto p) SAMPAN_INLINE {
      constexpr int kP = decltype(p)::value;
      const __m512 scales = F::scales(run.header[kP] + header_offset);
      if constexpr (F::kZeroPoints) {  // |Σ q| < 2^15, so products of 16 bits are enough
        const __m512i zeros = F::zeros(run.header[kP] + header_offset);
        unroll<kTokens>([&](auto t) SAMPAN_INLINE {
          constexpr int kT = decltype(t)::value;
          const __m512i minus_sum = broadcast4(x[kT] + offsetof(ActivationBlock32, minus_sum));
          sums.at[kT][kP] = _mm512_dpwssd_epi32(sums.at[kT][kP], zeros, minus_sum);
        });
      }
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m512 d = broadcast_float(x[kT] + offsetof(ActivationBlock32, d));
        acc[kT][kP] = _mm512_fmadd_ps(_mm512_mul_ps(scales, d), _mm512_cvtepi32_ps(sums.at[kT][kP]),
                                      acc[kT][kP]);
        if constexpr (F::kMinimum) {
          const __m512 minima = F::minima(run.header[kP] + header_offset);
          const __m512 sum = broadcast_float(x[kT] + offsetof(ActivationBlock32, sum));
          acc[kT][kP] = _mm512_fmadd_ps(_mm512_mul_ps(minima, d), sum, acc[kT][kP]);
        }
      });
    });
    header_offset += kPanelFormats[static_cast<int>(F::kType)].header_bytes;
    codes_offset += Codes::kGroupBytes;
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { x[decltype(t)::value] += sizeof(ActivationBlock32); });
  }
  finish(run, acc);
}

// dots = Σ over pairs of sub-blocks of pairs(pair, panel) · sums of x.
template <typename F, int kTokens, int kPanels, typename Pairs>
SAMPAN_INLINE inline void dot_with_sums(Pairs pairs, const std::byte* const (&x)[kTokens],
                                        Sums<kTokens, kPanels>& dots) {
  constexpr int kOffset =
      F::kSub == 16 ? offsetof(ActivationBlock256, sums16) : offsetof(ActivationBlock256, sums32);
  for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
    dots.at[decltype(t)::value][decltype(p)::value] = _mm512_setzero_si512();
  });
  unroll<128 / F::kSub>([&](auto i) SAMPAN_INLINE {
    constexpr int kI = decltype(i)::value;
    __m512i pair[kPanels];
    unroll<kPanels>(
        [&](auto p) SAMPAN_INLINE { pair[decltype(p)::value] = pairs(kI, decltype(p)::value); });
    for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value, kP = decltype(p)::value;
      dots.at[kT][kP] =
          _mm512_dpwssd_epi32(dots.at[kT][kP], pair[kP], broadcast4(x[kT] + kOffset + 4 * kI));
    });
  });
}

// sums += scales times the products of one sub-block.
template <typename F, typename Codes, int kFirst, int kCount, int kTokens, int kPanels>
SAMPAN_INLINE inline void add_sub_block(const std::uint8_t* const (&codes)[kPanels],
                                        std::int64_t offset, const std::byte* const (&x)[kTokens],
                                        const __m512i (&scales)[kPanels],
                                        Sums<kTokens, kPanels>& sums) {
  Sums<kTokens, kPanels> products;
  for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
    products.at[decltype(t)::value][decltype(p)::value] = _mm512_setzero_si512();
  });
  add_products<Codes, F::kSub, kFirst, kCount>(codes, offset, x, products);
  for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value, kP = decltype(p)::value;
    sums.at[kT][kP] =
        _mm512_add_epi32(sums.at[kT][kP], _mm512_mullo_epi32(products.at[kT][kP], scales[kP]));
  });
}

// The same of the two sub-blocks of a pair, whose codes start at offset and whose activations at x.
template <typename F, typename Codes, int kTokens, int kPanels>
SAMPAN_INLINE inline void add_pair(const PanelRun<kPanels>& run, std::int64_t header_offset,
                                   int pair, std::int64_t offset,
                                   const std::byte* const (&x)[kTokens], Fetch& fetch,
                                   Sums<kTokens, kPanels>& sums) {
  fetch.next_columns();
  __m512i first[kPanels], second[kPanels];
  unroll<kPanels>([&](auto p) SAMPAN_INLINE {
    constexpr int kP = decltype(p)::value;
    const __m512i scales = F::scale_pairs(run.header[kP] + header_offset, pair);
    first[kP] = _mm512_srai_epi32(_mm512_slli_epi32(scales, 16), 16);
    second[kP] = _mm512_srai_epi32(scales, 16);
  });
  if constexpr (F::kSub == 16) {
    add_sub_block<F, Codes, 0, 4>(run.codes, offset, x, first, sums);
    add_sub_block<F, Codes, 4, 4>(run.codes, offset, x, second, sums);
  } else {
    const std::byte* next[kTokens];
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { next[decltype(t)::value] = x[decltype(t)::value] + 32; });
    add_sub_block<F, Codes, 0, 8>(run.codes, offset, x, first, sums);
    fetch.next_columns();
    add_sub_block<F, Codes, 0, 8>(run.codes, offset + Codes::kGroupBytes, next, second, sums);
  }
}

// Formats with super-blocks of 256 columns.
template <typename F, typename Codes, int kTokens, int kPanels>
[[gnu::noinline]] void run_block256(const PanelRun<kPanels>& run) {
  const std::byte* x[kTokens];
  __m512 acc[kTokens][kPanels];
  start(run, x, acc);
  std::int64_t header_offset = 0;
  std::int64_t codes_offset = 0;
  Fetch fetch(run);
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    Sums<kTokens, kPanels> sums;
    for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
      sums.at[decltype(t)::value][decltype(p)::value] = _mm512_setzero_si512();
    });
    const std::byte* q[kTokens];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE { q[decltype(t)::value] = x[decltype(t)::value]; });
    for (int pair = 0; pair < 128 / F::kSub; ++pair) {
      add_pair<F, Codes>(run, header_offset, pair, codes_offset, q, fetch, sums);
      codes_offset += Codes::kGroupBytes * (F::kSub / 16);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE { q[decltype(t)::value] += 2 * F::kSub; });
    }
    if constexpr (F::kZeroShift >= 0) {
      Sums<kTokens, kPanels> zero;
      dot_with_sums<F>(
          [&](int pair, int panel)
              SAMPAN_INLINE { return F::scale_pairs(run.header[panel] + header_offset, pair); },
          x, zero);
      for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
        __m512i& sum = sums.at[decltype(t)::value][decltype(p)::value];
        const __m512i& z = zero.at[decltype(t)::value][decltype(p)::value];
        sum = _mm512_sub_epi32(sum, _mm512_slli_epi32(z, F::kZeroShift));
      });
    }
    for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value, kP = decltype(p)::value;
      const __m512 d = broadcast_float(x[kT] + offsetof(ActivationBlock256, d));
      acc[kT][kP] = _mm512_fmadd_ps(_mm512_mul_ps(load_halves(run.header[kP] + header_offset), d),
                                    _mm512_cvtepi32_ps(sums.at[kT][kP]), acc[kT][kP]);
    });
    if constexpr (F::kMinimum) {
      Sums<kTokens, kPanels> minima;
      dot_with_sums<F>(
          [&](int pair, int panel)
              SAMPAN_INLINE { return F::minimum_pairs(run.header[panel] + header_offset, pair); },
          x, minima);
      for_each_sum<kTokens, kPanels>([&](auto t, auto p) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value, kP = decltype(p)::value;
        const __m512 d = broadcast_float(x[kT] + offsetof(ActivationBlock256, d));
        const __m512 scale = load_halves(run.header[kP] + header_offset + 32);
        acc[kT][kP] = _mm512_fnmadd_ps(_mm512_mul_ps(scale, d),
                                       _mm512_cvtepi32_ps(minima.at[kT][kP]), acc[kT][kP]);
      });
    }
    header_offset += kPanelFormats[static_cast<int>(F::kType)].header_bytes;
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { x[decltype(t)::value] += sizeof(ActivationBlock256); });
  }
  finish(run, acc);
}

}  // namespace
}  // namespace sampan
