#pragma once

#include "kernels/avx2/panel_run.h"

// Sums of codes times activations. Of a format F and of Codes, which are F's own, UnpackedCodes or
// SignCodes. Unsigned codes: maddubs gives 16-bit sums of two products, several of which are added
// before a madd widens them (and multiplies by the sub-scale). Signed ones: |w| times x with w's
// sign, widened at once.
namespace sampan {
namespace {

// Keeps the compiler from regrouping a chain of integer additions into a tree, whose products would
// not fit the registers.
SAMPAN_INLINE inline void fix_order(__m256i& sum) { asm("" : "+x"(sum)); }

// What sums of a sub-block are multiplied by, of the sub-scales of a pair of them (8 rows, 2): here
// (a, b) pairs of 16-bit numbers to (a, a), (b, b).
SAMPAN_INLINE inline __m256i first_multiplier(__m256i v) {
  return _mm256_or_si256(_mm256_slli_epi32(v, 16),
                         _mm256_blend_epi16(v, _mm256_setzero_si256(), 0xAA));
}
SAMPAN_INLINE inline __m256i second_multiplier(__m256i v) {
  return _mm256_or_si256(_mm256_srli_epi32(v, 16),
                         _mm256_blend_epi16(v, _mm256_setzero_si256(), 0x55));
}

// sums[t][h] += multiplier[h] · Σ of codes times x over column groups kFirst … kFirst + kCount - 1
// (in column_group order).
template <typename F, typename Codes, int kTokens, int kFirst, int kCount, typename Fetch>
SAMPAN_INLINE inline void add_products(const std::uint8_t* codes, const Fetch& ahead,
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
      ahead.template fetch<kFirst + decltype(i)::value>();
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
      ahead.template fetch<kI>();
      ahead.template fetch<kI + 1>();
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
    add_products<F, Codes, kTokens, kFirst, F::kRun>(codes, ahead, x, multiplier, sums);
    add_products<F, Codes, kTokens, kFirst + F::kRun, kCount - F::kRun>(codes, ahead, x, multiplier,
                                                                        sums);
  } else {
    __m256i run[kTokens][2];
    unroll<kCount>([&](auto i) SAMPAN_INLINE {
      constexpr int kI = decltype(i)::value;
      constexpr int kG = column_group<F::kSub>(kFirst + kI);
      ahead.template fetch<kFirst + kI>();
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

}  // namespace
}  // namespace sampan
