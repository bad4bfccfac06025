#pragma once

#include "kernels/avx2/panel_run.h"

// Sums of codes times activations, as avx2/add_products.h has them, by vpdpbusd: four products at
// once into 32-bit sums. Of a format F and of Codes, which are F's own, UnpackedCodes or SignCodes.
namespace sampan {
namespace {

// What sums of a sub-block are multiplied by, of the sub-scales of a pair of them (8 rows, 2):
// 32-bit numbers.
SAMPAN_INLINE inline __m256i first_multiplier(__m256i pairs) {
  return _mm256_srai_epi32(_mm256_slli_epi32(pairs, 16), 16);
}
SAMPAN_INLINE inline __m256i second_multiplier(__m256i pairs) {
  return _mm256_srai_epi32(pairs, 16);
}

// sums[t][h] += Σ of codes times x over column groups kFirst … kFirst + kCount - 1 (in column_group
// order).
template <typename F, typename Codes, int kTokens, int kFirst, int kCount, typename Fetch>
SAMPAN_INLINE inline void add_plain_products(const std::uint8_t* codes, const Fetch& ahead,
                                             const std::byte* const (&x)[kTokens],
                                             __m256i (&sums)[kTokens][2]) {
  constexpr bool kIsSplit = std::is_same_v<Codes, SignCodes>;
  constexpr bool kIsSigned = F::kRun == 0;
  constexpr int kOrder = kIsSigned ? 32 : F::kSub;
  if constexpr (kIsSplit) {
    static_assert(kFirst == 0 && kCount == 8);
    unroll<2 * kTokens>([&](auto i) SAMPAN_INLINE {
      constexpr int kT = decltype(i)::value / 2, kH = decltype(i)::value % 2;
      sums[kT][kH] = _mm256_add_epi32(sums[kT][kH], SignCodes::negative_sums(codes + 32 * kH));
    });
  }
  unroll<kCount>([&](auto i) SAMPAN_INLINE {
    constexpr int kI = kFirst + decltype(i)::value;
    constexpr int kG = column_group<kOrder>(kI);
    ahead.template fetch<kI>();
    __m256i magnitude[2], sign[2];
    unroll<2>([&](auto h) SAMPAN_INLINE {
      constexpr int kH = decltype(h)::value;
      if constexpr (kIsSplit) {
        magnitude[kH] = SignCodes::magnitude<kG>(codes + 32 * kH);
        sign[kH] = SignCodes::sign<kG>(codes + 32 * kH);
      } else {
        sign[kH] = Codes::template group<kG>(codes + 32 * kH);
        magnitude[kH] = kIsSigned ? _mm256_abs_epi8(sign[kH]) : sign[kH];
      }
    });
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      const __m256i q = broadcast4(x[kT] + 4 * kG);
      unroll<2>([&](auto h) SAMPAN_INLINE {
        constexpr int kH = decltype(h)::value;
        __m256i signed_q = q;
        if constexpr (kIsSplit) {
          signed_q = _mm256_xor_si256(q, sign[kH]);
        } else if constexpr (kIsSigned) {
          signed_q = _mm256_sign_epi8(q, sign[kH]);
        }
        sums[kT][kH] = _mm256_dpbusd_avx_epi32(sums[kT][kH], magnitude[kH], signed_q);
      });
    });
  });
}

// sums[t][h] += multiplier[h] · the same. Multipliers of 32-wide blocks are ones.
template <typename F, typename Codes, int kTokens, int kFirst, int kCount, typename Fetch>
SAMPAN_INLINE inline void add_products(const std::uint8_t* codes, const Fetch& ahead,
                                       const std::byte* const (&x)[kTokens],
                                       const __m256i (&multiplier)[2],
                                       __m256i (&sums)[kTokens][2]) {
  if constexpr (kPanelFormats[static_cast<int>(F::kType)].tile_columns == 32) {
    add_plain_products<F, Codes, kTokens, kFirst, kCount>(codes, ahead, x, sums);
  } else {
    __m256i products[kTokens][2];
    unroll<2 * kTokens>([&](auto i) SAMPAN_INLINE {
      products[decltype(i)::value / 2][decltype(i)::value % 2] = _mm256_setzero_si256();
    });
    add_plain_products<F, Codes, kTokens, kFirst, kCount>(codes, ahead, x, products);
    unroll<2 * kTokens>([&](auto i) SAMPAN_INLINE {
      constexpr int kT = decltype(i)::value / 2, kH = decltype(i)::value % 2;
      sums[kT][kH] =
          _mm256_add_epi32(sums[kT][kH], _mm256_mullo_epi32(products[kT][kH], multiplier[kH]));
    });
  }
}

}  // namespace
}  // namespace sampan
