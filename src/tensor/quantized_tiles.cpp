// Reading of QuantizedMatrix: codes, scales and zero points of 16 rows and 32 columns.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "tensor/half.h"
#include "tensor/quantized_matrix.h"

namespace sampan {
namespace {

constexpr std::int64_t kTileColumns = 32;
constexpr std::int64_t kTileRows = 16;

std::uint32_t load_u32(const std::byte* p) {
  std::uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

int load_byte(const std::byte* p) { return std::to_integer<int>(*p); }

void store_u32(std::uint8_t* p, std::uint32_t value) { std::memcpy(p, &value, sizeof(value)); }

// Four nibbles, low first, as four bytes.
std::uint32_t nibbles_to_bytes(std::uint32_t nibbles) {
  const std::uint32_t pairs = (nibbles | nibbles << 8) & 0x00FF00FFu;
  return (pairs | pairs << 4) & 0x0F0F0F0Fu;
}

int awq_nibble(std::uint32_t word, std::int64_t row) {
  return static_cast<int>(word >> (4 * (row % 2 * 4 + row % 8 / 2))) & 15;
}

bool are_neighbours(std::span<const std::int64_t> rows) {
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i] != rows[0] + static_cast<std::int64_t>(i)) return false;
  }
  return rows.size() == kTileRows;
}

// One word of 32 bits for each row of a line of them.
void gather_words(const std::byte* line, std::span<const std::int64_t> rows, bool neighbours,
                  std::uint32_t (&words)[kTileRows]) {
  if (neighbours) {
    std::memcpy(words, line + 4 * rows[0], sizeof(words));
    return;
  }
  for (std::size_t i = 0; i < kTileRows; ++i) {
    words[i] = i < rows.size() ? load_u32(line + 4 * rows[i]) : 0;
  }
}

// Bytes i of four numbers side by side, for each i: the transpose of 4 x 4 bytes.
void transpose_bytes(const std::uint32_t (&in)[4][4], std::uint32_t (&out)[4][4]) {
  constexpr std::uint32_t kEven = 0x00FF00FFu;
  for (std::size_t lane = 0; lane < 4; ++lane) {
    const std::uint32_t a = in[0][lane], b = in[1][lane], c = in[2][lane], d = in[3][lane];
    const std::uint32_t even_ab = (a & kEven) | (b & kEven) << 8;
    const std::uint32_t even_cd = (c & kEven) | (d & kEven) << 8;
    const std::uint32_t odd_ab = (a >> 8 & kEven) | (b & ~kEven);
    const std::uint32_t odd_cd = (c >> 8 & kEven) | (d & ~kEven);
    out[0][lane] = (even_ab & 0xFFFFu) | even_cd << 16;
    out[1][lane] = (odd_ab & 0xFFFFu) | odd_cd << 16;
    out[2][lane] = even_ab >> 16 | (even_cd & 0xFFFF0000u);
    out[3][lane] = odd_ab >> 16 | (odd_cd & 0xFFFF0000u);
  }
}

// Four columns of 16 rows of AWQ from two words each, the even nibbles of which are rows 0, 4, 1
// and 5 of eight, the odd ones 2, 6, 3 and 7.
void read_awq_group(const std::byte* words, std::int64_t line_bytes,
                    std::uint8_t (&out)[kTileRows][4]) {
  constexpr std::size_t kEvenRows[4] = {0, 4, 1, 5};
  std::uint32_t columns[4][4];
  for (std::size_t j = 0; j < 4; ++j) {
    for (std::size_t half = 0; half < 2; ++half) {
      const std::uint32_t word = load_u32(words + 4 * half);
      columns[j][2 * half] = word & 0x0F0F0F0Fu;
      columns[j][2 * half + 1] = word >> 4 & 0x0F0F0F0Fu;
    }
    words += line_bytes;
  }
  std::uint32_t rows[4][4];
  transpose_bytes(columns, rows);
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      store_u32(out[lane / 2 * 8 + kEvenRows[i] + lane % 2 * 2], rows[i][lane]);
    }
  }
}

void read_row_of_bytes(const std::byte* bytes, std::uint32_t flip, std::size_t row,
                       QuantizedTile& out) {
  for (std::size_t g = 0; g < 8; ++g) store_u32(out.codes[g][row], load_u32(bytes + 4 * g) ^ flip);
}

