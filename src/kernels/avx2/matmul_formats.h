#pragma once

#include <immintrin.h>

#include <array>
#include <cstdint>

#include "kernels/panels.h"
#include "tensor/blocks.h"

// Block formats as the AVX2 kernels of matmul_panels.h see them. A half panel is 8 rows: a register
// holds (8 rows, 4 columns), and pointers are moved on by 32 bytes for the second half.
namespace sampan {
namespace {

inline __m256i load256(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// --- codes: group<g>() is column group g of 32 columns at p.

// Whole bytes, as in Q8_0 panels.
struct ByteCodes {
  static constexpr int kGroupBytes = 512;
  template <int kG>
  static __m256i group(const std::uint8_t* p) {
    return load256(p + 64 * kG);
  }
};

// What unpack_panel() makes of unsigned codes.
struct UnpackedCodes : ByteCodes {};

// What it makes of signed codes: (group, 2, 16 rows, 4 columns), the magnitude of each and a mask
// of its sign. An activation with its bits turned is -q - 1, so that the products of turned ones
// lack the magnitudes of the negative codes, whose sums follow: (16 rows), 32-bit. A turned bit
// costs less than a changed sign.
struct SignCodes {
  static constexpr int kGroupBytes = 1024 + 64;
  template <int kG>
  static __m256i magnitude(const std::uint8_t* p) {
    return load256(p + 128 * kG);
  }
  template <int kG>
  static __m256i sign(const std::uint8_t* p) {
    return load256(p + 128 * kG + 64);
  }
  static __m256i negative_sums(const std::uint8_t* p) { return load256(p + 1024); }
};

struct NibbleCodes {
  static constexpr int kGroupBytes = 256;
  template <int kG>
  static __m256i group(const std::uint8_t* p) {
    __m256i v = load256(p + 64 * (kG % 4));
    if (kG >= 4) v = _mm256_srli_epi16(v, 4);
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
  }
};

// Nibbles that number the 16 values of a table.
template <const std::array<std::int8_t, 16>& kTable, int kOffset>
struct TableCodes {
  static constexpr int kGroupBytes = 256;
  template <int kG>
  static __m256i group(const std::uint8_t* p) {
    const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&kTable));
    const __m256i table = _mm256_broadcastsi128_si256(_mm_add_epi8(values, _mm_set1_epi8(kOffset)));
    return _mm256_shuffle_epi8(table, NibbleCodes::group<kG>(p));
  }
};

// Bits at `mask` of v, moved there from kFrom bits above (or below, if negative).
template <int kFrom>
inline __m256i moved_bits(__m256i v, int mask) {
  if (kFrom > 0) v = _mm256_srli_epi16(v, kFrom > 0 ? kFrom : 0);
  if (kFrom < 0) v = _mm256_slli_epi16(v, kFrom < 0 ? -kFrom : 0);
  return _mm256_and_si256(v, _mm256_set1_epi8(static_cast<char>(mask)));
}

struct FiveBitCodes {
  static constexpr int kGroupBytes = 320;
  template <int kG>
  static __m256i group(const std::uint8_t* p) {
    return _mm256_or_si256(NibbleCodes::group<kG>(p), moved_bits<kG - 4>(load256(p + 256), 0x10));
  }
};

struct SixBitCodes {
  static constexpr int kGroupBytes = 384;
  template <int kG>
  static __m256i group(const std::uint8_t* p) {
    const __m256i high = load256(p + 256 + 64 * (kG / 4));
    return _mm256_or_si256(NibbleCodes::group<kG>(p), moved_bits<2 * (kG % 4) - 4>(high, 0x30));
  }
};

struct TwoBitCodes {
  static constexpr int kGroupBytes = 128;
  template <int kG>
  static __m256i group(const std::uint8_t* p) {
    return moved_bits<2 * (kG % 4)>(load256(p + 64 * (kG / 4)), 3);
  }
};

struct ThreeBitCodes {
  static constexpr int kGroupBytes = 192;
  template <int kG>
  static __m256i group(const std::uint8_t* p) {
    return _mm256_or_si256(TwoBitCodes::group<kG>(p), moved_bits<kG - 2>(load256(p + 128), 4));
  }
};

// --- formats. kRun: products of unsigned codes that may be added in 16 bits before they are
// widened, 32767 / (2 * 127 * largest code); 0: codes are signed. kZeroShift: codes are above their
// values by 1 << kZeroShift (-1: by nothing). kZeroPoints: codes are above their values by zeros().

inline __m256 load_halves(const std::uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

template <DType kDType, typename Unpack, int kProductRun, int kZero, bool kHasMinimum>
struct Format32 {
  using Codes = Unpack;
  static constexpr DType kType = kDType;
  static constexpr int kRun = kProductRun;
  static constexpr int kZeroShift = kZero;
  static constexpr bool kZeroPoints = false;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr int kSub = 32;
  // Scales of 8 rows, from the first or second half of a header; minima.
  static __m256 scales(const std::uint8_t* header, int half) {
    return load_halves(header + 16 * half);
  }
  static __m256 minima(const std::uint8_t* header, int half) {
    return load_halves(header + 32 + 16 * half);
  }
};

using Q4_0 = Format32<DType::kQ4_0, NibbleCodes, 8, 3, false>;
using Q4_1 = Format32<DType::kQ4_1, NibbleCodes, 8, -1, true>;
using Q5_0 = Format32<DType::kQ5_0, FiveBitCodes, 4, 4, false>;
using Q5_1 = Format32<DType::kQ5_1, FiveBitCodes, 4, -1, true>;
using Q8_0 = Format32<DType::kQ8_0, ByteCodes, 0, -1, false>;
using Iq4Nl = Format32<DType::kIQ4_NL, TableCodes<kIQ4Values, 0>, 0, -1, false>;

struct Mxfp4 : Format32<DType::kMXFP4, TableCodes<kMXFP4Values, 16>, 4, 4, false> {
  // 2^(e - 128): exponent bits e - 1, but a subnormal for e = 0 and 1.
  static __m256 scales(const std::uint8_t* header, int half) {
    const __m256i e =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(header + 8 * half)));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, is_small));
  }
};

