#pragma once

#include <immintrin.h>

#include <array>
#include <cstdint>

#include "kernels/panels.h"
#include "tensor/blocks.h"

// Block formats as the AVX-512 kernels of matmul_panels.h see them: a register holds (16 rows, 4
// columns) of unsigned codes. Signed codes are raised by 128.
namespace sampan {
namespace {

inline __m512i load512(const std::uint8_t* p) { return _mm512_loadu_si512(p); }
inline __m512i bytes512(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }

// a | (b & mask)
inline __m512i or_masked(__m512i a, __m512i b, __m512i mask) {
  return _mm512_ternarylogic_epi64(a, b, mask, 0xF8);
}

// v moved down by kBits (or up, if negative); what crosses a byte is for the caller to mask off.
template <int kBits>
inline __m512i moved(__m512i v) {
  if constexpr (kBits > 0) return _mm512_srli_epi16(v, kBits);
  if constexpr (kBits < 0) return _mm512_slli_epi16(v, -kBits);
  return v;
}

// --- codes: group<g>() is column group g of 32 columns at p.

// What unpack_panel() makes of the others.
struct ByteCodes {
  static constexpr int kGroupBytes = 512;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    return load512(p + 64 * kG);
  }
};

// Q8_0.
struct RaisedByteCodes {
  static constexpr int kGroupBytes = 512;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    return _mm512_xor_si512(load512(p + 64 * kG), bytes512(0x80));
  }
};

struct NibbleCodes {
  static constexpr int kGroupBytes = 256;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    return _mm512_and_si512(moved<kG / 4 * 4>(load512(p + 64 * (kG % 4))), bytes512(15));
  }
};

// Nibbles that number the 16 values of a table.
template <const std::array<std::int8_t, 16>& kTable, int kRaise>
struct TableCodes {
  static constexpr int kGroupBytes = 256;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&kTable));
    const __m128i raised = _mm_add_epi8(values, _mm_set1_epi8(static_cast<char>(kRaise)));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(raised), NibbleCodes::group<kG>(p));
  }
};

struct FiveBitCodes {
  static constexpr int kGroupBytes = 320;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    return or_masked(NibbleCodes::group<kG>(p), moved<kG - 4>(load512(p + 256)), bytes512(0x10));
  }
};

struct SixBitCodes {
  static constexpr int kGroupBytes = 384;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    const __m512i high = load512(p + 256 + 64 * (kG / 4));
    return or_masked(NibbleCodes::group<kG>(p), moved<2 * (kG % 4) - 4>(high), bytes512(0x30));
  }
};

struct TwoBitCodes {
  static constexpr int kGroupBytes = 128;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    return _mm512_and_si512(moved<2 * (kG % 4)>(load512(p + 64 * (kG / 4))), bytes512(3));
  }
};

struct ThreeBitCodes {
  static constexpr int kGroupBytes = 192;
  template <int kG>
  static __m512i group(const std::uint8_t* p) {
    return or_masked(TwoBitCodes::group<kG>(p), moved<kG - 2>(load512(p + 128)), bytes512(4));
  }
};

// --- formats. kZeroShift: codes are above their values by 1 << kZeroShift (-1: by nothing).
// kZeroPoints: by zeros().
// kDearCodes: unpacking them costs more than spare instruction slots (measured on Zen 5).

inline __m512 load_halves(const std::uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

template <DType kDType, typename Unpack, int kZero, bool kHasMinimum>
struct Format32 {
  using Codes = Unpack;
  static constexpr DType kType = kDType;
  static constexpr int kZeroShift = kZero;
  static constexpr bool kZeroPoints = false;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr bool kDearCodes = false;
  static __m512 scales(const std::uint8_t* header) { return load_halves(header); }
  static __m512 minima(const std::uint8_t* header) { return load_halves(header + 32); }
};

using Q4_0 = Format32<DType::kQ4_0, NibbleCodes, 3, false>;
using Q4_1 = Format32<DType::kQ4_1, NibbleCodes, -1, true>;
using Q5_0 = Format32<DType::kQ5_0, FiveBitCodes, 4, false>;
using Q5_1 = Format32<DType::kQ5_1, FiveBitCodes, -1, true>;
using Q8_0 = Format32<DType::kQ8_0, RaisedByteCodes, 7, false>;
using Iq4Nl = Format32<DType::kIQ4_NL, TableCodes<kIQ4Values, 128>, 7, false>;

struct Mxfp4 : Format32<DType::kMXFP4, TableCodes<kMXFP4Values, 16>, 4, false> {
  // 2^(e - 128): exponent bits e - 1, but a subnormal for e = 0 and 1.
  static __m512 scales(const std::uint8_t* header) {
    const __m512i e =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(header)));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __mmask16 is_small = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(
        _mm512_mask_sllv_epi32(normal, is_small, _mm512_set1_epi32(0x00200000), e));
  }
};