void read_row_of_nibbles(const std::byte* bytes, std::size_t row, QuantizedTile& out) {
  for (std::size_t g = 0; g < 8; g += 2) {
    const std::uint32_t word = load_u32(bytes + 2 * g);
    store_u32(out.codes[g][row], nibbles_to_bytes(word & 0xFFFFu));
    store_u32(out.codes[g + 1][row], nibbles_to_bytes(word >> 16));
  }
}

float e8m0_to_float(int byte) {  // 255 is no number
  if (byte == 255) return std::nanf("");
  if (byte == 0) return 0x1p-127f;
  return std::bit_cast<float>(static_cast<std::uint32_t>(byte) << 23);
}

template <typename Load>
void load_each(std::span<const std::int64_t> indices, float (&out)[kTileRows], Load&& load) {
  for (std::size_t r = 0; r < kTileRows; ++r) out[r] = 0.0f;
  for (std::size_t r = 0; r < indices.size(); ++r) out[r] = load(indices[r]);
}

std::uint16_t load_u16(const std::byte* p) {
  std::uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

void load_numbers(DType dtype, const std::byte* data, std::span<const std::int64_t> indices,
                  float (&out)[kTileRows]) {
  switch (dtype) {
    case DType::kF32:
      return load_each(indices, out, [&](std::int64_t i) {
        return std::bit_cast<float>(load_u32(data + 4 * i));
      });
    case DType::kF16:
      return load_each(indices, out,
                       [&](std::int64_t i) { return f16_to_float(load_u16(data + 2 * i)); });
    case DType::kBF16:
      return load_each(indices, out,
                       [&](std::int64_t i) { return bf16_to_float(load_u16(data + 2 * i)); });
    default:
      return load_each(indices, out,
                       [&](std::int64_t i) { return e8m0_to_float(load_byte(data + i)); });
  }
}

using ValueTable = std::array<float, 256>;

ValueTable make_e4m3_values() {
  ValueTable values;
  for (int code = 0; code < 256; ++code) {
    const int exponent = code >> 3 & 15;
    const int mantissa = code & 7;
    float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    if ((code & 0x7F) == 0x7F) value = std::nanf("");
    values[static_cast<std::size_t>(code)] = code < 128 ? value : -value;
  }
  return values;
}

ValueTable make_e2m1_values() {
  constexpr float kMagnitudes[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
  ValueTable values = {};
  for (std::size_t code = 0; code < 16; ++code) {
    values[code] = code < 8 ? kMagnitudes[code] : -kMagnitudes[code - 8];
  }
  return values;
}

ValueTable make_integers() {
  ValueTable values;
  for (std::size_t code = 0; code < 256; ++code) values[code] = static_cast<float>(code);
  return values;
}

}  // namespace

const std::array<float, 256>& quantized_value_table(QuantizedValues values) {
  static const ValueTable integers = make_integers();
  static const ValueTable e4m3 = make_e4m3_values();
  static const ValueTable e2m1 = make_e2m1_values();
  switch (values) {
    case QuantizedValues::kE4M3:
      return e4m3;
    case QuantizedValues::kE2M1:
      return e2m1;
    case QuantizedValues::kInteger:
      break;
  }
  return integers;
}

std::int64_t QuantizedMatrix::group_of(std::int64_t tile) const {
  if (groups_ != nullptr) return groups_->tile_groups[static_cast<std::size_t>(tile)];
  return tile * kTileColumns / group_columns_;
}

void QuantizedMatrix::read_row_codes(std::int64_t tile, std::span<const std::int64_t> rows,
                                     QuantizedTile& out) const {
  const std::int64_t row_bytes = columns_ * bits_ / 8;
  const std::uint32_t flip = layout_ == CodeLayout::kSignedBytes ? 0x80808080u : 0;
  for (std::size_t r = 0; r < kTileRows; ++r) {
    if (r >= rows.size()) {
      for (auto& group : out.codes) store_u32(group[r], 0);
      continue;
    }
    const std::byte* row = codes_ + rows[r] * row_bytes;
    if (groups_ != nullptr) {
      read_ordered_row(row, tile, r, out);
    } else if (bits_ == 4) {
      read_row_of_nibbles(row + tile * kTileColumns / 2, r, out);
    } else {
      read_row_of_bytes(row + tile * kTileColumns, flip, r, out);
    }
  }
}

void QuantizedMatrix::read_ordered_row(const std::byte* row, std::int64_t tile, std::size_t r,
                                       QuantizedTile& out) const {
  const std::int32_t* columns = groups_->order.data() + tile * kTileColumns;
  for (std::size_t i = 0; i < kTileColumns; ++i) {
    const int byte = load_byte(row + static_cast<std::int64_t>(columns[i]) * bits_ / 8);
    const int code = bits_ == 8 ? byte : byte >> (columns[i] % 2 * 4) & 15;
    out.codes[i / 4][r][i % 4] = static_cast<std::uint8_t>(code);
  }
}

void QuantizedMatrix::read_gptq_codes(std::int64_t tile, std::span<const std::int64_t> rows,
                                      QuantizedTile& out) const {
  const bool neighbours = are_neighbours(rows);
  const std::int64_t line_bytes = rows_ * 4;
  std::uint32_t words[kTileRows];
  if (groups_ != nullptr) {
    const std::int32_t* columns = groups_->order.data() + tile * kTileColumns;
    const std::uint32_t mask = (1u << bits_) - 1;
    for (std::size_t g = 0; g < 8; ++g) {
      std::uint32_t bytes[kTileRows] = {};
      for (std::size_t j = 0; j < 4; ++j) {
        const std::int64_t bit = static_cast<std::int64_t>(columns[4 * g + j]) * bits_;
        gather_words(codes_ + bit / 32 * line_bytes, rows, neighbours, words);
        const auto shift = static_cast<int>(bit % 32);
        for (std::size_t r = 0; r < kTileRows; ++r) {
          bytes[r] |= (words[r] >> shift & mask) << (8 * j);
        }
      }
      std::memcpy(out.codes[g], bytes, sizeof(bytes));
    }
    return;
  }
  const std::byte* line = codes_ + tile * bits_ * line_bytes;
  if (bits_ == 8) {
    for (auto& group : out.codes) {
      gather_words(line, rows, neighbours, words);
      std::memcpy(group, words, sizeof(words));
      line += line_bytes;
    }
    return;
  }
  for (std::size_t g = 0; g < 8; g += 2) {
    gather_words(line, rows, neighbours, words);
    std::uint32_t bytes[2][kTileRows];
    for (std::size_t r = 0; r < kTileRows; ++r) {
      bytes[0][r] = nibbles_to_bytes(words[r] & 0xFFFFu);
      bytes[1][r] = nibbles_to_bytes(words[r] >> 16);
    }
    std::memcpy(out.codes[g], bytes, sizeof(bytes));
    line += line_bytes;
  }
}

void QuantizedMatrix::read_awq_codes(std::int64_t tile, std::span<const std::int64_t> rows,
                                     QuantizedTile& out) const {
  const std::int64_t line_bytes = rows_ / 2;
  const std::byte* line = codes_ + tile * kTileColumns * line_bytes;
  if (rows[0] % 8 == 0 && are_neighbours(rows)) {
    for (std::size_t g = 0; g < 8; ++g) {
      read_awq_group(line + rows[0] / 2, line_bytes, out.codes[g]);
      line += 4 * line_bytes;
    }
    return;
  }
  for (std::size_t i = 0; i < kTileColumns; ++i) {
    for (std::size_t r = 0; r < kTileRows; ++r) {
      const int code = r < rows.size() ? awq_nibble(load_u32(line + rows[r] / 8 * 4), rows[r]) : 0;
      out.codes[i / 4][r][i % 4] = static_cast<std::uint8_t>(code);
    }
    line += line_bytes;
  }
}

void QuantizedMatrix::read_scales(std::int64_t group, std::span<const std::int64_t> rows,
                                  QuantizedTile& out) const {
  const std::int64_t block_rows = scales_.block_rows;
  const std::int64_t offset = group * scales_.group_step;
  std::int64_t indices[kTileRows];
  for (std::size_t r = 0; r < rows.size(); ++r) {
    indices[r] = block_rows == 1 ? rows[r] : rows[r] / block_rows;
    indices[r] = indices[r] * scales_.row_step + offset;
  }
  load_numbers(scales_.dtype, scales_.data, {indices, rows.size()}, out.scales);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (std::isfinite(out.scales[r])) continue;
    fail(ErrorCode::kInvalidData, "tensor {}: the scale of row {} and group {} is not finite",
         printable(name_), rows[r], group);
  }
}

