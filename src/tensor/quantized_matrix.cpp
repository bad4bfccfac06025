#include "tensor/quantized_matrix.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/ceil_div.h"
#include "base/error.h"

namespace sampan {
namespace {

void check_shape(const std::string& name, std::string_view what, const TensorView& tensor,
                 const Shape& shape) {
  if (tensor.shape == shape) return;
  fail(ErrorCode::kInvalidData, "tensor {}: {} have shape {}, {} expected", printable(name), what,
       shape_text(tensor.shape), shape_text(shape));
}

void check_dtype(const std::string& name, std::string_view what, const TensorView& tensor,
                 std::initializer_list<DType> allowed) {
  if (std::find(allowed.begin(), allowed.end(), tensor.dtype) != allowed.end()) return;
  std::string list;
  for (const DType dtype : allowed) {
    list += list.empty() ? "" : ", ";
    list += dtype_name(dtype);
  }
  fail(ErrorCode::kInvalidData, "tensor {}: {} are {}, {} expected", printable(name), what,
       dtype_name(tensor.dtype), list);
}

void check_bits(const std::string& name, int bits) {
  if (bits == 4 || bits == 8) return;
  fail(ErrorCode::kUnsupported, "tensor {}: codes of {} bits, 4 and 8 are read", printable(name),
       bits);
}

// Rows whose codes of `bits` bits fill words of 32.
void check_whole_words(const std::string& name, std::int64_t rows, int bits) {
  if (rows % (32 / bits) == 0) return;
  fail(ErrorCode::kInvalidData, "tensor {}: {} rows of {} bits do not fill words of 32 bits",
       printable(name), rows, bits);
}

std::int32_t load_i32(const std::byte* p) {
  std::int32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

}  // namespace

QuantizedMatrix::QuantizedMatrix(std::string name, std::int64_t rows, std::int64_t columns)
    : name_(std::move(name)), rows_(rows), columns_(columns) {
  SAMPAN_CHECK(rows >= 1 && columns >= 1);
  if (columns % 32 == 0) return;
  fail(ErrorCode::kUnsupported, "tensor {}: {} columns are not a multiple of 32", printable(name_),
       columns);
}

void QuantizedMatrix::add_storage(const TensorView& tensor) {
  SAMPAN_CHECK(tensors_ < std::size(storage_));
  storage_[tensors_++] = {tensor.data, static_cast<std::size_t>(tensor.bytes())};
}

std::int64_t QuantizedMatrix::bytes() const {
  std::int64_t bytes = 0;
  for (const std::span<const std::byte> tensor : storage()) {
    bytes += static_cast<std::int64_t>(tensor.size());
  }
  return bytes;
}

std::int64_t QuantizedMatrix::groups() const { return ceil_div(columns_, group_columns_); }

void QuantizedMatrix::set_codes(const TensorView& tensor, const Shape& shape,
                                std::string_view what) {
  check_shape(name_, what, tensor, shape);
  codes_ = tensor.data;
  add_storage(tensor);
}

void QuantizedMatrix::check_group_columns() const {
  if (group_columns_ >= 1 && (group_columns_ % 32 == 0 || group_columns_ >= columns_)) return;
  fail(ErrorCode::kUnsupported, "tensor {}: groups of {} columns are not a multiple of 32",
       printable(name_), group_columns_);
}

// A grid (ceil(rows / block_rows), ceil(columns / block_columns)).
void QuantizedMatrix::set_row_scales(const TensorView& scale, std::int64_t block_rows,
                                     std::int64_t block_columns) {
  SAMPAN_CHECK(block_rows >= 1);
  group_columns_ = block_columns;
  check_group_columns();
  const Shape shape = {ceil_div(rows_, block_rows), groups()};
  const bool line = shape[0] == 1 || shape[1] == 1;
  if (!line || scale.elements() != shape[0] * shape[1]) check_shape(name_, "scales", scale, shape);
  scales_ = {scale.data, scale.dtype, block_rows, shape[1], 1};
  add_storage(scale);
}

// (groups, rows).
void QuantizedMatrix::set_column_scales(const TensorView& scale, std::int64_t group_size) {
  group_columns_ = group_size == -1 ? columns_ : group_size;
  check_group_columns();
  check_dtype(name_, "scales", scale, {DType::kF16, DType::kBF16, DType::kF32});
  check_shape(name_, "scales", scale, {groups(), rows_});
  scales_ = {scale.data, scale.dtype, 1, 1, rows_};
  add_storage(scale);
}

void QuantizedMatrix::set_zeros(const TensorView& zeros, const Shape& shape, ZeroLayout layout) {
  check_dtype(name_, "zero points", zeros,
              {layout == ZeroLayout::kSignedBytes ? DType::kI8 : DType::kI32});
  check_shape(name_, "zero points", zeros, shape);
  zeros_ = zeros.data;
  zero_layout_ = layout;
  add_storage(zeros);
}

// Sorts the columns by group where the index does not simply ascend.
void QuantizedMatrix::set_group_index(const TensorView& g_idx) {
  check_dtype(name_, "group indices", g_idx, {DType::kI32});
  check_shape(name_, "group indices", g_idx, {columns_});
  add_storage(g_idx);
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(groups()));
  bool ascends = true;
  for (std::int64_t i = 0; i < columns_; ++i) {
    const std::int32_t group = load_i32(g_idx.data + 4 * i);
    if (group < 0 || group >= groups()) {
      fail(ErrorCode::kInvalidData, "tensor {}: column {} is of group {}, there are {} groups",
           printable(name_), i, group, groups());
    }
    ascends &= group == i / group_columns_;
    ++sizes[static_cast<std::size_t>(group)];
  }
  if (ascends) return;

