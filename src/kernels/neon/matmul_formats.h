#pragma once

#include <arm_neon.h>

#include <array>
#include <cstdint>

#include "kernels/panels.h"
#include "tensor/blocks.h"

// Block formats as the NEON kernels of matmul_panels.h see them. A register holds (4 rows, 4
// columns) of signed codes: a quarter of a panel's 64 bytes, so `quarter` numbers rows 4 quarter to
// 4 quarter + 3.
namespace sampan {
namespace {

// --- codes: group<g>() is a quarter of column group g of 32 columns at p.

inline uint8x16_t load_quarter(const std::uint8_t* p, int line, int quarter) {
  return vld1q_u8(p + 64 * line + 16 * quarter);
}

// Bits at kMask of v, moved there from kFrom bits above (or below, if negative).
template <int kFrom, int kMask>
inline uint8x16_t moved_bits(uint8x16_t v) {
  if constexpr (kFrom > 0) v = vshrq_n_u8(v, kFrom);
  if constexpr (kFrom < 0) v = vshlq_n_u8(v, -kFrom);
  return vandq_u8(v, vdupq_n_u8(kMask));
}

// Whole bytes, as in Q8_0 panels.
struct ByteCodes {
  static constexpr int kGroupBytes = 512;
  template <int kG>
  static int8x16_t group(const std::uint8_t* p, int quarter) {
    return vreinterpretq_s8_u8(load_quarter(p, kG, quarter));
  }
};

template <int kG>
inline uint8x16_t nibbles(const std::uint8_t* p, int quarter) {
  const uint8x16_t v = load_quarter(p, kG % 4, quarter);
  return kG < 4 ? vandq_u8(v, vdupq_n_u8(15)) : vshrq_n_u8(v, 4);
}

struct NibbleCodes {
  static constexpr int kGroupBytes = 256;
  template <int kG>
  static int8x16_t group(const std::uint8_t* p, int quarter) {
    return vreinterpretq_s8_u8(nibbles<kG>(p, quarter));
  }
};

// Nibbles that number the 16 values of a table.
template <const std::array<std::int8_t, 16>& kTable>
struct TableCodes {
  static constexpr int kGroupBytes = 256;
  template <int kG>
  static int8x16_t group(const std::uint8_t* p, int quarter) {
    const auto* const values = reinterpret_cast<const std::int8_t*>(&kTable);
    return vqtbl1q_s8(vld1q_s8(values), nibbles<kG>(p, quarter));
  }
};

struct FiveBitCodes {
  static constexpr int kGroupBytes = 320;
  template <int kG>
  static int8x16_t group(const std::uint8_t* p, int quarter) {
    const uint8x16_t fifth = moved_bits<kG - 4, 0x10>(load_quarter(p, 4, quarter));
    return vreinterpretq_s8_u8(vorrq_u8(nibbles<kG>(p, quarter), fifth));
  }
};

template <int kG>
inline uint8x16_t two_bits(const std::uint8_t* p, int quarter) {
  return moved_bits<2 * (kG % 4), 3>(load_quarter(p, kG / 4, quarter));
}

struct TwoBitCodes {
  static constexpr int kGroupBytes = 128;
  template <int kG>
  static int8x16_t group(const std::uint8_t* p, int quarter) {
    return vreinterpretq_s8_u8(two_bits<kG>(p, quarter));
  }
};

// Those below take off the zero as they unpack: less work than to correct the sums of sub-blocks.

// Less 4.
struct ThreeBitCodes {
  static constexpr int kGroupBytes = 192;
  template <int kG>
  static int8x16_t group(const std::uint8_t* p, int quarter) {
    const uint8x16_t third = moved_bits<kG - 2, 4>(load_quarter(p, 2, quarter));
    const uint8x16_t codes = vorrq_u8(two_bits<kG>(p, quarter), third);
    return vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(4));
  }
};

// Less 32.
struct SixBitCodes {
  static constexpr int kGroupBytes = 384;
  template <int kG>
  static int8x16_t group(const std::uint8_t* p, int quarter) {
    const uint8x16_t high =
        moved_bits<2 * (kG % 4) - 4, 0x30>(load_quarter(p, 4 + kG / 4, quarter));
    const uint8x16_t codes = vorrq_u8(nibbles<kG>(p, quarter), high);
    return vsubq_s8(vreinterpretq_s8_u8(codes), vdupq_n_s8(32));
  }
};

// --- formats of 32 columns. kZeroShift: codes are above their values by 1 << kZeroShift (-1: by
// nothing). kZeroPoints: by zeros().

inline float32x4_t load_halves(const std::uint8_t* p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

template <DType kDType, typename Unpack, int kZero, bool kHasMinimum>
struct Format32 {
  using Codes = Unpack;
  static constexpr DType kType = kDType;
  static constexpr int kZeroShift = kZero;
  static constexpr bool kZeroPoints = false;
  static constexpr bool kMinimum = kHasMinimum;
  // Of a quarter's rows.
  static float32x4_t scales(const std::uint8_t* header, int quarter) {
    return load_halves(header + 8 * quarter);
  }
  static float32x4_t minima(const std::uint8_t* header, int quarter) {
    return load_halves(header + 32 + 8 * quarter);
  }
};

using Q4_0 = Format32<DType::kQ4_0, NibbleCodes, 3, false>;
using Q4_1 = Format32<DType::kQ4_1, NibbleCodes, -1, true>;
using Q5_0 = Format32<DType::kQ5_0, FiveBitCodes, 4, false>;
using Q5_1 = Format32<DType::kQ5_1, FiveBitCodes, -1, true>;
using Q8_0 = Format32<DType::kQ8_0, ByteCodes, -1, false>;
using Iq4Nl = Format32<DType::kIQ4_NL, TableCodes<kIQ4Values>, -1, false>;

// Four bytes as 32-bit numbers.
inline uint32x4_t load_bytes(const std::uint8_t* p) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  const uint16x8_t halves = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bits)));
  return vmovl_u16(vget_low_u16(halves));
}

