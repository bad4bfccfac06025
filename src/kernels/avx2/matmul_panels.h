#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/avx2/matmul_formats.h"
#include "kernels/matmul_table.h"
#include "kernels/unroll.h"

// Products of one panel with a few tokens. Of a format F and of Codes, which are F's own,
// UnpackedCodes or SignCodes. Unsigned codes: maddubs gives 16-bit sums of two
// products, several of which are added before a madd widens them (and multiplies by the sub-scale).
// Signed ones: |w| times x with w's sign, widened at once.
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
  // Codes that come from memory: what is fetched while they are multiplied; is_cold: it is not in
  // the caches yet.
  const std::uint8_t* ahead;
  bool is_cold;
};

// How far ahead of a panel's codes weights are fetched: more than memory's latency times a core's
// share of its speed, not many more lines than a core can wait for. One token goes through its
// weights so fast that memory itself is the limit, and there less is better.
constexpr std::int64_t kFetchBytes = 2048;
constexpr std::int64_t kFetchBytesOfOne = 512;

SAMPAN_INLINE inline void fetch_line(const std::uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

// Fetches weights while others are multiplied: some lines with each column group, since all lines
// of a tile at once are more than a core can wait for. Nothing for codes that are in a cache.
template <typename F, typename Codes>
class Stream {
 public:
  explicit Stream(const PanelRun& run)
      : ahead_(run.ahead), line_step_(run.is_cold ? kBytes / kLines : 0) {}

  // With column group kGroup of 32 columns.
  template <int kGroup>
  SAMPAN_INLINE void fetch() const {
    if constexpr (kIsFromMemory) {
      constexpr int kFrom = kGroup * kLines / 8, kTo = (kGroup + 1) * kLines / 8;
      unroll<kTo - kFrom>([&](auto i) SAMPAN_INLINE {
        fetch_line(ahead_ + (kFrom + decltype(i)::value) * line_step_);
      });
    }
  }
  SAMPAN_INLINE void next_columns() {
    if constexpr (kIsFromMemory) ahead_ += kLines * line_step_;
  }

 private:
  static constexpr bool kIsFromMemory = std::is_same_v<Codes, typename F::Codes>;
  static constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(F::kType)];
  // Header and codes of 32 columns.
  static constexpr int kBytes =
      (kFormat.header_bytes + kFormat.code_bytes) * 32 / kFormat.tile_columns;
  static constexpr int kLines = (kBytes + 63) / 64;

  const std::uint8_t* ahead_;
  std::int64_t line_step_;
};

// Column groups in the order in which they are taken: both nibbles of a byte together where their
// sub-block is the same.
template <int kSub>
constexpr int column_group(int i) {
  return kSub == 16 ? i : i / 2 + (i % 2) * 4;
}

// Keeps the compiler from regrouping a chain of integer additions into a tree, whose products would
// not fit the registers.
SAMPAN_INLINE inline void fix_order(__m256i& sum) { asm("" : "+x"(sum)); }

SAMPAN_INLINE inline __m256i broadcast4(const std::byte* p) {
  int bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm256_set1_epi32(bits);
}

SAMPAN_INLINE inline __m256 broadcast_float(const std::byte* p) {
  return _mm256_castsi256_ps(broadcast4(p));
}