// Eight bytes as 32-bit numbers.
inline __m256i load_bytes(const std::uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

struct I4Zero : Format32<DType::kI4Zero, NibbleCodes, 8, -1, false> {
  static constexpr bool kZeroPoints = true;
  // 32-bit numbers whose upper halves are 0.
  static __m256i zeros(const std::uint8_t* header, int half) {
    return load_bytes(header + 32 + 8 * half);
  }
};

struct I8Zero : Format32<DType::kI8Zero, ByteCodes, 0, -1, false> {
  static constexpr bool kZeroPoints = true;
  static __m256 scales(const std::uint8_t* header, int half) {
    return _mm256_castsi256_ps(load256(header + 32 * half));
  }
  static __m256i zeros(const std::uint8_t* header, int half) {
    return _mm256_sub_epi16(load_bytes(header + 64 + 8 * half), _mm256_set1_epi32(128));
  }
};

struct F8Block : Format32<DType::kF8Block, ByteCodes, 0, -1, false> {
  static __m256 scales(const std::uint8_t* header, int half) {
    const __m256i powers = _mm256_slli_epi32(load_bytes(header + 8 * half), 23);
    float scale;
    __builtin_memcpy(&scale, header + kPanelRows, sizeof(scale));
    return _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_castsi256_ps(powers));
  }
};

// kSubColumns: columns a sub-block. Sub-scales and sub-minima of a pair of sub-blocks come as
// 16-bit numbers, (row, 2).
template <DType kDType, typename Unpack, int kProductRun, int kZero, bool kHasMinimum,
          int kSubColumns>
struct Format256 {
  using Codes = Unpack;
  static constexpr DType kType = kDType;
  static constexpr int kRun = kProductRun;
  static constexpr int kZeroShift = kZero;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr int kSub = kSubColumns;
  static constexpr int kScalesOffset = kHasMinimum ? 64 : 32;  // in the header, after d (and dmin)

  static __m128i pair_bytes(const std::uint8_t* p, int pair, int half) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 32 * pair + 16 * half));
  }
  static __m256i scale_pairs(const std::uint8_t* header, int pair, int half) {
    const __m128i bytes = pair_bytes(header + kScalesOffset, pair, half);
    return kHasMinimum ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
  }
  static __m256i minimum_pairs(const std::uint8_t* header, int pair, int half) {
    return _mm256_cvtepu8_epi16(pair_bytes(header + 192, pair, half));
  }
};

using Q3K = Format256<DType::kQ3_K, ThreeBitCodes, 4, 2, false, 16>;
using Q4K = Format256<DType::kQ4_K, NibbleCodes, 8, -1, true, 32>;
using Q5K = Format256<DType::kQ5_K, FiveBitCodes, 4, -1, true, 32>;
using Q6K = Format256<DType::kQ6_K, SixBitCodes, 2, 5, false, 16>;
using Iq4Xs = Format256<DType::kIQ4_XS, TableCodes<kIQ4Values, 0>, 0, -1, false, 32>;

struct Q2K : Format256<DType::kQ2_K, TwoBitCodes, 4, -1, true, 16> {
  static __m256i scale_pairs(const std::uint8_t* header, int pair, int half) {
    const __m128i bytes = pair_bytes(header + 64, pair, half);
    return _mm256_cvtepu8_epi16(_mm_and_si128(bytes, _mm_set1_epi8(15)));
  }
  static __m256i minimum_pairs(const std::uint8_t* header, int pair, int half) {
    const __m128i bytes = pair_bytes(header + 64, pair, half);
    return _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15)));
  }
};

}  // namespace
}  // namespace sampan