struct Mxfp4 : Format32<DType::kMXFP4, TableCodes<kMXFP4Values>, -1, false> {
  // 2^(e - 128): exponent bits e - 1, but a subnormal for e = 0 and 1.
  static float32x4_t scales(const std::uint8_t* header, int quarter) {
    const uint32x4_t e = load_bytes(header + 4 * quarter);
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t small = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), small, normal));
  }
};

struct I4Zero : Format32<DType::kI4Zero, NibbleCodes, -1, false> {
  static constexpr bool kZeroPoints = true;
  static int32x4_t zeros(const std::uint8_t* header, int quarter) {
    return vreinterpretq_s32_u32(load_bytes(header + 32 + 4 * quarter));
  }
};

struct I8Zero : Format32<DType::kI8Zero, ByteCodes, -1, false> {
  static constexpr bool kZeroPoints = true;
  static float32x4_t scales(const std::uint8_t* header, int quarter) {
    return vreinterpretq_f32_u8(vld1q_u8(header + 16 * quarter));
  }
  static int32x4_t zeros(const std::uint8_t* header, int quarter) {
    const uint32x4_t bytes = load_bytes(header + 64 + 4 * quarter);
    return vsubq_s32(vreinterpretq_s32_u32(bytes), vdupq_n_s32(128));
  }
};

struct F8Block : Format32<DType::kF8Block, ByteCodes, -1, false> {
  static float32x4_t scales(const std::uint8_t* header, int quarter) {
    const uint32x4_t powers = vshlq_n_u32(load_bytes(header + 4 * quarter), 23);
    float scale;
    __builtin_memcpy(&scale, header + kPanelRows, sizeof(scale));
    return vmulq_f32(vdupq_n_f32(scale), vreinterpretq_f32_u32(powers));
  }
};

// --- formats of 256 columns, kSubColumns a sub-block.

// A sub-block's scales or minima.
struct RowNumbers {
  int16x8_t first;   // rows 0 to 7
  int16x8_t second;  // rows 8 to 15
};

inline RowNumbers widen_unsigned(uint8x16_t v) {
  return {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v))), vreinterpretq_s16_u16(vmovl_high_u8(v))};
}
inline RowNumbers widen_signed(uint8x16_t v) {
  const int8x16_t numbers = vreinterpretq_s8_u8(v);
  return {vmovl_s8(vget_low_s8(numbers)), vmovl_high_s8(numbers)};
}

template <DType kDType, typename Unpack, bool kHasMinimum, int kSubColumns>
struct Format256 {
  using Codes = Unpack;
  static constexpr DType kType = kDType;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr int kSub = kSubColumns;
  static constexpr int kScalesOffset = kHasMinimum ? 64 : 32;  // in the header, after d (and dmin)

  // Numbers of the first or second sub-block of a pair, each with 16 rows.
  static void scale_pair(const std::uint8_t* header, int pair, RowNumbers (&out)[2]) {
    const uint8x16x2_t bytes = vld2q_u8(header + kScalesOffset + 32 * pair);
    for (int i = 0; i < 2; ++i) {
      out[i] = kHasMinimum ? widen_unsigned(bytes.val[i]) : widen_signed(bytes.val[i]);
    }
  }
  static void minimum_pair(const std::uint8_t* header, int pair, RowNumbers (&out)[2]) {
    const uint8x16x2_t bytes = vld2q_u8(header + 192 + 32 * pair);
    for (int i = 0; i < 2; ++i) out[i] = widen_unsigned(bytes.val[i]);
  }
};

using Q3K = Format256<DType::kQ3_K, ThreeBitCodes, false, 16>;
using Q4K = Format256<DType::kQ4_K, NibbleCodes, true, 32>;
using Q5K = Format256<DType::kQ5_K, FiveBitCodes, true, 32>;
using Q6K = Format256<DType::kQ6_K, SixBitCodes, false, 16>;
using Iq4Xs = Format256<DType::kIQ4_XS, TableCodes<kIQ4Values>, false, 32>;

struct Q2K : Format256<DType::kQ2_K, TwoBitCodes, true, 16> {
  static void scale_pair(const std::uint8_t* header, int pair, RowNumbers (&out)[2]) {
    const uint8x16x2_t bytes = vld2q_u8(header + kScalesOffset + 32 * pair);
    for (int i = 0; i < 2; ++i) out[i] = widen_unsigned(vandq_u8(bytes.val[i], vdupq_n_u8(15)));
  }
  static void minimum_pair(const std::uint8_t* header, int pair, RowNumbers (&out)[2]) {
    const uint8x16x2_t bytes = vld2q_u8(header + kScalesOffset + 32 * pair);
    for (int i = 0; i < 2; ++i) out[i] = widen_unsigned(vshrq_n_u8(bytes.val[i], 4));
  }
};

}  // namespace
}  // namespace sampan
