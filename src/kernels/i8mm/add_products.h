#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/neon/matmul_formats.h"
#include "kernels/unroll.h"

// Sums of codes times activations by smmla: eight products of bytes into each of the sums of two
// rows and two tokens. A single token takes sdot.
namespace sampan {
namespace {

// Two column groups of a quarter as smmla takes them: a row's 8 columns side by side.
struct RowPairs {
  int8x16_t first;   // rows 0 and 1
  int8x16_t second;  // rows 2 and 3
};

// What unpack_panel() makes of any codes: (group pair, 2 row pairs of a quarter, 4 quarters, 2
// rows, 8 columns).
struct UnpackedCodes {
  static constexpr int kGroupBytes = ByteCodes::kGroupBytes;
  template <int kG>
  static std::int64_t place(int rows, int quarter) {
    return 64 * (kG + rows) + 16 * quarter;
  }
};

// Column groups kG and kG + 1, kG even.
template <typename Codes, int kG>
SAMPAN_INLINE inline RowPairs row_pairs(const std::uint8_t* codes, int quarter) {
  if constexpr (std::is_same_v<Codes, UnpackedCodes>) {
    return {vreinterpretq_s8_u8(vld1q_u8(codes + Codes::template place<kG>(0, quarter))),
            vreinterpretq_s8_u8(vld1q_u8(codes + Codes::template place<kG>(1, quarter)))};
  } else {
    const int32x4_t left = vreinterpretq_s32_s8(Codes::template group<kG>(codes, quarter));
    const int32x4_t right = vreinterpretq_s32_s8(Codes::template group<kG + 1>(codes, quarter));
    return {vreinterpretq_s8_s32(vzip1q_s32(left, right)),
            vreinterpretq_s8_s32(vzip2q_s32(left, right))};
  }
}

// Stores 16 rows of 32 columns, unpacked.
template <typename Codes>
SAMPAN_INLINE inline void unpack_group(const std::uint8_t* codes, std::uint8_t* out) {
  unroll<4 * 4>([&](auto n) SAMPAN_INLINE {
    constexpr int kG = decltype(n)::value / 4 * 2, kQuarter = decltype(n)::value % 4;
    const RowPairs pairs = row_pairs<Codes, kG>(codes, kQuarter);
    const auto store = [=](int rows, int8x16_t v) SAMPAN_INLINE {
      vst1q_u8(out + UnpackedCodes::place<kG>(rows, kQuarter), vreinterpretq_u8_s8(v));
    };
    store(0, pairs.first);
    store(1, pairs.second);
  });
}

// 8 columns of two tokens.
SAMPAN_INLINE inline int8x16_t token_pair(const std::byte* first, const std::byte* second) {
  return vcombine_s8(vld1_s8(reinterpret_cast<const std::int8_t*>(first)),
                     vld1_s8(reinterpret_cast<const std::int8_t*>(second)));
}

// sums[t][i] += codes times x over column groups kFirst … kFirst + kCount - 1, for quarters 2 half
// + i. kFirst and kCount are multiples of 4.
template <typename Codes, int kFirst, int kCount, int kTokens>
SAMPAN_INLINE inline void add_products(const std::uint8_t* codes, int half,
                                       const std::byte* const (&x)[kTokens],
                                       int32x4_t (&sums)[kTokens][2]) {
  if constexpr (kTokens == 1) {
    unroll<kCount * 2>([&](auto n) SAMPAN_INLINE {
      constexpr int kG = kFirst + decltype(n)::value / 2, kI = decltype(n)::value % 2;
      const int8x16_t q =
          vreinterpretq_s8_s32(vld1q_dup_s32(reinterpret_cast<const std::int32_t*>(x[0] + 4 * kG)));
      sums[0][kI] = vdotq_s32(sums[0][kI], Codes::template group<kG>(codes, 2 * half + kI), q);
    });
  } else {
    // Of tokens 2 p and 2 p + 1; an odd last one is its own neighbour.
    constexpr int kPairs = (kTokens + 1) / 2;
    int32x4_t products[kPairs][2][2];  // of row pairs: (2 rows, 2 tokens)
    unroll<kPairs * 4>([&](auto n) SAMPAN_INLINE {
      constexpr int kN = decltype(n)::value;
      products[kN / 4][kN / 2 % 2][kN % 2] = vdupq_n_s32(0);
    });
    unroll<kCount / 2>([&](auto g) SAMPAN_INLINE {
      constexpr int kG = kFirst + 2 * decltype(g)::value;
      int8x16_t q[kPairs];
      unroll<kPairs>([&](auto p) SAMPAN_INLINE {
        constexpr int kT = 2 * decltype(p)::value, kNext = kT + 1 < kTokens ? kT + 1 : kT;
        q[decltype(p)::value] = token_pair(x[kT] + 4 * kG, x[kNext] + 4 * kG);
      });
      unroll<2>([&](auto i) SAMPAN_INLINE {
        constexpr int kI = decltype(i)::value;
        const RowPairs w = row_pairs<Codes, kG>(codes, 2 * half + kI);
        unroll<kPairs>([&](auto p) SAMPAN_INLINE {
          int32x4_t(&rows)[2] = products[decltype(p)::value][kI];
          rows[0] = vmmlaq_s32(rows[0], w.first, q[decltype(p)::value]);
          rows[1] = vmmlaq_s32(rows[1], w.second, q[decltype(p)::value]);
        });
      });
    });
    unroll<kTokens * 2>([&](auto n) SAMPAN_INLINE {
      constexpr int kT = decltype(n)::value / 2, kI = decltype(n)::value % 2;
      const int32x4_t(&rows)[2] = products[kT / 2][kI];
      const int32x4_t of_token =
          kT % 2 == 0 ? vuzp1q_s32(rows[0], rows[1]) : vuzp2q_s32(rows[0], rows[1]);
      sums[kT][kI] = vaddq_s32(sums[kT][kI], of_token);
    });
  }
}

}  // namespace
}  // namespace sampan
