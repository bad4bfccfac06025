#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/pack_table.h"
#include "kernels/panels.h"
#include "kernels/unroll.h"
#include "tensor/blocks.h"

// Packing of 16 rows at a time, once for all instruction sets with vectors. Bytes of the rows are
// turned into lines first, a line being 4 bytes of each of the 16 rows as a panel holds them;
// fields are then moved within and between lines, the same for all rows.
//
// V is an instruction set's: V::Line (64 bytes) with the operators & | ^, and
//   load(rows, offset, lines)        lines[g] = bytes 4 g … 4 g + 3 behind rows[r] + offset, g < 4
//   store(out, line)                 to 64 bytes, aligned
//   store_low_halves(out, line)      the low 16 bits of each row's word, 32 bytes
//   store_low_bytes(out, line)       the low 8 bits of each row's word, 16 bytes
//   down<n>(line), up<n>(line)       words of 32 bits moved by n bits
//   bytes(value), words(value)       a line of them
//   subtract_bytes(a, b)
//
// Internal linkage on purpose, as in kernels/unroll.h.
namespace sampan {
namespace {

// 16 bytes of each row.
template <typename V>
using Lines = typename V::Line[4];

template <typename V>
SAMPAN_INLINE inline void store_high_halves(std::uint8_t* out, typename V::Line line) {
  V::store_low_halves(out, V::template down<16>(line));
}

// Bits of each byte moved down or up within it.
template <typename V, int kBits>
SAMPAN_INLINE inline typename V::Line bytes_down(typename V::Line line) {
  return V::template down<kBits>(line) & V::bytes(0xFF >> kBits);
}
template <typename V, int kBits>
SAMPAN_INLINE inline typename V::Line bytes_up(typename V::Line line) {
  return V::template up<kBits>(line & V::bytes(0xFF >> kBits));
}

// Swaps the bits kMask << kBits of a's bytes with the bits kMask of b's.
template <typename V, int kBits, int kMask>
SAMPAN_INLINE inline void swap_fields(typename V::Line& a, typename V::Line& b) {
  const typename V::Line change = (V::template down<kBits>(a) ^ b) & V::bytes(kMask);
  b = b ^ change;
  a = a ^ V::template up<kBits>(change);
}

// Two-bit field j of x[i]'s bytes becomes field i of x[j]'s.
template <typename V>
SAMPAN_INLINE inline void transpose_two_bits(typename V::Line (&x)[4]) {
  swap_fields<V, 4, 0x0F>(x[0], x[2]);
  swap_fields<V, 4, 0x0F>(x[1], x[3]);
  swap_fields<V, 2, 0x33>(x[0], x[1]);
  swap_fields<V, 2, 0x33>(x[2], x[3]);
}

// Bit j of x[i]'s bytes becomes bit i of x[j]'s.
template <typename V>
SAMPAN_INLINE inline void transpose_bits(typename V::Line (&x)[8]) {
  for (int i = 0; i < 4; ++i) swap_fields<V, 4, 0x0F>(x[i], x[i + 4]);
  for (int i = 0; i < 2; ++i) {
    swap_fields<V, 2, 0x33>(x[i], x[i + 2]);
    swap_fields<V, 2, 0x33>(x[i + 4], x[i + 6]);
  }
  for (int i = 0; i < 8; i += 2) swap_fields<V, 1, 0x55>(x[i], x[i + 1]);
}

// Where bit kLow of a bit's number in its word is set and bit kHigh is not.
constexpr std::uint32_t numbers_with(int high, int low) {
  std::uint32_t mask = 0;
  for (int i = 0; i < 32; ++i) {
    if ((i >> low & 1) != 0 && (i >> high & 1) == 0) mask |= 1u << i;
  }
  return mask;
}

// Each bit goes where bits kHigh and kLow of its number in its word are swapped.
template <typename V, int kHigh, int kLow>
SAMPAN_INLINE inline typename V::Line swap_number_bits(typename V::Line x) {
  constexpr int kShift = (1 << kHigh) - (1 << kLow);
  const typename V::Line change =
      (V::template down<kShift>(x) ^ x) & V::words(numbers_with(kHigh, kLow));
  return x ^ change ^ V::template up<kShift>(change);
}

// Bit 4 g + j of each word goes to 8 j + g.
template <typename V>
SAMPAN_INLINE inline typename V::Line spread_fifth_bits(typename V::Line x) {
  x = swap_number_bits<V, 4, 2>(x);
  x = swap_number_bits<V, 4, 3>(x);
  x = swap_number_bits<V, 3, 0>(x);
  return swap_number_bits<V, 4, 1>(x);
}

// A tile's place in the rows and in the panel.
struct TilePlace {
  const std::byte* const* rows;
  std::ptrdiff_t offset;
  std::uint8_t* header;
  std::uint8_t* codes;
};

template <typename V>
SAMPAN_INLINE inline void load(const TilePlace& at, int offset, typename V::Line (&lines)[4]) {
  V::load(at.rows, at.offset + offset, lines);
}

template <typename V>
SAMPAN_INLINE inline void store(std::uint8_t* out, const typename V::Line (&lines)[4]) {
  for (int g = 0; g < 4; ++g) V::store(out + 64 * g, lines[g]);
}

// 16 bytes of each row, as they are.
template <typename V>
SAMPAN_INLINE inline void copy_codes(const TilePlace& at, int offset, std::uint8_t* out) {
  Lines<V> lines;
  load<V>(at, offset, lines);
  store<V>(out, lines);
}

// The halves at the start of the blocks of 32 columns: d, or d and m.
template <typename V, int kHalves>
SAMPAN_INLINE inline void put_first_halves(const TilePlace& at) {
  Lines<V> lines;
  load<V>(at, 0, lines);
  V::store_low_halves(at.header, lines[0]);
  if constexpr (kHalves == 2) store_high_halves<V>(at.header + 32, lines[0]);
}

template <typename V>
SAMPAN_INLINE inline void put_fifth_bits(const TilePlace& at, int offset) {
  Lines<V> lines;
  load<V>(at, offset, lines);
  V::store(at.codes + 256, spread_fifth_bits<V>(lines[0]));
}

// 4 sub-scales of each row as pairs.
template <typename V>
SAMPAN_INLINE inline void put_two_pairs(std::uint8_t* out, typename V::Line values) {
  V::store_low_halves(out, values);
  store_high_halves<V>(out + 32, values);
}

// 16 bytes of sub-scales as they are.
template <typename V>
SAMPAN_INLINE inline void copy_pairs(const TilePlace& at, int offset, std::uint8_t* out) {
  Lines<V> lines;
  load<V>(at, offset, lines);
  for (int i = 0; i < 4; ++i) put_two_pairs<V>(out + 64 * i, lines[i]);
}

// 32 bytes of two nibbles each: the low ones become 32 columns at `low`, the high ones at `high`.
template <typename V>
SAMPAN_INLINE inline void put_nibbles(const TilePlace& at, int offset, std::uint8_t* low,
                                      std::uint8_t* high) {
  Lines<V> first, second;
  load<V>(at, offset, first);
  load<V>(at, offset + 16, second);
  const typename V::Line mask = V::bytes(0x0F);
  for (int g = 0; g < 4; ++g) {
    V::store(low + 64 * g, (first[g] & mask) | bytes_up<V, 4>(second[g]));
    V::store(high + 64 * g, bytes_down<V, 4>(first[g]) | (second[g] & V::bytes(0xF0)));
  }
}

// 32 bytes of four two-bit fields each: field j becomes the two bits of 32 columns at
// out + j * step.
template <typename V>
SAMPAN_INLINE inline void put_two_bits(const TilePlace& at, int offset, std::uint8_t* out,
                                       int step) {
  for (int half = 0; half < 2; ++half) {
    Lines<V> lines;
    load<V>(at, offset + 16 * half, lines);
    transpose_two_bits<V>(lines);
    for (int j = 0; j < 4; ++j) V::store(out + j * step + 64 * half, lines[j]);
  }
}

// 32 bytes of eight bits each: bit i becomes a bit of 32 columns at out + i * step.
template <typename V>
SAMPAN_INLINE inline void put_bits(const TilePlace& at, int offset, std::uint8_t* out, int step) {
  Lines<V> first, second;
  load<V>(at, offset, first);
  load<V>(at, offset + 16, second);
  typename V::Line lines[8] = {first[0],  first[1],  first[2],  first[3],
                               second[0], second[1], second[2], second[3]};
  transpose_bits<V>(lines);
  for (int i = 0; i < 8; ++i) V::store(out + i * step, lines[i]);
}

// --- a tile of each type (blocks as in tensor/blocks.h)

template <typename V, DType kType>
struct TilePacker;

template <typename V>
struct TilePacker<V, DType::kQ4_0> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_first_halves<V, 1>(at);
    copy_codes<V>(at, 2, at.codes);
  }
};

