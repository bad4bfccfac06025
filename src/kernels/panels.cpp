#include "kernels/panels.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
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

// Blocks in a file are not aligned: each is copied out.
template <typename Block>
void pack_block(const uint8_t* source, const Slot& slot) {
  Block block;
  std::memcpy(&block, source, sizeof(block));
  pack(block, slot);
}

using PackBlock = void (*)(const uint8_t* source, const Slot& slot);

PackBlock packer(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return pack_block<BlockQ4_0>;
    case DType::kQ4_1:
      return pack_block<BlockQ4_1>;
    case DType::kQ5_0:
      return pack_block<BlockQ5_0>;
    case DType::kQ5_1:
      return pack_block<BlockQ5_1>;
    case DType::kQ8_0:
      return pack_block<BlockQ8_0>;
    case DType::kQ2_K:
      return pack_block<BlockQ2_K>;
    case DType::kQ3_K:
      return pack_block<BlockQ3_K>;
    case DType::kQ4_K:
      return pack_block<BlockQ4_K>;
    case DType::kQ5_K:
      return pack_block<BlockQ5_K>;
    case DType::kQ6_K:
      return pack_block<BlockQ6_K>;
    case DType::kIQ4_NL:
      return pack_block<BlockIQ4_NL>;
    case DType::kIQ4_XS:
      return pack_block<BlockIQ4_XS>;
    case DType::kMXFP4:
      return pack_block<BlockMXFP4>;
    default:
      return nullptr;
  }
}

}  // namespace

const PanelFormat& panel_format(DType dtype) {
  const PanelFormat& format = kPanelFormats[static_cast<int>(dtype)];
  SAMPAN_CHECK(format.tile_columns != 0);
  return format;
}

std::int64_t panel_header_bytes(DType dtype, std::int64_t columns) {
  const PanelFormat& format = panel_format(dtype);
  return (columns / format.tile_columns * format.header_bytes + 63) / 64 * 64;
}

std::int64_t panel_bytes(DType dtype, std::int64_t columns) {
  const PanelFormat& format = panel_format(dtype);
  return panel_header_bytes(dtype, columns) + columns / format.tile_columns * format.code_bytes;
}

void pack_panels(const TensorView& source, std::span<const std::int64_t> row_order, std::byte* out,
                 ThreadPool& pool) {
  const PackBlock pack_one = packer(source.dtype);
  const PanelFormat& format = panel_format(source.dtype);
  const std::int64_t tiles = source.columns() / format.tile_columns;
  const std::int64_t header_bytes = panel_header_bytes(source.dtype, source.columns());
  const std::int64_t bytes = panel_bytes(source.dtype, source.columns());
  const std::int64_t source_row_bytes = row_bytes(source.dtype, source.columns());
  const std::int64_t block_bytes = dtype_info(source.dtype).block_bytes;
  const std::int64_t source_rows = source.rows();
  const auto rows = row_order.empty() ? source_rows : static_cast<std::int64_t>(row_order.size());

  pool.parallel_for((rows + kPanelRows - 1) / kPanelRows, [&](std::int64_t panel, int) {
    auto* header = reinterpret_cast<uint8_t*>(out + panel * bytes);
    for (int r = 0; r < kPanelRows; ++r) {
      const std::int64_t row = panel * kPanelRows + r;
      if (row >= rows) break;
      const std::int64_t from = row_order.empty() ? row : row_order[static_cast<std::size_t>(row)];
      SAMPAN_CHECK(from >= 0 && from < source_rows);
      const auto* block = reinterpret_cast<const uint8_t*>(source.data + from * source_row_bytes);
      Slot slot{header, header + header_bytes, r};
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        pack_one(block, slot);
        block += block_bytes;
        slot.header += format.header_bytes;
        slot.codes += format.code_bytes;
      }
    }
  });
}

}  // namespace sampan