int QuantizedMatrix::zero_at(std::int64_t row, std::int64_t group) const {
  const std::int64_t words_a_group = rows_ * bits_ / 32;
  switch (zero_layout_) {
    case ZeroLayout::kGptq: {
      const std::byte* line = zeros_ + group * words_a_group * 4;
      const int byte = load_byte(line + row * bits_ / 8);
      return bits_ == 8 ? byte : byte >> (row % 2 * 4) & 15;
    }
    case ZeroLayout::kAwq:
      return awq_nibble(load_u32(zeros_ + (group * words_a_group + row / 8) * 4), row);
    case ZeroLayout::kPackedRows: {
      const std::int64_t in_word = 32 / bits_;
      const std::uint32_t word = load_u32(zeros_ + (row / in_word * groups() + group) * 4);
      return static_cast<int>(word >> (row % in_word * bits_) & ((1u << bits_) - 1));
    }
    case ZeroLayout::kSignedBytes: {
      const std::int64_t index = row / scales_.block_rows * scales_.row_step + group;
      return static_cast<std::int8_t>(load_byte(zeros_ + index));
    }
    case ZeroLayout::kNone:
      break;
  }
  return values_ == QuantizedValues::kInteger ? 1 << (bits_ - 1) : 0;
}

void QuantizedMatrix::read_zeros(std::int64_t group, std::span<const std::int64_t> rows,
                                 QuantizedTile& out) const {
  if (zero_layout_ == ZeroLayout::kNone) {
    const std::int32_t zero = zero_at(0, 0);
    for (std::size_t r = 0; r < kTileRows; ++r) out.zeros[r] = r < rows.size() ? zero : 0;
    return;
  }
  for (std::size_t r = 0; r < kTileRows; ++r) {
    out.zeros[r] = r < rows.size() ? zero_at(rows[r], group) + zero_raise_ : 0;
    if (out.zeros[r] <= 255) continue;
    fail(ErrorCode::kInvalidData,
         "tensor {}: the zero point of row {} and group {} is {}, above 255", printable(name_),
         rows[r], group, out.zeros[r]);
  }
}