template <typename V>
struct TilePacker<V, DType::kIQ4_NL> : TilePacker<V, DType::kQ4_0> {};

template <typename V>
struct TilePacker<V, DType::kQ4_1> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_first_halves<V, 2>(at);
    copy_codes<V>(at, 4, at.codes);
  }
};

template <typename V>
struct TilePacker<V, DType::kQ5_0> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_first_halves<V, 1>(at);
    put_fifth_bits<V>(at, 2);
    copy_codes<V>(at, 6, at.codes);
  }
};

template <typename V>
struct TilePacker<V, DType::kQ5_1> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_first_halves<V, 2>(at);
    put_fifth_bits<V>(at, 4);
    copy_codes<V>(at, 8, at.codes);
  }
};

template <typename V>
struct TilePacker<V, DType::kQ8_0> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_first_halves<V, 1>(at);
    copy_codes<V>(at, 2, at.codes);
    copy_codes<V>(at, 18, at.codes + 256);
  }
};

template <typename V>
struct TilePacker<V, DType::kMXFP4> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    Lines<V> lines;
    load<V>(at, 0, lines);
    V::store_low_bytes(at.header, lines[0]);
    copy_codes<V>(at, 1, at.codes);
  }
};

// d, dmin and the packed scales and minima of Q4_K and Q5_K (reference/block_scales.h).
template <typename V>
SAMPAN_INLINE inline void put_scales_and_minima(const TilePlace& at) {
  Lines<V> lines;
  load<V>(at, 0, lines);
  V::store_low_halves(at.header, lines[0]);
  store_high_halves<V>(at.header + 32, lines[0]);
  const typename V::Line six = V::bytes(0x3F), high = V::bytes(0x30), low = V::bytes(0x0F);
  std::uint8_t* const scales = at.header + 64;
  std::uint8_t* const minima = at.header + 192;
  put_two_pairs<V>(scales, lines[1] & six);
  put_two_pairs<V>(minima, lines[2] & six);
  put_two_pairs<V>(scales + 64, (lines[3] & low) | (V::template down<2>(lines[1]) & high));
  put_two_pairs<V>(minima + 64,
                   bytes_down<V, 4>(lines[3]) | (V::template down<2>(lines[2]) & high));
}