// 16 bytes as 32-bit numbers.
inline __m512i load_bytes(const std::uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

struct I4Zero : Format32<DType::kI4Zero, NibbleCodes, -1, false> {
  static constexpr bool kZeroPoints = true;
  // 32-bit numbers whose upper halves are 0.
  static __m512i zeros(const std::uint8_t* header) { return load_bytes(header + 32); }
};

struct I8Zero : Format32<DType::kI8Zero, RaisedByteCodes, -1, false> {
  static constexpr bool kZeroPoints = true;
  static __m512 scales(const std::uint8_t* header) { return _mm512_loadu_ps(header); }
  static __m512i zeros(const std::uint8_t* header) { return load_bytes(header + 64); }
};

struct F8Block : Format32<DType::kF8Block, RaisedByteCodes, 7, false> {
  static __m512 scales(const std::uint8_t* header) {
    const __m512i powers = _mm512_slli_epi32(load_bytes(header), 23);
    float scale;
    __builtin_memcpy(&scale, header + kPanelRows, sizeof(scale));
    return _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_castsi512_ps(powers));
  }
};

// kSubColumns: columns a sub-block. Sub-scales and sub-minima of a pair of sub-blocks come as
// 16-bit numbers, (row, 2).
template <DType kDType, typename Unpack, int kZero, bool kHasMinimum, int kSubColumns>
struct Format256 {
  using Codes = Unpack;
  static constexpr DType kType = kDType;
  static constexpr int kZeroShift = kZero;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr bool kDearCodes = kDType == DType::kQ3_K || kDType == DType::kQ6_K;
  static constexpr int kSub = kSubColumns;
  static constexpr int kScalesOffset = kHasMinimum ? 64 : 32;  // in the header, after d (and dmin)

  static __m256i pair_bytes(const std::uint8_t* p, int pair) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * pair));
  }
  static __m512i scale_pairs(const std::uint8_t* header, int pair) {
    const __m256i bytes = pair_bytes(header + kScalesOffset, pair);
    return kHasMinimum ? _mm512_cvtepu8_epi16(bytes) : _mm512_cvtepi8_epi16(bytes);
  }
  static __m512i minimum_pairs(const std::uint8_t* header, int pair) {
    return _mm512_cvtepu8_epi16(pair_bytes(header + 192, pair));
  }
};

using Q3K = Format256<DType::kQ3_K, ThreeBitCodes, 2, false, 16>;
using Q4K = Format256<DType::kQ4_K, NibbleCodes, -1, true, 32>;
using Q5K = Format256<DType::kQ5_K, FiveBitCodes, -1, true, 32>;
using Q6K = Format256<DType::kQ6_K, SixBitCodes, 5, false, 16>;
using Iq4Xs = Format256<DType::kIQ4_XS, TableCodes<kIQ4Values, 128>, 7, false, 32>;

struct Q2K : Format256<DType::kQ2_K, TwoBitCodes, -1, true, 16> {
  static __m512i scale_pairs(const std::uint8_t* header, int pair) {
    const __m256i bytes = pair_bytes(header + 64, pair);
    return _mm512_cvtepu8_epi16(_mm256_and_si256(bytes, _mm256_set1_epi8(15)));
  }
  static __m512i minimum_pairs(const std::uint8_t* header, int pair) {
    const __m256i bytes = _mm256_srli_epi16(pair_bytes(header + 64, pair), 4);
    return _mm512_cvtepu8_epi16(_mm256_and_si256(bytes, _mm256_set1_epi8(15)));
  }
};

}  // namespace
}  // namespace sampan
