#include "kernels/block_codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "kernels/reference/block_scales.h"
#include "tensor/blocks.h"
#include "tensor/half.h"

namespace sampan {
namespace {

template <int kLeast, int kCount>
constexpr std::array<float, kCount> integers_from() {
  std::array<float, kCount> values{};
  for (int i = 0; i < kCount; ++i)
    values[static_cast<std::size_t>(i)] = static_cast<float>(kLeast + i);
  return values;
}

constexpr auto kQ2Levels = integers_from<0, 4>();
constexpr auto kQ3Levels = integers_from<-4, 8>();
constexpr auto kQ4Levels = integers_from<0, 16>();
constexpr auto kQ4CentredLevels = integers_from<-8, 16>();
constexpr auto kQ5Levels = integers_from<0, 32>();
constexpr auto kQ5CentredLevels = integers_from<-16, 32>();
constexpr auto kQ6Levels = integers_from<-32, 64>();
// Without -128, which encoders do not write and products by absolute values do not expect.
constexpr auto kQ8Levels = integers_from<-127, 255>();
constexpr auto kIQ4Levels = [] {
  std::array<float, 16> values{};
  std::copy(kIQ4Values.begin(), kIQ4Values.end(), values.begin());
  return values;
}();
constexpr std::array<float, 15> kMXFP4Levels = {-12, -8, -6, -4, -3, -2, -1, 0,
                                                1,   2,  3,  4,  6,  8,  12};

// Where the bits of an element's code lie; a second field holds the bits above the first's.
struct BitField {
  std::size_t byte = 0;
  int shift = 0;
  int bits = 0;
};
struct Place {
  BitField low;
  BitField high;
};

// i / 32 % 4 for the four fields of a half of 128, and the byte of the half.
constexpr BitField field_of_half(std::size_t first, int i, int bits) {
  return {first + static_cast<std::size_t>(i / 128 * 32 + i % 32), bits * (i / 32 % 4), bits};
}
// Nibbles of blocks of 32.
constexpr BitField nibble_of_block(std::size_t first, int i) {
  return {first + static_cast<std::size_t>(i / 32 * 16 + i % 16), 4 * (i % 32 / 16), 4};
}
// Nibbles of Q4_K and Q5_K.
constexpr BitField nibble_of_pair(std::size_t first, int i) {
  return {first + static_cast<std::size_t>(i / 64 * 32 + i % 32), 4 * (i / 32 % 2), 4};
}
constexpr BitField bit_of_word(std::size_t first, int i) {
  return {first + static_cast<std::size_t>(i / 8), i % 8, 1};
}
constexpr BitField bit_of_group(std::size_t first, int i) {
  return {first + static_cast<std::size_t>(i % 32), i / 32, 1};
}

constexpr Place place_q4_0(int i) { return {nibble_of_block(offsetof(BlockQ4_0, qs), i), {}}; }
constexpr Place place_q4_1(int i) { return {nibble_of_block(offsetof(BlockQ4_1, qs), i), {}}; }
constexpr Place place_q5_0(int i) {
  return {nibble_of_block(offsetof(BlockQ5_0, qs), i), bit_of_word(offsetof(BlockQ5_0, qh), i)};
}
constexpr Place place_q5_1(int i) {
  return {nibble_of_block(offsetof(BlockQ5_1, qs), i), bit_of_word(offsetof(BlockQ5_1, qh), i)};
}
constexpr Place place_q8_0(int i) {
  return {{offsetof(BlockQ8_0, qs) + static_cast<std::size_t>(i), 0, 8}, {}};
}
constexpr Place place_q2_k(int i) { return {field_of_half(offsetof(BlockQ2_K, qs), i, 2), {}}; }
constexpr Place place_q3_k(int i) {
  return {field_of_half(offsetof(BlockQ3_K, qs), i, 2),
          bit_of_group(offsetof(BlockQ3_K, hmask), i)};
}
constexpr Place place_q4_k(int i) { return {nibble_of_pair(offsetof(BlockQ4_K, qs), i), {}}; }
constexpr Place place_q5_k(int i) {
  return {nibble_of_pair(offsetof(BlockQ5_K, qs), i), bit_of_group(offsetof(BlockQ5_K, qh), i)};
}
constexpr Place place_q6_k(int i) {
  const auto byte = static_cast<std::size_t>(i / 128 * 64 + i % 64);
  return {{offsetof(BlockQ6_K, ql) + byte, 4 * (i / 64 % 2), 4},
          field_of_half(offsetof(BlockQ6_K, qh), i, 2)};
}
constexpr Place place_iq4_nl(int i) { return {nibble_of_block(offsetof(BlockIQ4_NL, qs), i), {}}; }
constexpr Place place_iq4_xs(int i) { return {nibble_of_block(offsetof(BlockIQ4_XS, qs), i), {}}; }
constexpr Place place_mxfp4(int i) { return {nibble_of_block(offsetof(BlockMXFP4, qs), i), {}}; }

// Bits of a code in the file and back.
constexpr int same(int code) { return code; }
constexpr int to_signed_byte(int code) { return (code - 127) & 255; }
constexpr int from_signed_byte(int bits) { return bits == 128 ? 0 : (bits + 127) & 255; }
// E2M1 is a sign and a magnitude; -0 is read as 0.
constexpr int to_e2m1(int code) { return code >= 7 ? code - 7 : 15 - code; }
constexpr int from_e2m1(int bits) { return bits < 8 ? 7 + bits : 15 - bits; }

int take(const std::byte* block, BitField field) {
  return std::to_integer<int>(block[field.byte]) >> field.shift & ((1 << field.bits) - 1);
}

void put(std::byte* block, BitField field, int bits) {
  const int mask = ((1 << field.bits) - 1) << field.shift;
  const int kept = std::to_integer<int>(block[field.byte]) & ~mask;
  block[field.byte] = static_cast<std::byte>(kept | (bits << field.shift & mask));
}

template <int kElements, Place place(int), int from_bits(int)>
void read_all(const std::byte* block, std::uint8_t* codes) {
  for (int i = 0; i < kElements; ++i) {
    const Place at = place(i);
    const int high = at.high.bits == 0 ? 0 : take(block, at.high) << at.low.bits;
    codes[i] = static_cast<std::uint8_t>(from_bits(take(block, at.low) | high));
  }
}

template <int kElements, Place place(int), int to_bits(int)>
void write_all(const std::uint8_t* codes, std::byte* block) {
  for (int i = 0; i < kElements; ++i) {
    const Place at = place(i);
    const int bits = to_bits(codes[i]);
    put(block, at.low, bits);
    if (at.high.bits > 0) put(block, at.high, bits >> at.low.bits);
  }
}

template <typename Block>
void scale_of(const Block& block, BlockGrid& grid) {
  grid.scales[0] = f16_to_float(block.d);
}

template <typename Block>
void scale_and_minimum_of(const Block& block, BlockGrid& grid) {
  grid.scales[0] = f16_to_float(block.d);
  grid.offsets[0] = f16_to_float(block.m);
}

void scales_q2_k(const BlockQ2_K& block, BlockGrid& grid) {
  const float d = f16_to_float(block.d), dmin = f16_to_float(block.dmin);
  for (int g = 0; g < 16; ++g) {
    grid.scales[g] = d * static_cast<float>(block.scales[g] & 15);
    grid.offsets[g] = -(dmin * static_cast<float>(block.scales[g] >> 4));
  }
}

void scales_q3_k(const BlockQ3_K& block, BlockGrid& grid) {
  const float d = f16_to_float(block.d);
  std::uint8_t scales[16];
  unpack_scales_q3_k(block.scales, scales);
  for (int g = 0; g < 16; ++g) grid.scales[g] = d * static_cast<float>(scales[g] - 32);
}

template <typename Block>
void scales_q45_k(const Block& block, BlockGrid& grid) {
  const float d = f16_to_float(block.d), dmin = f16_to_float(block.dmin);
  std::uint8_t scales[8], minima[8];
  unpack_scales_q4_k(block.scales, scales, minima);
  for (int g = 0; g < 8; ++g) {
    grid.scales[g] = d * static_cast<float>(scales[g]);
    grid.offsets[g] = -(dmin * static_cast<float>(minima[g]));
  }
}

void scales_q6_k(const BlockQ6_K& block, BlockGrid& grid) {
  const float d = f16_to_float(block.d);
  for (int g = 0; g < 16; ++g) grid.scales[g] = d * static_cast<float>(block.scales[g]);
}

void scales_iq4_xs(const BlockIQ4_XS& block, BlockGrid& grid) {
  const float d = f16_to_float(block.d);
  for (int g = 0; g < 8; ++g) {
    const int low = block.scales_l[g / 2] >> 4 * (g % 2) & 15;
    const int high = block.scales_h >> 2 * g & 3;
    grid.scales[g] = d * static_cast<float>((low | high << 4) - 32);
  }
}

void scale_mxfp4(const BlockMXFP4& block, BlockGrid& grid) {
  grid.scales[0] = e8m0_half_to_float(block.e);
}

template <typename Block, void read(const Block&, BlockGrid&)>
void read_scales(const std::byte* bytes, BlockGrid& grid) {
  Block block;
  std::memcpy(&block, bytes, sizeof(Block));
  read(block, grid);
}

struct TypeCodes {
  std::span<const float> levels;
  bool is_even;
  int group_elements;
  void (*read_scales)(const std::byte* block, BlockGrid& grid);
  void (*read)(const std::byte* block, std::uint8_t* codes);
  void (*write)(const std::uint8_t* codes, std::byte* block);
};

template <typename Block, int kElements, int kGroup, void scales(const Block&, BlockGrid&),
          Place place(int), int to_bits(int) = same, int from_bits(int) = same>
constexpr TypeCodes codes_with(std::span<const float> levels, bool is_even = true) {
  return {levels,
          is_even,
          kGroup,
          read_scales<Block, scales>,
          read_all<kElements, place, from_bits>,
          write_all<kElements, place, to_bits>};
}

const TypeCodes* find_codes(DType dtype) {
  static constexpr TypeCodes kQ4_0 =
      codes_with<BlockQ4_0, 32, 32, scale_of<BlockQ4_0>, place_q4_0>(kQ4CentredLevels);
  static constexpr TypeCodes kQ4_1 =
      codes_with<BlockQ4_1, 32, 32, scale_and_minimum_of<BlockQ4_1>, place_q4_1>(kQ4Levels);
  static constexpr TypeCodes kQ5_0 =
      codes_with<BlockQ5_0, 32, 32, scale_of<BlockQ5_0>, place_q5_0>(kQ5CentredLevels);
  static constexpr TypeCodes kQ5_1 =
      codes_with<BlockQ5_1, 32, 32, scale_and_minimum_of<BlockQ5_1>, place_q5_1>(kQ5Levels);
  static constexpr TypeCodes kQ8_0 = codes_with<BlockQ8_0, 32, 32, scale_of<BlockQ8_0>, place_q8_0,
                                                to_signed_byte, from_signed_byte>(kQ8Levels);
  static constexpr TypeCodes kQ2_K =
      codes_with<BlockQ2_K, 256, 16, scales_q2_k, place_q2_k>(kQ2Levels);
  static constexpr TypeCodes kQ3_K =
      codes_with<BlockQ3_K, 256, 16, scales_q3_k, place_q3_k>(kQ3Levels);
  static constexpr TypeCodes kQ4_K =
      codes_with<BlockQ4_K, 256, 32, scales_q45_k<BlockQ4_K>, place_q4_k>(kQ4Levels);
  static constexpr TypeCodes kQ5_K =
      codes_with<BlockQ5_K, 256, 32, scales_q45_k<BlockQ5_K>, place_q5_k>(kQ5Levels);
  static constexpr TypeCodes kQ6_K =
      codes_with<BlockQ6_K, 256, 16, scales_q6_k, place_q6_k>(kQ6Levels);
  static constexpr TypeCodes kIQ4_NL =
      codes_with<BlockIQ4_NL, 32, 32, scale_of<BlockIQ4_NL>, place_iq4_nl>(kIQ4Levels, false);
  static constexpr TypeCodes kIQ4_XS =
      codes_with<BlockIQ4_XS, 256, 32, scales_iq4_xs, place_iq4_xs>(kIQ4Levels, false);
  static constexpr TypeCodes kMXFP4 =
      codes_with<BlockMXFP4, 32, 32, scale_mxfp4, place_mxfp4, to_e2m1, from_e2m1>(kMXFP4Levels,
                                                                                   false);
  switch (dtype) {
    case DType::kQ4_0:
      return &kQ4_0;
    case DType::kQ4_1:
      return &kQ4_1;
    case DType::kQ5_0:
      return &kQ5_0;
    case DType::kQ5_1:
      return &kQ5_1;
    case DType::kQ8_0:
      return &kQ8_0;
    case DType::kQ2_K:
      return &kQ2_K;
    case DType::kQ3_K:
      return &kQ3_K;
    case DType::kQ4_K:
      return &kQ4_K;
    case DType::kQ5_K:
      return &kQ5_K;
    case DType::kQ6_K:
      return &kQ6_K;
    case DType::kIQ4_NL:
      return &kIQ4_NL;
    case DType::kIQ4_XS:
      return &kIQ4_XS;
    case DType::kMXFP4:
      return &kMXFP4;
    default:
      return nullptr;
  }
}

const TypeCodes& codes_of(DType dtype) {
  const TypeCodes* const found = find_codes(dtype);
  SAMPAN_CHECK(found != nullptr);
  return *found;
}

}  // namespace

int BlockGrid::nearest(int element, float value) const {
  const int g = element / group_elements;
  const float level = scales[g] != 0 ? (value - offsets[g]) / scales[g] : 0.0f;
  // Not a number counts as the least.
  const float kept = level > levels.front() ? std::min(level, levels.back()) : levels.front();
  if (is_even) return static_cast<int>(std::nearbyint(kept - levels.front()));
  const auto above = std::lower_bound(levels.begin(), levels.end(), kept);
  const auto code = static_cast<int>(above - levels.begin());
  return above != levels.begin() && kept - above[-1] <= *above - kept ? code - 1 : code;
}

bool has_codes(DType dtype) { return find_codes(dtype) != nullptr; }

BlockGrid read_grid(DType dtype, const std::byte* block) {
  const TypeCodes& codes = codes_of(dtype);
  BlockGrid grid;
  grid.levels = codes.levels;
  grid.is_even = codes.is_even;
  grid.group_elements = codes.group_elements;
  codes.read_scales(block, grid);
  return grid;
}

void read_codes(DType dtype, const std::byte* block, std::uint8_t* codes) {
  codes_of(dtype).read(block, codes);
}

void write_codes(DType dtype, const std::uint8_t* codes, std::byte* block) {
  codes_of(dtype).write(codes, block);
}

}  // namespace sampan
