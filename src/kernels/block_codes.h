#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace sampan {

// The codes of encoded blocks one by one, for a rounding that looks beyond the element it rounds.
// quantize_row (kernels/block_codec.h) chooses a block's scales; here its codes are read and
// replaced. Codes count the values of a type from the least on: 0 … levels - 1, whatever their bits
// in the file.

// What the elements of one block can be: element i with code c is
// scales[g] * levels[c] + offsets[g] in float, g = i / group_elements, which is what dequantize_row
// gives.
struct BlockGrid {
  static constexpr int kMaxGroups = 16;

  std::span<const float> levels;  // ascending
  bool is_even = false;           // levels lie 1 apart
  int group_elements = 0;
  float scales[kMaxGroups] = {};
  float offsets[kMaxGroups] = {};

  float value(int element, int code) const {
    const int g = element / group_elements;
    return scales[g] * levels[static_cast<std::size_t>(code)] + offsets[g];
  }
  // The code whose value is nearest; of a group without a scale, that of the level nearest to zero.
  int nearest(int element, float value) const;
};

// True for the block types that quantize_row takes.
bool has_codes(DType dtype);

// Of one block of a type with codes (CHECK); `block` needs no alignment.
BlockGrid read_grid(DType dtype, const std::byte* block);
// codes (block_elements).
void read_codes(DType dtype, const std::byte* block, std::uint8_t* codes);
// Replaces all codes; scales stay as they are. codes (block_elements), each below the number of
// levels (unchecked).
void write_codes(DType dtype, const std::uint8_t* codes, std::byte* block);

}  // namespace sampan
