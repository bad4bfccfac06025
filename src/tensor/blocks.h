#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sampan {

// The block formats of GGUF as they lie in a file: little-endian, no padding. y is the value of an
// element. A row in a mapped file need not be aligned even for its 16-bit scales (17-byte blocks,
// odd offsets), so copy a block out with memcpy before its fields are used. d, m and dmin are IEEE
// halves (tensor/half.h).
//
// Blocks of 32: byte j of qs has element j in its low nibble and element j + 16 in its high nibble.

inline constexpr int kBlockElements = 32;
inline constexpr int kSuperBlockElements = 256;

// y = d * (q - 8)
struct BlockQ4_0 {
  std::uint16_t d;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

// y = d * q + m
struct BlockQ4_1 {
  std::uint16_t d;
  std::uint16_t m;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// y = d * (q - 16); bit i of qh (little-endian) is bit 4 of element i
struct BlockQ5_0 {
  std::uint16_t d;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

// y = d * q + m; qh as Q5_0
struct BlockQ5_1 {
  std::uint16_t d;
  std::uint16_t m;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// y = d * q
struct BlockQ8_0 {
  std::uint16_t d;
  std::int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// y = d * kIQ4Values[q]
struct BlockIQ4_NL {
  std::uint16_t d;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

// y = 2^(e - 128) * kMXFP4Values[q]
struct BlockMXFP4 {
  std::uint8_t e;
  std::uint8_t qs[16];
};
static_assert(sizeof(BlockMXFP4) == 17);

// Super-blocks of 256. Two halves of 128 elements; in Q2_K, Q3_K and Q6_K a half's bytes hold the
// same bit field of elements that lie 32 apart (128 n + 32 j + l is field j of byte l of half n),
// group g is the 16 elements from 16 g on.

// y = d * (scales[g] & 15) * q - dmin * (scales[g] >> 4)
struct BlockQ2_K {
  std::uint8_t scales[16];
  std::uint8_t qs[64];
  std::uint16_t d;
  std::uint16_t dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// y = d * (scale[g] - 32) * (q - 4), bit 2 of q is in hmask: bit g / 2 of byte l
struct BlockQ3_K {
  std::uint8_t hmask[32];
  std::uint8_t qs[64];
  std::uint8_t scales[12];  // 16 of 6 bits: unpack_scales_q3_k
  std::uint16_t d;
};
static_assert(sizeof(BlockQ3_K) == 110);

// Q4_K and Q5_K: 8 groups of 32; groups 2 i and 2 i + 1 are the low and high nibbles of bytes 32 i
// … 32 i + 31 of qs.

// y = d * scale[g] * q - dmin * min[g]
struct BlockQ4_K {
  std::uint16_t d;
  std::uint16_t dmin;
  std::uint8_t scales[12];  // 8 scales and 8 minima of 6 bits: unpack_scales_q4_k
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// y as Q4_K, bit 4 of q is bit g of qh[l]
struct BlockQ5_K {
  std::uint16_t d;
  std::uint16_t dmin;
  std::uint8_t scales[12];
  std::uint8_t qh[32];
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// y = d * scales[g] * (q - 32). Byte l of the 64 of a half of ql: the low four bits of elements l
// and l + 64; byte l of the 32 of a half of qh: the high two of l, l + 32, l + 64 and l + 96.
struct BlockQ6_K {
  std::uint8_t ql[128];
  std::uint8_t qh[64];
  std::int8_t scales[16];
  std::uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// y = d * (scale[g] - 32) * kIQ4Values[q]; 8 groups of 32, nibbles of each as in the blocks of 32
struct BlockIQ4_XS {
  std::uint16_t d;
  std::uint16_t scales_h;    // bits 2 g, 2 g + 1 are bits 4, 5 of scale g
  std::uint8_t scales_l[4];  // nibble g (low first) is bits 0 … 3 of scale g
  std::uint8_t qs[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136);

// The values of the 4-bit codes of IQ4_NL and IQ4_XS, and of MXFP4 (E2M1 doubled).
inline constexpr std::array<std::int8_t, 16> kIQ4Values = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr std::array<std::int8_t, 16> kMXFP4Values = {0, 1,  2,  3,  4,  6,  8,  12,
                                                             0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace sampan
