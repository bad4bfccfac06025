#include "models/quantized_weights.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::string_view kWeight = "weight";

// The tensors that lie beside a weight.
class Neighbours {
 public:
  Neighbours(const TensorFiles& files, std::string_view name)
      : files_(files), name_(name), stem_(name.substr(0, name.size() - kWeight.size())) {}

  const std::string& name() const { return name_; }
  // NAME + suffix; NAME less "weight", + suffix.
  std::optional<TensorView> beside(std::string_view suffix) const {
    return files_.find_view(name_ + std::string(suffix));
  }
  std::optional<TensorView> in_place(std::string_view suffix) const {
    return files_.find_view(stem_ + std::string(suffix));
  }
  TensorView required_beside(std::string_view suffix) const {
    return required(beside(suffix), name_ + std::string(suffix));
  }
  TensorView required_in_place(std::string_view suffix) const {
    return required(in_place(suffix), stem_ + std::string(suffix));
  }

 private:
  TensorView required(const std::optional<TensorView>& view, const std::string& missing) const {
    if (view) return *view;
    fail(ErrorCode::kInvalidData, "tensor {} is quantised, but {} is missing", printable(name_),
         printable(missing));
  }

  const TensorFiles& files_;
  std::string name_;
  std::string stem_;
};

std::int64_t last_of(const Shape& shape) { return shape.empty() ? 1 : shape.back(); }

// Columns that share a scale, by the shape of a tensor (rows, groups).
std::int64_t columns_a_group(const TensorView& scale, std::int64_t columns) {
  const std::int64_t groups = scale.shape.size() < 2 ? 1 : last_of(scale.shape);
  return groups < 1 ? columns : columns / groups;
}

std::string scheme_text(int bits, bool is_float, std::int64_t group_size) {
  std::string text = fmt::format("{} bit {}", bits, is_float ? "floats" : "integers");
  if (group_size > 0) text += fmt::format(" in groups of {}", group_size);
  return text;
}

// That a config group of compressed-tensors is what the tensors are. group_size 0: a scale a row or
// for the whole.
void check_scheme(const std::string& name, int bits, bool is_float, std::int64_t group_size,
                  std::int64_t columns, const QuantizationConfig& config) {
  if (config.method != QuantizationMethod::kCompressedTensors) return;
  std::string declared;
  for (const QuantizationConfig::Scheme& scheme : config.schemes) {
    const bool same_group = group_size >= columns
                                ? scheme.group_size == 0 || scheme.group_size >= columns
                                : scheme.group_size == group_size;
    if (scheme.bits == bits && scheme.is_float == is_float && same_group) return;
    declared += declared.empty() ? "" : "; ";
    declared += scheme_text(scheme.bits, scheme.is_float, scheme.group_size);
  }
  fail(ErrorCode::kInvalidData, "tensor {}: {}, config.json says {}", printable(name),
       scheme_text(bits, is_float, group_size >= columns ? 0 : group_size), declared);
}

// --- GPTQ and AWQ

QuantizedMatrix find_gptq(const Neighbours& tensors, const TensorView& qweight, std::int64_t rows,
                          std::int64_t columns, const QuantizationConfig& config) {
  QuantizedMatrix::Gptq gptq;
  gptq.qweight = qweight;
  gptq.qzeros = tensors.required_in_place("qzeros");
  gptq.scales = tensors.required_in_place("scales");
  if (const auto g_idx = tensors.in_place("g_idx")) gptq.g_idx = *g_idx;
  gptq.bits = config.bits;
  gptq.group_size = config.group_size;
  gptq.zeros_less_one = config.zeros_less_one;
  if (!config.uniform) {  // by what the tensors say
    const std::int64_t words = qweight.shape.empty() ? 0 : qweight.shape[0];
    const std::int64_t groups = gptq.scales.shape.empty() ? 0 : gptq.scales.shape[0];
    if (words == columns / 4) gptq.bits = 8;
    if (words == columns / 8) gptq.bits = 4;
    if (groups >= 1 && columns % groups == 0) gptq.group_size = columns / groups;
  }
  return QuantizedMatrix::gptq(tensors.name(), rows, columns, gptq);
}

QuantizedMatrix find_by_qweight(const Neighbours& tensors, const TensorView& qweight,
                                std::int64_t rows, std::int64_t columns,
                                const QuantizationConfig& config) {
  switch (config.method) {
    case QuantizationMethod::kGptq:
      return find_gptq(tensors, qweight, rows, columns, config);
    case QuantizationMethod::kAwq:
      return QuantizedMatrix::awq(tensors.name(), rows, columns, qweight,
                                  tensors.required_in_place("qzeros"),
                                  tensors.required_in_place("scales"), config.group_size);
    default:
      fail(ErrorCode::kInvalidData,
           "tensor {} lies there as qweight, but config.json's quant_method is not gptq or awq",
           printable(tensors.name()));
  }
}

// --- compressed-tensors' packed forms

