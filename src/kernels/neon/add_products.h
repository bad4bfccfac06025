#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/neon/matmul_formats.h"
#include "kernels/unroll.h"

// Sums of codes times activations by sdot: four products of bytes into each 32-bit sum.
namespace sampan {
namespace {

// What unpack_panel() makes of any codes: those of a register as they are multiplied.
struct UnpackedCodes : ByteCodes {};

// Stores 16 rows of 32 columns, unpacked.
template <typename Codes>
SAMPAN_INLINE inline void unpack_group(const std::uint8_t* codes, std::uint8_t* out) {
  unroll<8 * 4>([&](auto n) SAMPAN_INLINE {
    constexpr int kG = decltype(n)::value / 4, kQuarter = decltype(n)::value % 4;
    vst1q_s8(reinterpret_cast<std::int8_t*>(out + 64 * kG + 16 * kQuarter),
             Codes::template group<kG>(codes, kQuarter));
  });
}

// sums[t][i] += codes times x over column groups kFirst … kFirst + kCount - 1, for quarters 2 half
// + i. kCount is a multiple of 4: a register of x serves 4 groups.
template <typename Codes, int kFirst, int kCount, int kTokens>
SAMPAN_INLINE inline void add_products(const std::uint8_t* codes, int half,
                                       const std::byte* const (&x)[kTokens],
                                       int32x4_t (&sums)[kTokens][2]) {
  unroll<kCount / 4>([&](auto part) SAMPAN_INLINE {
    constexpr int kPart = kFirst + 4 * decltype(part)::value;
    int8x16_t q[kTokens];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      q[decltype(t)::value] =
          vld1q_s8(reinterpret_cast<const std::int8_t*>(x[decltype(t)::value] + 4 * kPart));
    });
    unroll<4 * 2>([&](auto n) SAMPAN_INLINE {
      constexpr int kG = decltype(n)::value / 2, kI = decltype(n)::value % 2;
      const int8x16_t w = Codes::template group<kPart + kG>(codes, 2 * half + kI);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        sums[kT][kI] = vdotq_laneq_s32(sums[kT][kI], w, q[kT], kG);
      });
    });
  });
}

}  // namespace
}  // namespace sampan
