#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace sampan {

// What a code stands for, before its zero point and scale.
enum class QuantizedValues : std::uint8_t {
  kInteger,  // the unsigned code itself
  kE4M3,     // 8-bit float: sign, 4 bits of exponent (bias 7), 3 of mantissa; 0x7F and 0xFF are NaN
  kE2M1,     // 4-bit float: 0, 0.5, 1, 1.5, 2, 3, 4, 6, then the same below zero
};

// The number for each code (below 16 for E2M1); of integers the code itself.
const std::array<float, 256>& quantized_value_table(QuantizedValues values);

// 32 columns of up to 16 rows, bytes in the order of panels (kernels/panels.h). An element is
// (value of its code - zeros[r]) * scales[r].
struct QuantizedTile {
  alignas(64) std::uint8_t codes[8][16][4];  // [g][r][j]: column 4 g + j of row r
  float scales[16];                          // finite
  std::int32_t zeros[16];                    // 0 for the float codes
};

// A weight matrix (rows = outputs, columns = inputs) in one of the quantised forms in which models
// are published: a typed view of its tensors, which must outlive it. Whatever the form, element
// (r, c) is (value - zero) * scale, exact numbers whose product is rounded once to float.
//
// Factories check shapes, types and the group index against `rows` and `columns`, not the elements:
// no weight is touched. They throw Error kInvalidData, or kUnsupported for group sizes and columns
// that are no multiple of 32 (products take 32 columns at a time); reading throws kInvalidData for
// a scale that is not finite or a code that is NaN. Messages begin with "tensor NAME:", both
// numbers in them. Immutable, cheap to copy, thread-safe.
class QuantizedMatrix {
 public:
  // FP8 E4M3. weight F8_E4M3 (rows, columns), scale F32, BF16, F16 or F8_E8M0 (ceil(rows /
  // block_rows), ceil(columns / block_columns)), which multiplies: DeepSeek's weight_scale_inv
  // (128 x 128 blocks), compressed-tensors "float-quantized" (block_rows 1 and block_columns =
  // columns for a scale a row, both whole for a scale a tensor). block_columns is a multiple of 32
  // or all columns. A scale may be one-dimensional where one side of its grid is 1.
  static QuantizedMatrix fp8(std::string name, std::int64_t rows, std::int64_t columns,
                             const TensorView& weight, const TensorView& scale,
                             std::int64_t block_rows, std::int64_t block_columns);

  // GPTQ. qweight I32 (columns * bits / 32, rows), codes along the columns, low bits first; scales
  // F16, BF16 or F32 (groups, rows); qzeros I32 (groups, rows * bits / 32). g_idx I32 (columns),
  // data nullptr when absent: the group of each column; groups then hold a multiple of 32 columns
  // each. group_size -1: one group.
  struct Gptq {
    TensorView qweight;
    TensorView qzeros;
    TensorView scales;
    TensorView g_idx;
    int bits = 4;  // or 8
    std::int64_t group_size = 128;
    bool zeros_less_one = true;  // as "gptq" stores them; "gptq_v2" does not
  };
  static QuantizedMatrix gptq(std::string name, std::int64_t rows, std::int64_t columns,
                              const Gptq& tensors);

  // AWQ's "gemm" form of 4 bits. qweight I32 (columns, rows / 8), nibble i of a word row
  // [0 2 4 6 1 3 5 7][i] of its eight; qzeros (groups, rows / 8) likewise; scales F16, BF16 or F32
  // (groups, rows). group_size -1: one group.
  static QuantizedMatrix awq(std::string name, std::int64_t rows, std::int64_t columns,
                             const TensorView& qweight, const TensorView& qzeros,
                             const TensorView& scales, std::int64_t group_size);

  // compressed-tensors "pack-quantized". packed I32 (rows, ceil(columns * bits / 32)), low bits
  // first, codes raised by half their range; scale F32, BF16 or F16 (rows, groups), groups columns
  // / groups wide, or one number. zero_point I32 (ceil(rows * bits / 32), groups), packed along the
  // rows and raised likewise; data nullptr when symmetric. g_idx as GPTQ's.
  struct Packed {
    TensorView packed;
    TensorView scale;
    TensorView zero_point;
    TensorView g_idx;
    int bits = 4;  // or 8
  };
  static QuantizedMatrix packed(std::string name, std::int64_t rows, std::int64_t columns,
                                const Packed& tensors);

  // compressed-tensors "int-quantized". weight I8 (rows, columns); scale (rows, groups) or one
  // number; zero_point I8 like the scale, data nullptr when symmetric.
  static QuantizedMatrix int8(std::string name, std::int64_t rows, std::int64_t columns,
                              const TensorView& weight, const TensorView& scale,
                              const TensorView& zero_point);

