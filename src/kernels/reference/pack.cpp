// Panels as kernels/panels.h defines them, a row and a block at a time: the oracle of the other
// instruction sets.

#include <cstring>

#include "kernels/pack_table.h"
#include "kernels/panels.h"
#include "kernels/reference/block_scales.h"
#include "tensor/blocks.h"

namespace sampan {
namespace {

using std::uint16_t;
using std::uint32_t;
using std::uint8_t;

// Where a row of a tile goes.
struct Slot {
  uint8_t* header;
  uint8_t* codes;
  int row;
};

uint32_t load32(const uint8_t* p) {
  uint32_t value;
  std::memcpy(&value, p, 4);
  return value;
}

void store32(uint8_t* p, uint32_t value) { std::memcpy(p, &value, 4); }

// --- header fields

// The f16 bits as the row's entry of header array `index`.
void put_half(const Slot& slot, int index, uint16_t bits) {
  std::memcpy(slot.header + 32 * index + 2 * slot.row, &bits, 2);
}

// Values of sub-blocks, two of which lie side by side for each row.
void put_pairs(uint8_t* out, int row, const uint8_t* values, int count) {
  for (int i = 0; i < count; ++i) out[(i / 2 * kPanelRows + row) * 2 + i % 2] = values[i];
}

// --- codes: 32 bytes of codes of one row into the group of 32 columns at `out`

void put_nibbles(uint8_t* out, int row, const uint8_t* codes) {
  for (int g = 0; g < 4; ++g) {
    const uint32_t low = load32(codes + 4 * g) & 0x0F0F0F0Fu;
    const uint32_t high = load32(codes + 4 * (g + 4)) & 0x0F0F0F0Fu;
    store32(out + (g * kPanelRows + row) * 4, low | high << 4);
  }
}

// One bit of each code (bit `shift` of it) as bit g.
void put_bit(uint8_t* out, int row, const uint8_t* codes, int shift) {
  uint32_t bits = 0;
  for (int g = 0; g < 8; ++g) bits |= ((load32(codes + 4 * g) >> shift) & 0x01010101u) << g;
  store32(out + row * 4, bits);
}

// Two bits of each code (from bit `shift` of it on).
void put_two_bits(uint8_t* out, int row, const uint8_t* codes, int shift) {
  for (int half = 0; half < 2; ++half) {
    uint32_t bits = 0;
    for (int g = 0; g < 4; ++g) {
      bits |= ((load32(codes + 16 * half + 4 * g) >> shift) & 0x03030303u) << (2 * g);
    }
    store32(out + (half * kPanelRows + row) * 4, bits);
  }
}

void put_bytes(uint8_t* out, int row, const uint8_t* codes) {
  for (int g = 0; g < 8; ++g) store32(out + (g * kPanelRows + row) * 4, load32(codes + 4 * g));
}

// --- block types of 32 columns

// Their nibbles lie as a panel's do: byte j holds columns j and j + 16.
void put_packed_nibbles(const Slot& slot, const uint8_t* packed) {
  for (int g = 0; g < 4; ++g) {
    store32(slot.codes + (g * kPanelRows + slot.row) * 4, load32(packed + 4 * g));
  }
}

// The little-endian word's bit i is the fifth bit of column i.
void put_fifth_bits(const Slot& slot, const uint8_t* word) {
  const uint32_t bits = load32(word);
  uint8_t ones[32];
  for (int i = 0; i < 32; ++i) ones[i] = static_cast<uint8_t>((bits >> i) & 1u);
  put_bit(slot.codes + 256, slot.row, ones, 0);
}

void pack(const BlockQ4_0& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_packed_nibbles(slot, block.qs);
}

void pack(const BlockIQ4_NL& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_packed_nibbles(slot, block.qs);
}

void pack(const BlockQ4_1& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_half(slot, 1, block.m);
  put_packed_nibbles(slot, block.qs);
}

void pack(const BlockQ5_0& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_fifth_bits(slot, block.qh);
  put_packed_nibbles(slot, block.qs);
}

void pack(const BlockQ5_1& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_half(slot, 1, block.m);
  put_fifth_bits(slot, block.qh);
  put_packed_nibbles(slot, block.qs);
}

void pack(const BlockQ8_0& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_bytes(slot.codes, slot.row, reinterpret_cast<const uint8_t*>(block.qs));
}

void pack(const BlockMXFP4& block, const Slot& slot) {
  slot.header[slot.row] = block.e;
  put_packed_nibbles(slot, block.qs);
}

// --- super-blocks: 8 groups of 32 columns

// 32 codes of 4 bits, the low or the high nibbles of 32 bytes.
void split_nibbles(const uint8_t* packed, bool high, uint8_t* codes) {
  for (int l = 0; l < 32; ++l)
    codes[l] = static_cast<uint8_t>(high ? packed[l] >> 4 : packed[l] & 15);
}

template <typename Block>
void put_scales_and_minima(const Block& block, const Slot& slot) {
  uint8_t scales[8];
  uint8_t minima[8];
  put_half(slot, 0, block.d);
  put_half(slot, 1, block.dmin);
  unpack_scales_q4_k(block.scales, scales, minima);
  put_pairs(slot.header + 64, slot.row, scales, 8);
  put_pairs(slot.header + 192, slot.row, minima, 8);
}

void pack(const BlockQ4_K& block, const Slot& slot) {
  put_scales_and_minima(block, slot);
  for (int i = 0; i < 8; ++i) {
    uint8_t codes[32];
    split_nibbles(block.qs + 32 * (i / 2), i % 2 != 0, codes);
    put_nibbles(slot.codes + 256 * i, slot.row, codes);
  }
}

void pack(const BlockQ5_K& block, const Slot& slot) {
  put_scales_and_minima(block, slot);
  for (int i = 0; i < 8; ++i) {
    uint8_t codes[32];
    split_nibbles(block.qs + 32 * (i / 2), i % 2 != 0, codes);
    put_nibbles(slot.codes + 320 * i, slot.row, codes);
    put_bit(slot.codes + 320 * i + 256, slot.row, block.qh, i);
  }
}

void pack(const BlockQ6_K& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_pairs(slot.header + 32, slot.row, reinterpret_cast<const uint8_t*>(block.scales), 16);
  for (int i = 0; i < 8; ++i) {
    const int half = i / 4;
    const int j = i % 4;
    uint8_t codes[32];
    split_nibbles(block.ql + 64 * half + 32 * (j % 2), j >= 2, codes);
    put_nibbles(slot.codes + 384 * i, slot.row, codes);
    put_two_bits(slot.codes + 384 * i + 256, slot.row, block.qh + 32 * half, 2 * j);
  }
}

void pack(const BlockQ2_K& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  put_half(slot, 1, block.dmin);
  put_pairs(slot.header + 64, slot.row, block.scales, 16);
  for (int i = 0; i < 8; ++i) {
    put_two_bits(slot.codes + 128 * i, slot.row, block.qs + 32 * (i / 4), 2 * (i % 4));
  }
}

void pack(const BlockQ3_K& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  uint8_t scales[16];
  unpack_scales_q3_k(block.scales, scales);
  for (uint8_t& scale : scales) scale = static_cast<uint8_t>(scale - 32);
  put_pairs(slot.header + 32, slot.row, scales, 16);
  for (int i = 0; i < 8; ++i) {
    uint8_t* codes = slot.codes + 192 * i;
    put_two_bits(codes, slot.row, block.qs + 32 * (i / 4), 2 * (i % 4));
    put_bit(codes + 128, slot.row, block.hmask, i);
  }
}

void pack(const BlockIQ4_XS& block, const Slot& slot) {
  put_half(slot, 0, block.d);
  uint8_t scales[8];
  for (int i = 0; i < 8; ++i) {
    const int low = (block.scales_l[i / 2] >> (4 * (i % 2))) & 15;
    const int high = (block.scales_h >> (2 * i)) & 3;
    scales[i] = static_cast<uint8_t>((low | high << 4) - 32);
    put_packed_nibbles({slot.header, slot.codes + 256 * i, slot.row}, block.qs + 16 * i);
  }
  put_pairs(slot.header + 32, slot.row, scales, 8);
}

template <DType kType, typename Block>
void pack_rows(const PackJob& job) {
  constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(kType)];
  for (int row = 0; row < job.count; ++row) {
    const std::byte* source = job.rows[row];
    Slot slot{reinterpret_cast<uint8_t*>(job.header), reinterpret_cast<uint8_t*>(job.codes), row};
    for (std::int64_t tile = 0; tile < job.tiles; ++tile) {
      Block block;  // those of a file are not aligned
      std::memcpy(&block, source, sizeof(block));
      pack(block, slot);
      source += sizeof(block);
      slot.header += kFormat.header_bytes;
      slot.codes += kFormat.code_bytes;
    }
  }
}

PackTable make_table() {
  PackTable table = {};
  table.name = "reference";
  const auto add = [&](DType type, PackKernel kernel) {
    table.kernels[static_cast<int>(type)] = kernel;
  };
  add(DType::kQ4_0, pack_rows<DType::kQ4_0, BlockQ4_0>);
  add(DType::kQ4_1, pack_rows<DType::kQ4_1, BlockQ4_1>);
  add(DType::kQ5_0, pack_rows<DType::kQ5_0, BlockQ5_0>);
  add(DType::kQ5_1, pack_rows<DType::kQ5_1, BlockQ5_1>);
  add(DType::kQ8_0, pack_rows<DType::kQ8_0, BlockQ8_0>);
  add(DType::kQ2_K, pack_rows<DType::kQ2_K, BlockQ2_K>);
  add(DType::kQ3_K, pack_rows<DType::kQ3_K, BlockQ3_K>);
  add(DType::kQ4_K, pack_rows<DType::kQ4_K, BlockQ4_K>);
  add(DType::kQ5_K, pack_rows<DType::kQ5_K, BlockQ5_K>);
  add(DType::kQ6_K, pack_rows<DType::kQ6_K, BlockQ6_K>);
  add(DType::kIQ4_NL, pack_rows<DType::kIQ4_NL, BlockIQ4_NL>);
  add(DType::kIQ4_XS, pack_rows<DType::kIQ4_XS, BlockIQ4_XS>);
  add(DType::kMXFP4, pack_rows<DType::kMXFP4, BlockMXFP4>);
  return table;
}

}  // namespace

const PackTable& pack_table_reference() {
  static const PackTable table = make_table();
  return table;
}

}  // namespace sampan
