#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_file.h"
#include "tensor/quantized_matrix.h"

namespace sampan {

class JsonObject;

enum class QuantizationMethod : std::uint8_t { kNone, kFp8, kGptq, kAwq, kCompressedTensors };

// quantization_config of config.json, as far as the tensors themselves do not say it.
struct QuantizationConfig {
  // One way in which some of the weights are quantised.
  struct Scheme {
    int bits = 8;
    bool is_float = false;        // E4M3 or E2M1, else integers
    std::int64_t group_size = 0;  // columns; 0: a scale a row or for the whole; -1: unknown
    bool symmetric = true;
  };

  QuantizationMethod method = QuantizationMethod::kNone;
  std::int64_t block_rows = 0;  // fp8: weight_block_size; 0: one scale a tensor
  std::int64_t block_columns = 0;
  std::int64_t group_size = 0;  // gptq, awq; -1: one group
  int bits = 0;                 // gptq, awq
  bool uniform = true;          // gptq: no overrides for single modules ("dynamic")
  bool zeros_less_one = true;   // gptq: checkpoint_format is not "gptq_v2"
  std::vector<Scheme> schemes;  // compressed-tensors: of config_groups
};

// `json` is the whole configuration (or text_config); reads "quantization_config", then
// "compression_config". Without either: kNone. Throws Error kUnsupported, one line that names the
// method or scheme and those that are read, for anything that find_quantized() does not take;
// kInvalidData for fields that cannot be.
QuantizationConfig quantization_config_from_json(const JsonObject& json);

// The quantised form of the weight of this name ("….q_proj.weight") by the tensors that lie beside
// it, or nullopt where only a plain one is there, or none:
//   fp8                 NAME F8_E4M3 with NAME_scale_inv, or NAME less "weight" with "scale" (V4)
//   gptq, awq           NAME less "weight" with qweight, qzeros, scales, g_idx
//   compressed-tensors  NAME_packed, NAME_scale, NAME_shape, NAME_zero_point, NAME_g_idx, or NAME
//                       (F8_E4M3 or I8) with NAME_scale
//   FP4 of V4           NAME I8 (rows, columns / 2) with "scale" F8_E8M0
// What is there decides, not lists of modules. Throws Error kInvalidData for a quantised tensor
// without its scales, and for shapes that disagree with each other, with rows and columns or with
// `config`.
std::optional<QuantizedMatrix> find_quantized(const TensorFiles& files, std::string_view name,
                                              std::int64_t rows, std::int64_t columns,
                                              const QuantizationConfig& config);

}  // namespace sampan