// sums[t][h] += multiplier[h] · Σ of codes times x over column groups kFirst … kFirst + kCount - 1
// (in column_group order).
template <typename F, typename Codes, int kTokens, int kFirst, int kCount>
SAMPAN_INLINE inline void add_products(const std::uint8_t* codes, const Stream<F, Codes>& stream,
                                       const std::byte* const (&x)[kTokens],
                                       const __m256i (&multiplier)[2],
                                       __m256i (&sums)[kTokens][2]) {
  if constexpr (std::is_same_v<Codes, SignCodes>) {
    static_assert(kFirst == 0 && kCount == 8);
    unroll<2>([&](auto h) SAMPAN_INLINE {
      constexpr int kH = decltype(h)::value;
      const __m256i lacking =
          _mm256_madd_epi16(SignCodes::negative_sums(codes + 32 * kH), multiplier[kH]);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        __m256i& sum = sums[decltype(t)::value][kH];
        sum = _mm256_add_epi32(sum, lacking);
      });
    });
    unroll<kCount>([&](auto i) SAMPAN_INLINE {
      constexpr int kG = column_group<32>(decltype(i)::value);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m256i q = broadcast4(x[kT] + 4 * kG);
        unroll<2>([&](auto h) SAMPAN_INLINE {
          constexpr int kH = decltype(h)::value;
          const std::uint8_t* const half = codes + 32 * kH;
          const __m256i turned = _mm256_xor_si256(q, SignCodes::sign<kG>(half));
          const __m256i products = _mm256_maddubs_epi16(SignCodes::magnitude<kG>(half), turned);
          sums[kT][kH] =
              _mm256_add_epi32(sums[kT][kH], _mm256_madd_epi16(products, multiplier[kH]));
          fix_order(sums[kT][kH]);
        });
      });
    });
  } else if constexpr (F::kRun == 0) {
    unroll<kCount>([&](auto i) SAMPAN_INLINE {
      constexpr int kG = column_group<32>(kFirst + decltype(i)::value);
      stream.template fetch<kFirst + decltype(i)::value>();
      __m256i w[2], magnitude[2];
      unroll<2>([&](auto h) SAMPAN_INLINE {
        constexpr int kH = decltype(h)::value;
        w[kH] = Codes::template group<kG>(codes + 32 * kH);
        magnitude[kH] = _mm256_abs_epi8(w[kH]);
      });
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m256i q = broadcast4(x[kT] + 4 * kG);
        unroll<2>([&](auto h) SAMPAN_INLINE {
          constexpr int kH = decltype(h)::value;
          const __m256i products = _mm256_maddubs_epi16(magnitude[kH], _mm256_sign_epi8(q, w[kH]));
          sums[kT][kH] =
              _mm256_add_epi32(sums[kT][kH], _mm256_madd_epi16(products, multiplier[kH]));
          fix_order(sums[kT][kH]);
        });
      });
    });
  } else if constexpr (F::kRun == 2) {
    // Two groups of a token at once, so that sums stay in registers: through memory one addition
    // would wait for the other.
    unroll<kCount / 2>([&](auto i) SAMPAN_INLINE {
      constexpr int kI = kFirst + 2 * decltype(i)::value;
      constexpr int kG = column_group<F::kSub>(kI), kNext = column_group<F::kSub>(kI + 1);
      stream.template fetch<kI>();
      stream.template fetch<kI + 1>();
      __m256i w[2], next[2];
      unroll<2>([&](auto h) SAMPAN_INLINE {
        constexpr int kH = decltype(h)::value;
        w[kH] = Codes::template group<kG>(codes + 32 * kH);
        next[kH] = Codes::template group<kNext>(codes + 32 * kH);
      });
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m256i q = broadcast4(x[kT] + 4 * kG), q_next = broadcast4(x[kT] + 4 * kNext);
        unroll<2>([&](auto h) SAMPAN_INLINE {
          constexpr int kH = decltype(h)::value;
          const __m256i run = _mm256_add_epi16(_mm256_maddubs_epi16(w[kH], q),
                                               _mm256_maddubs_epi16(next[kH], q_next));
          sums[kT][kH] = _mm256_add_epi32(sums[kT][kH], _mm256_madd_epi16(run, multiplier[kH]));
          fix_order(sums[kT][kH]);
        });
      });
    });
  } else if constexpr (kCount > F::kRun) {
    add_products<F, Codes, kTokens, kFirst, F::kRun>(codes, stream, x, multiplier, sums);
    add_products<F, Codes, kTokens, kFirst + F::kRun, kCount - F::kRun>(codes, stream, x,
                                                                        multiplier, sums);
  } else {
    __m256i run[kTokens][2];
    unroll<kCount>([&](auto i) SAMPAN_INLINE {
      constexpr int kI = decltype(i)::value;
      constexpr int kG = column_group<F::kSub>(kFirst + kI);
      stream.template fetch<kFirst + kI>();
      __m256i w[2];
      unroll<2>([&](auto h) SAMPAN_INLINE {
        constexpr int kH = decltype(h)::value;
        w[kH] = Codes::template group<kG>(codes + 32 * kH);
      });
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m256i q = broadcast4(x[kT] + 4 * kG);
        unroll<2>([&](auto h) SAMPAN_INLINE {
          constexpr int kH = decltype(h)::value;
          const __m256i products = _mm256_maddubs_epi16(w[kH], q);
          run[kT][kH] = kI == 0 ? products : _mm256_add_epi16(run[kT][kH], products);
          fix_order(run[kT][kH]);
        });
      });
    });
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      unroll<2>([&](auto h) SAMPAN_INLINE {
        constexpr int kH = decltype(h)::value;
        sums[kT][kH] =
            _mm256_add_epi32(sums[kT][kH], _mm256_madd_epi16(run[kT][kH], multiplier[kH]));
        fix_order(sums[kT][kH]);
      });
    });
  }
}

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
template <typename F, typename Codes, int kTokens>
[[gnu::noinline]] void run_block32(const PanelRun& run) {
  const std::byte* x[kTokens];
  __m256 acc[kTokens][2];
  start(run, x, acc);
  const std::uint8_t* header = run.header;
  const std::uint8_t* codes = run.codes;
  const __m256i ones[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
  Stream<F, Codes> stream(run);
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    __m256i sums[kTokens][2];
    start_sums<F>(header, x, sums);
    add_products<F, Codes, kTokens, 0, 8>(codes, stream, x, ones, sums);
    stream.next_columns();
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

// (a, b) pairs of 16-bit numbers to (a, a), (b, b).
SAMPAN_INLINE inline __m256i first_of_pairs(__m256i v) {
  return _mm256_or_si256(_mm256_slli_epi32(v, 16),
                         _mm256_blend_epi16(v, _mm256_setzero_si256(), 0xAA));
}
SAMPAN_INLINE inline __m256i second_of_pairs(__m256i v) {
  return _mm256_or_si256(_mm256_srli_epi32(v, 16),
                         _mm256_blend_epi16(v, _mm256_setzero_si256(), 0x55));
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
template <typename F, typename Codes, int kTokens>
SAMPAN_INLINE inline void add_pair(const std::uint8_t* header, const std::uint8_t* codes, int pair,
                                   Stream<F, Codes>& stream, const std::byte* const (&x)[kTokens],
                                   __m256i (&sums)[kTokens][2]) {
  __m256i first[2], second[2];
  unroll<2>([&](auto h) SAMPAN_INLINE {
    constexpr int kH = decltype(h)::value;
    const __m256i scales = F::scale_pairs(header, pair, kH);
    first[kH] = first_of_pairs(scales);
    second[kH] = second_of_pairs(scales);
  });
  if constexpr (F::kSub == 16) {
    add_products<F, Codes, kTokens, 0, 4>(codes, stream, x, first, sums);
    add_products<F, Codes, kTokens, 4, 4>(codes, stream, x, second, sums);
  } else {
    const std::byte* next[kTokens];
    unroll<kTokens>([&](auto t)
                        SAMPAN_INLINE { next[decltype(t)::value] = x[decltype(t)::value] + 32; });
    add_products<F, Codes, kTokens, 0, 8>(codes, stream, x, first, sums);
    stream.next_columns();
    add_products<F, Codes, kTokens, 0, 8>(codes + Codes::kGroupBytes, stream, next, second, sums);
  }
  stream.next_columns();
}

// Formats with super-blocks of 256 columns.
template <typename F, typename Codes, int kTokens>
[[gnu::noinline]] void run_block256(const PanelRun& run) {
  constexpr int kPairs = 128 / F::kSub;
  const std::byte* x[kTokens];
  __m256 acc[kTokens][2];
  start(run, x, acc);
  const std::uint8_t* header = run.header;
  const std::uint8_t* codes = run.codes;
  Stream<F, Codes> stream(run);
  for (std::int64_t tile = 0; tile < run.tiles; ++tile) {
    __m256i sums[kTokens][2] = {};
    const std::byte* q[kTokens];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE { q[decltype(t)::value] = x[decltype(t)::value]; });
    for (int pair = 0; pair < kPairs; ++pair) {
      add_pair<F, Codes, kTokens>(header, codes, pair, stream, q, sums);
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

template <typename F, typename Codes, int kTokens>
void run_tokens(const PanelRun& run) {
  if constexpr (kPanelFormats[static_cast<int>(F::kType)].tile_columns == 32) {
    run_block32<F, Codes, kTokens>(run);
  } else {
    run_block256<F, Codes, kTokens>(run);
  }
}

}  // namespace
}  // namespace sampan