  auto columns = std::make_shared<ColumnGroups>();
  std::vector<std::int64_t> next(sizes.size());
  std::int64_t column = 0;
  for (std::size_t group = 0; group < sizes.size(); ++group) {
    if (sizes[group] % 32 != 0) {
      fail(ErrorCode::kUnsupported,
           "tensor {}: group {} has {} columns, which are not a multiple of 32", printable(name_),
           group, sizes[group]);
    }
    next[group] = column;
    column += sizes[group];
    columns->tile_groups.insert(columns->tile_groups.end(),
                                static_cast<std::size_t>(sizes[group] / 32),
                                static_cast<std::int32_t>(group));
  }
  columns->order.resize(static_cast<std::size_t>(columns_));
  for (std::int64_t i = 0; i < columns_; ++i) {
    const auto group = static_cast<std::size_t>(load_i32(g_idx.data + 4 * i));
    columns->order[static_cast<std::size_t>(next[group]++)] = static_cast<std::int32_t>(i);
  }
  groups_ = std::move(columns);
}

std::span<const std::int32_t> QuantizedMatrix::column_order() const {
  if (groups_ == nullptr) return {};
  return groups_->order;
}

std::string QuantizedMatrix::description() const {
  std::string text = form_;
  if (scales_.block_rows > 1 && group_columns_ < columns_) {
    text += fmt::format(" in blocks of {} x {}", scales_.block_rows, group_columns_);
  } else if (group_columns_ < columns_) {
    text += fmt::format(" in groups of {}", group_columns_);
  } else {
    text += scales_.block_rows > 1 ? " with one scale" : " with a scale a row";
  }
  if (groups_ != nullptr) text += ", columns in another order";
  return text;
}

QuantizedMatrix QuantizedMatrix::fp8(std::string name, std::int64_t rows, std::int64_t columns,
                                     const TensorView& weight, const TensorView& scale,
                                     std::int64_t block_rows, std::int64_t block_columns) {
  QuantizedMatrix m(std::move(name), rows, columns);
  m.form_ = "FP8 E4M3";
  m.values_ = QuantizedValues::kE4M3;
  check_dtype(m.name_, "weights", weight, {DType::kF8E4M3});
  m.set_codes(weight, {rows, columns}, "weights");
  check_dtype(m.name_, "scales", scale, {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E8M0});
  m.set_row_scales(scale, block_rows, block_columns);
  return m;
}

QuantizedMatrix QuantizedMatrix::gptq(std::string name, std::int64_t rows, std::int64_t columns,
                                      const Gptq& tensors) {
  QuantizedMatrix m(std::move(name), rows, columns);
  const int bits = tensors.bits;
  check_bits(m.name_, bits);
  check_whole_words(m.name_, rows, bits);
  m.form_ = fmt::format("GPTQ {} bit", bits);
  m.bits_ = bits;
  m.layout_ = CodeLayout::kGptq;
  check_dtype(m.name_, "codes", tensors.qweight, {DType::kI32});
  m.set_codes(tensors.qweight, {columns * bits / 32, rows}, "codes");
  m.set_column_scales(tensors.scales, tensors.group_size);
  m.set_zeros(tensors.qzeros, {m.groups(), rows * bits / 32}, ZeroLayout::kGptq);
  m.zero_raise_ = tensors.zeros_less_one ? 1 : 0;
  if (tensors.g_idx.data != nullptr) m.set_group_index(tensors.g_idx);
  return m;
}

QuantizedMatrix QuantizedMatrix::awq(std::string name, std::int64_t rows, std::int64_t columns,
                                     const TensorView& qweight, const TensorView& qzeros,
                                     const TensorView& scales, std::int64_t group_size) {
  QuantizedMatrix m(std::move(name), rows, columns);
  check_whole_words(m.name_, rows, 4);
  m.form_ = "AWQ 4 bit";
  m.bits_ = 4;
  m.layout_ = CodeLayout::kAwq;
  check_dtype(m.name_, "codes", qweight, {DType::kI32});
  m.set_codes(qweight, {columns, rows / 8}, "codes");
  m.set_column_scales(scales, group_size);
  m.set_zeros(qzeros, {m.groups(), rows / 8}, ZeroLayout::kAwq);
  return m;
}

// Columns that share a scale of a tensor (rows, groups), or one number.
static std::int64_t columns_of_groups(const std::string& name, const TensorView& scale,
                                      std::int64_t columns) {
  if (scale.shape.size() < 2) return columns;
  const std::int64_t groups = scale.shape.back();
  if (groups >= 1 && columns % groups == 0) return columns / groups;
  fail(ErrorCode::kInvalidData, "tensor {}: scales for {} groups do not divide {} columns",
       printable(name), groups, columns);
}

QuantizedMatrix QuantizedMatrix::packed(std::string name, std::int64_t rows, std::int64_t columns,
                                        const Packed& tensors) {
  QuantizedMatrix m(std::move(name), rows, columns);
  const int bits = tensors.bits;
  check_bits(m.name_, bits);
  m.form_ = fmt::format("INT{} packed", bits);
  m.bits_ = bits;
  m.layout_ = bits == 4 ? CodeLayout::kNibbles : CodeLayout::kBytes;
  check_dtype(m.name_, "codes", tensors.packed, {DType::kI32});
  m.set_codes(tensors.packed, {rows, columns * bits / 32}, "codes");
  check_dtype(m.name_, "scales", tensors.scale, {DType::kF32, DType::kBF16, DType::kF16});
  const bool one = tensors.scale.elements() == 1;
  m.set_row_scales(tensors.scale, one ? rows : 1,
                   one ? columns : columns_of_groups(m.name_, tensors.scale, columns));
  if (tensors.zero_point.data != nullptr) {
    m.set_zeros(tensors.zero_point, {ceil_div(rows, 32 / bits), m.groups()},
                ZeroLayout::kPackedRows);
  }
  const TensorView& g_idx = tensors.g_idx;
  if (g_idx.data != nullptr) {  // all -1 where it is not used
    const bool used = g_idx.bytes() < 4 || load_i32(g_idx.data) != -1;
    if (used) m.set_group_index(g_idx);
  }
  return m;
}

QuantizedMatrix QuantizedMatrix::int8(std::string name, std::int64_t rows, std::int64_t columns,
                                      const TensorView& weight, const TensorView& scale,
                                      const TensorView& zero_point) {
  QuantizedMatrix m(std::move(name), rows, columns);
  m.form_ = "INT8";
  m.layout_ = CodeLayout::kSignedBytes;
  check_dtype(m.name_, "weights", weight, {DType::kI8});
  m.set_codes(weight, {rows, columns}, "weights");
  check_dtype(m.name_, "scales", scale, {DType::kF32, DType::kBF16, DType::kF16});
  const bool one = scale.elements() == 1;
  m.set_row_scales(scale, one ? rows : 1,
                   one ? columns : columns_of_groups(m.name_, scale, columns));
  if (zero_point.data != nullptr) {
    m.set_zeros(zero_point, scale.shape, ZeroLayout::kSignedBytes);
    m.zero_raise_ = 128;
  }
  return m;
}

QuantizedMatrix QuantizedMatrix::fp4(std::string name, std::int64_t rows, std::int64_t columns,
                                     const TensorView& packed, const TensorView& scale) {
  QuantizedMatrix m(std::move(name), rows, columns);
  m.form_ = "FP4 E2M1";
  m.values_ = QuantizedValues::kE2M1;
  m.bits_ = 4;
  m.layout_ = CodeLayout::kNibbles;
  check_dtype(m.name_, "codes", packed, {DType::kI8, DType::kU8});
  m.set_codes(packed, {rows, columns / 2}, "codes");
  check_dtype(m.name_, "scales", scale, {DType::kF8E8M0, DType::kU8});
  m.set_row_scales(scale, 1, 32);
  m.scales_.dtype = DType::kF8E8M0;
  return m;
}

}  // namespace sampan