void QuantizedMatrix::read_tile(std::int64_t tile, std::span<const std::int64_t> rows,
                                QuantizedTile& out) const {
  SAMPAN_CHECK(tile >= 0 && tile < columns_ / kTileColumns);
  SAMPAN_CHECK(!rows.empty() && rows.size() <= static_cast<std::size_t>(kTileRows));
  for (const std::int64_t row : rows) SAMPAN_CHECK(row >= 0 && row < rows_);
  const std::int64_t group = group_of(tile);
  read_scales(group, rows, out);
  read_zeros(group, rows, out);
  switch (layout_) {
    case CodeLayout::kGptq:
      return read_gptq_codes(tile, rows, out);
    case CodeLayout::kAwq:
      return read_awq_codes(tile, rows, out);
    default:
      return read_row_codes(tile, rows, out);
  }
}

void QuantizedMatrix::dequantize_rows(std::int64_t first_row, std::int64_t count,
                                      float* out) const {
  SAMPAN_CHECK(first_row >= 0 && count >= 0 && count <= rows_ - first_row);
  const std::array<float, 256>& value_of = quantized_value_table(values_);
  const std::span<const std::int32_t> order = column_order();
  QuantizedTile tile;
  for (std::int64_t begin = 0; begin < count; begin += kTileRows) {
    std::int64_t rows[kTileRows];
    const auto some = static_cast<std::size_t>(std::min(kTileRows, count - begin));
    for (std::size_t r = 0; r < some; ++r) {
      rows[r] = first_row + begin + static_cast<std::int64_t>(r);
    }
    for (std::int64_t t = 0; t < columns_ / kTileColumns; ++t) {
      read_tile(t, {rows, some}, tile);
      for (std::size_t r = 0; r < some; ++r) {
        float* row = out + (begin + static_cast<std::int64_t>(r)) * columns_;
        for (std::size_t i = 0; i < kTileColumns; ++i) {
          const std::int64_t stored = t * kTileColumns + static_cast<std::int64_t>(i);
          const std::int64_t column =
              order.empty() ? stored : order[static_cast<std::size_t>(stored)];
          const float value = value_of[tile.codes[i / 4][r][i % 4]];
          if (std::isnan(value)) fail_nan(rows[r], column);
          row[column] = (value - static_cast<float>(tile.zeros[r])) * tile.scales[r];
        }
      }
    }
  }
}

void QuantizedMatrix::fail_nan(std::int64_t row, std::int64_t column) const {
  fail(ErrorCode::kInvalidData, "tensor {}: row {}, column {} is NaN", printable(name_), row,
       column);
}

}  // namespace sampan