template <typename V>
struct TilePacker<V, DType::kQ4_K> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_scales_and_minima<V>(at);
    for (int i = 0; i < 4; ++i) {
      put_nibbles<V>(at, 16 + 32 * i, at.codes + 512 * i, at.codes + 512 * i + 256);
    }
  }
};

template <typename V>
struct TilePacker<V, DType::kQ5_K> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_scales_and_minima<V>(at);
    put_bits<V>(at, 16, at.codes + 256, 320);
    for (int i = 0; i < 4; ++i) {
      put_nibbles<V>(at, 48 + 32 * i, at.codes + 640 * i, at.codes + 640 * i + 320);
    }
  }
};

// The last two of a block's bytes, d. (Reads of 16 bytes stay within the block.)
template <typename V>
SAMPAN_INLINE inline void put_last_half(const TilePlace& at, int block_bytes) {
  Lines<V> lines;
  load<V>(at, block_bytes - 16, lines);
  store_high_halves<V>(at.header, lines[3]);
}

template <typename V>
struct TilePacker<V, DType::kQ6_K> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_last_half<V>(at, sizeof(BlockQ6_K));
    copy_pairs<V>(at, 192, at.header + 32);
    for (int half = 0; half < 2; ++half) {
      std::uint8_t* const codes = at.codes + 4 * 384 * half;
      put_nibbles<V>(at, 64 * half, codes, codes + 2 * 384);
      put_nibbles<V>(at, 64 * half + 32, codes + 384, codes + 3 * 384);
      put_two_bits<V>(at, 128 + 32 * half, codes + 256, 384);
    }
  }
};

template <typename V>
struct TilePacker<V, DType::kQ2_K> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    Lines<V> lines;
    load<V>(at, sizeof(BlockQ2_K) - 16, lines);
    V::store_low_halves(at.header, lines[3]);
    store_high_halves<V>(at.header + 32, lines[3]);
    copy_pairs<V>(at, 0, at.header + 64);
    put_two_bits<V>(at, 16, at.codes, 128);
    put_two_bits<V>(at, 48, at.codes + 4 * 128, 128);
  }
};