  // FP4 E2M1 in pairs, the even column in the low nibble. packed I8, U8 (rows, columns / 2); scale
  // F8_E8M0, or U8 that means it, (rows, columns / 32): compressed-tensors "mxfp4-pack-quantized",
  // DeepSeek V4's experts.
  static QuantizedMatrix fp4(std::string name, std::int64_t rows, std::int64_t columns,
                             const TensorView& packed, const TensorView& scale);

  const std::string& name() const { return name_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  QuantizedValues values() const { return values_; }
  int bits() const { return bits_; }  // a code
  // Zero points may differ from half the range (integers only).
  bool has_zeros() const { return zero_layout_ != ZeroLayout::kNone; }
  // The bytes of its tensors, where they lie; how many in all.
  std::span<const std::span<const std::byte>> storage() const { return {storage_, tensors_}; }
  std::int64_t bytes() const;
  // Codes of neighbouring rows lie together rather than those of neighbouring columns.
  bool lies_along_rows() const {
    return layout_ == CodeLayout::kGptq || layout_ == CodeLayout::kAwq;
  }
  std::string description() const;  // "GPTQ 4 bits in groups of 128"

  // Columns are read in an order in which those of a group lie together: stored column i is column
  // column_order()[i] of the matrix. Empty: as they lie.
  std::span<const std::int32_t> column_order() const;

  // Stored columns 32 tile … 32 tile + 31 of the given rows (1 to 16; CHECK); rows of `out` beyond
  // their number become zeros. Neighbouring rows are read fast.
  void read_tile(std::int64_t tile, std::span<const std::int64_t> rows, QuantizedTile& out) const;

  // Rows first_row … first_row + count - 1 as floats, columns in the matrix's own order.
  void dequantize_rows(std::int64_t first_row, std::int64_t count, float* out) const;

  // Throws the Error for a code that is NaN.
  [[noreturn]] void fail_nan(std::int64_t row, std::int64_t column) const;

 private:
  // How codes lie: rows of bytes, of signed bytes, of nibbles (low first); or as GPTQ and AWQ have
  // them, along the rows.
  enum class CodeLayout : std::uint8_t { kBytes, kSignedBytes, kNibbles, kGptq, kAwq };
  // (groups, rows) packed along the rows; (packed rows, groups); (rows, groups) of signed bytes.
  enum class ZeroLayout : std::uint8_t { kNone, kGptq, kAwq, kPackedRows, kSignedBytes };

  // The number for a row and a group is element row / block_rows * row_step + group * group_step.
  struct Grid {
    const std::byte* data = nullptr;
    DType dtype = DType::kF32;
    std::int64_t block_rows = 1;
    std::int64_t row_step = 0;
    std::int64_t group_step = 0;
  };
  // Of a group index that does not simply ascend.
  struct ColumnGroups {
    std::vector<std::int32_t> order;
    std::vector<std::int32_t> tile_groups;
  };

  QuantizedMatrix(std::string name, std::int64_t rows, std::int64_t columns);
  void set_codes(const TensorView& tensor, const Shape& shape, std::string_view what);
  void set_row_scales(const TensorView& scale, std::int64_t block_rows, std::int64_t block_columns);
  void set_column_scales(const TensorView& scale, std::int64_t group_size);
  void set_zeros(const TensorView& zeros, const Shape& shape, ZeroLayout layout);
  void set_group_index(const TensorView& g_idx);
  void add_storage(const TensorView& tensor);
  void check_group_columns() const;
  std::int64_t groups() const;
  std::int64_t group_of(std::int64_t tile) const;
  void read_row_codes(std::int64_t tile, std::span<const std::int64_t> rows,
                      QuantizedTile& out) const;
  void read_ordered_row(const std::byte* row, std::int64_t tile, std::size_t r,
                        QuantizedTile& out) const;
  void read_gptq_codes(std::int64_t tile, std::span<const std::int64_t> rows,
                       QuantizedTile& out) const;
  void read_awq_codes(std::int64_t tile, std::span<const std::int64_t> rows,
                      QuantizedTile& out) const;
  void read_scales(std::int64_t group, std::span<const std::int64_t> rows,
                   QuantizedTile& out) const;
  void read_zeros(std::int64_t group, std::span<const std::int64_t> rows, QuantizedTile& out) const;

  int zero_at(std::int64_t row, std::int64_t group) const;

  std::string name_;
  std::string form_;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::span<const std::byte> storage_[4];
  std::size_t tensors_ = 0;
  QuantizedValues values_ = QuantizedValues::kInteger;
  int bits_ = 8;
  CodeLayout layout_ = CodeLayout::kBytes;
  const std::byte* codes_ = nullptr;
  std::int64_t group_columns_ = 0;
  Grid scales_;
  ZeroLayout zero_layout_ = ZeroLayout::kNone;
  const std::byte* zeros_ = nullptr;
  int zero_raise_ = 0;  // added to a stored zero point
  std::shared_ptr<const ColumnGroups> groups_;
};

}  // namespace sampan