// The two numbers of weight_shape.
void check_stored_shape(const std::string& name, const TensorView& tensor, std::int64_t rows,
                        std::int64_t columns) {
  const bool wide = tensor.dtype == DType::kI64;
  if ((!wide && tensor.dtype != DType::kI32) || tensor.elements() != 2) {
    fail(ErrorCode::kInvalidData, "tensor {}_shape is {} {}, two I64 or I32 expected",
         printable(name), dtype_name(tensor.dtype), shape_text(tensor.shape));
  }
  std::int64_t stored[2];
  for (int i = 0; i < 2; ++i) {
    std::int32_t narrow;
    std::memcpy(&narrow, tensor.data + 4 * i, sizeof(narrow));
    stored[i] = narrow;
    if (wide) std::memcpy(&stored[i], tensor.data + 8 * i, sizeof(stored[i]));
  }
  if (stored[0] == rows && stored[1] == columns) return;
  fail(ErrorCode::kInvalidData, "tensor {}: its weight_shape is [{}, {}], [{}, {}] expected",
       printable(name), stored[0], stored[1], rows, columns);
}

QuantizedMatrix find_packed(const Neighbours& tensors, const TensorView& packed, std::int64_t rows,
                            std::int64_t columns, const QuantizationConfig& config) {
  const std::string& name = tensors.name();
  if (tensors.beside("_global_scale")) {
    fail(ErrorCode::kUnsupported,
         "tensor {}: NVFP4 is not read by this version (INT4, INT8, FP8 and MXFP4 are)",
         printable(name));
  }
  const TensorView scale = tensors.required_beside("_scale");
  if (packed.dtype == DType::kU8 || packed.dtype == DType::kI8) {
    check_scheme(name, 4, true, 32, columns, config);
    return QuantizedMatrix::fp4(name, rows, columns, packed, scale);
  }
  QuantizedMatrix::Packed form;
  form.packed = packed;
  form.scale = scale;
  if (const auto zeros = tensors.beside("_zero_point")) form.zero_point = *zeros;
  if (const auto g_idx = tensors.beside("_g_idx")) form.g_idx = *g_idx;
  if (const auto shape = tensors.beside("_shape")) check_stored_shape(name, *shape, rows, columns);
  form.bits = last_of(packed.shape) == columns / 4 ? 8 : 4;
  check_scheme(name, form.bits, false, columns_a_group(scale, columns), columns, config);
  return QuantizedMatrix::packed(name, rows, columns, form);
}

// --- one number a byte

// Whether the scales are those of blocks. Where they fit neither blocks nor rows nor the whole,
// they are to be refused as blocks.
bool has_block_scales(const TensorView& scale, std::int64_t rows, std::int64_t columns,
                      const QuantizationConfig& config) {
  if (config.block_rows == 0) return false;
  const std::int64_t blocks =
      ((rows - 1) / config.block_rows + 1) * ((columns - 1) / config.block_columns + 1);
  const std::int64_t scales = scale.elements();
  return scales == blocks || (scales != 1 && scales != rows);
}

QuantizedMatrix find_fp8(const Neighbours& tensors, const TensorView& weight, std::int64_t rows,
                         std::int64_t columns, const QuantizationConfig& config) {
  std::optional<TensorView> scale = tensors.beside("_scale_inv");
  if (!scale) scale = tensors.in_place("scale");
  if (!scale) scale = tensors.required_beside("_scale");
  std::int64_t block_rows = config.block_rows;
  std::int64_t block_columns = config.block_columns;
  if (!has_block_scales(*scale, rows, columns, config)) {
    block_rows = scale->elements() == 1 ? rows : 1;
    block_columns = scale->elements() == 1 ? columns : columns_a_group(*scale, columns);
  }
  check_scheme(tensors.name(), 8, true, block_columns, columns, config);
  return QuantizedMatrix::fp8(tensors.name(), rows, columns, weight, *scale, block_rows,
                              block_columns);
}

QuantizedMatrix find_int8(const Neighbours& tensors, const TensorView& weight, std::int64_t rows,
                          std::int64_t columns, const QuantizationConfig& config) {
  const std::optional<TensorView> scale = tensors.in_place("scale");
  if (scale && weight.shape == Shape{rows, columns / 2}) {
    return QuantizedMatrix::fp4(tensors.name(), rows, columns, weight, *scale);
  }
  const TensorView required = scale ? *scale : tensors.required_beside("_scale");
  TensorView zeros;
  if (const auto view = tensors.beside("_zero_point")) zeros = *view;
  check_scheme(tensors.name(), 8, false, columns_a_group(required, columns), columns, config);
  return QuantizedMatrix::int8(tensors.name(), rows, columns, weight, required, zeros);
}

}  // namespace

std::optional<QuantizedMatrix> find_quantized(const TensorFiles& files, std::string_view name,
                                              std::int64_t rows, std::int64_t columns,
                                              const QuantizationConfig& config) {
  if (!name.ends_with(kWeight)) return std::nullopt;
  const Neighbours tensors(files, name);
  if (const auto weight = tensors.beside("")) {
    switch (weight->dtype) {
      case DType::kF8E4M3:
        return find_fp8(tensors, *weight, rows, columns, config);
      case DType::kI8:
      case DType::kU8:
        return find_int8(tensors, *weight, rows, columns, config);
      case DType::kF8E5M2:
        fail(ErrorCode::kUnsupported, "tensor {}: F8_E5M2 is not read by this version (F8_E4M3 is)",
             printable(name));
      default:
        return std::nullopt;
    }
  }
  if (const auto qweight = tensors.in_place("qweight")) {
    return find_by_qweight(tensors, *qweight, rows, columns, config);
  }
  if (const auto packed = tensors.beside("_packed")) {
    return find_packed(tensors, *packed, rows, columns, config);
  }
  return std::nullopt;
}

}  // namespace sampan