template <typename V>
struct TilePacker<V, DType::kQ3_K> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    put_last_half<V>(at, sizeof(BlockQ3_K));
    put_scales(at);
    put_two_bits<V>(at, 32, at.codes, 192);
    put_two_bits<V>(at, 64, at.codes + 4 * 192, 192);
    put_bits<V>(at, 0, at.codes + 128, 192);
  }

  // 16 scales of 6 bits less 32 (reference/block_scales.h).
  SAMPAN_INLINE static void put_scales(const TilePlace& at) {
    Lines<V> lines;
    load<V>(at, 92, lines);  // the 12 bytes are lines 1 to 3
    const typename V::Line low = V::bytes(0x0F), high = V::bytes(0x30), zero = V::bytes(32);
    const typename V::Line scales[4] = {
        (lines[1] & low) | (V::template up<4>(lines[3]) & high),
        (lines[2] & low) | (V::template up<2>(lines[3]) & high),
        bytes_down<V, 4>(lines[1]) | (lines[3] & high),
        bytes_down<V, 4>(lines[2]) | (V::template down<2>(lines[3]) & high)};
    for (int i = 0; i < 4; ++i) {
      put_two_pairs<V>(at.header + 32 + 64 * i, V::subtract_bytes(scales[i], zero));
    }
  }
};

template <typename V>
struct TilePacker<V, DType::kIQ4_XS> {
  SAMPAN_INLINE static void pack(const TilePlace& at) {
    Lines<V> lines;
    load<V>(at, 0, lines);
    V::store_low_halves(at.header, lines[0]);
    put_scales(at.header + 32, V::template down<16>(lines[0]), lines[1]);
    put_scales(at.header + 96, V::template down<24>(lines[0]), V::template down<16>(lines[1]));
    for (int i = 0; i < 8; ++i) copy_codes<V>(at, 8 + 16 * i, at.codes + 256 * i);
  }

  // 4 scales less 32: their two high bits from the low byte of each word of `high`, the four low
  // ones from the low two bytes of `low`.
  SAMPAN_INLINE static void put_scales(std::uint8_t* out, typename V::Line high,
                                       typename V::Line low) {
    high = high & V::words(0xFF);
    high = (high | V::template up<12>(high)) & V::words(0x000F000F);
    high = (high | V::template up<6>(high)) & V::bytes(0x03);
    low = low & V::words(0xFFFF);
    low = (low | V::template up<8>(low)) & V::words(0x00FF00FF);
    low = (low | V::template up<4>(low)) & V::bytes(0x0F);
    put_two_pairs<V>(out, V::subtract_bytes(low | V::template up<4>(high), V::bytes(32)));
  }
};

// --- panels

template <typename V, DType kType, std::size_t kBlockBytes>
void pack_panel(const PackJob& job) {
  constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(kType)];
  TilePlace at{job.rows, 0, reinterpret_cast<std::uint8_t*>(job.header),
               reinterpret_cast<std::uint8_t*>(job.codes)};
  for (std::int64_t tile = 0; tile < job.tiles; ++tile) {
    TilePacker<V, kType>::pack(at);
    at.offset += static_cast<std::ptrdiff_t>(kBlockBytes);
    at.header += kFormat.header_bytes;
    at.codes += kFormat.code_bytes;
  }
}

template <typename V>
PackTable make_pack_table(const char* name) {
  PackTable table = {};
  table.name = name;
  const auto at = [&](DType type) -> PackKernel& { return table.kernels[static_cast<int>(type)]; };
  at(DType::kQ4_0) = pack_panel<V, DType::kQ4_0, sizeof(BlockQ4_0)>;
  at(DType::kQ4_1) = pack_panel<V, DType::kQ4_1, sizeof(BlockQ4_1)>;
  at(DType::kQ5_0) = pack_panel<V, DType::kQ5_0, sizeof(BlockQ5_0)>;
  at(DType::kQ5_1) = pack_panel<V, DType::kQ5_1, sizeof(BlockQ5_1)>;
  at(DType::kQ8_0) = pack_panel<V, DType::kQ8_0, sizeof(BlockQ8_0)>;
  at(DType::kQ2_K) = pack_panel<V, DType::kQ2_K, sizeof(BlockQ2_K)>;
  at(DType::kQ3_K) = pack_panel<V, DType::kQ3_K, sizeof(BlockQ3_K)>;
  at(DType::kQ4_K) = pack_panel<V, DType::kQ4_K, sizeof(BlockQ4_K)>;
  at(DType::kQ5_K) = pack_panel<V, DType::kQ5_K, sizeof(BlockQ5_K)>;
  at(DType::kQ6_K) = pack_panel<V, DType::kQ6_K, sizeof(BlockQ6_K)>;
  at(DType::kIQ4_NL) = pack_panel<V, DType::kIQ4_NL, sizeof(BlockIQ4_NL)>;
  at(DType::kIQ4_XS) = pack_panel<V, DType::kIQ4_XS, sizeof(BlockIQ4_XS)>;
  at(DType::kMXFP4) = pack_panel<V, DType::kMXFP4, sizeof(BlockMXFP4)>;
  return table;
}

}  // namespace
}  // namespace sampan
