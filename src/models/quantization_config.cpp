#include <algorithm>
#include <limits>

#include "base/error.h"
#include "models/json_object.h"
#include "models/quantized_weights.h"

namespace sampan {
namespace {

constexpr std::int64_t kMaxBlock = std::int64_t{1} << 30;

[[noreturn]] void refuse(const JsonObject& json, std::string_view key, std::string_view value,
                         std::string_view read) {
  fail(ErrorCode::kUnsupported, "{}: {} \"{}\" is not read by this version ({})", json.label(), key,
       printable(value), read);
}

void require_value(const JsonObject& json, std::string_view key, std::string_view value) {
  if (json.string_or(key, value) != value) {
    refuse(json, key, json.string(key), std::string(value) + " is");
  }
}

// [rows, columns] of blocks; false when the key is missing.
bool read_block(const JsonObject& json, std::string_view key, QuantizationConfig& config) {
  const std::vector<std::int32_t> block = json.ids(key);
  if (block.empty()) return false;
  if (block.size() != 2 || block[0] < 1 || block[1] < 1) {
    fail(ErrorCode::kInvalidData, "{}: {} is not two numbers above 0", json.label(), key);
  }
  config.block_rows = block[0];
  config.block_columns = block[1];
  return true;
}

void read_fp8(const JsonObject& json, QuantizationConfig& config) {
  config.method = QuantizationMethod::kFp8;
  require_value(json, "fmt", "e4m3");
  read_block(json, "weight_block_size", config);
}

std::int64_t read_group_size(const JsonObject& json) {
  const std::int64_t size = json.integer("group_size", -1, kMaxBlock);
  if (size != 0) return size;
  fail(ErrorCode::kInvalidData, "{}: group_size is 0", json.label());
}

void read_gptq(const JsonObject& json, QuantizationConfig& config) {
  config.method = QuantizationMethod::kGptq;
  config.bits = static_cast<int>(json.integer("bits", 1, 32));
  if (config.bits != 4 && config.bits != 8) {
    refuse(json, "bits", std::to_string(config.bits), "4 and 8 are");
  }
  config.group_size = read_group_size(json);
  const std::string format = json.string_or("checkpoint_format", "gptq");
  if (format != "gptq" && format != "gptq_v2") {
    refuse(json, "checkpoint_format", format, "gptq and gptq_v2 are");
  }
  config.zeros_less_one = format == "gptq";
  require_value(json, "pack_dtype", "int32");
  config.uniform = !json.has("dynamic") || json.object("dynamic")->keys().empty();
}

void read_awq(const JsonObject& json, QuantizationConfig& config) {
  config.method = QuantizationMethod::kAwq;
  if (const std::string version = json.string_or("version", "gemm");
      version != "gemm" && version != "GEMM") {
    refuse(json, "version", version, "gemm is");
  }
  config.bits = static_cast<int>(json.integer("bits", 1, 32));
  if (config.bits != 4) refuse(json, "bits", std::to_string(config.bits), "4 is");
  config.group_size = read_group_size(json);
}

// What the tensors of a config group look like; a format that stores none is left out.
void check_format(const JsonObject& json) {
  const std::string format = json.string_or("format", "dense");
  constexpr std::string_view kRead[] = {
      "dense",         "mixed-precision", "pack-quantized",      "float-quantized",
      "int-quantized", "naive-quantized", "mxfp4-pack-quantized"};
  if (std::find(std::begin(kRead), std::end(kRead), format) != std::end(kRead)) return;
  refuse(json, "format", format,
         "pack-quantized, int-quantized, float-quantized, naive-quantized and "
         "mxfp4-pack-quantized are");
}

QuantizationConfig::Scheme read_scheme(const JsonObject& weights, QuantizationConfig& config) {
  QuantizationConfig::Scheme scheme;
  scheme.bits = static_cast<int>(weights.integer("num_bits", 1, 32));
  const std::string type = weights.string_or("type", "int");
  if (type != "int" && type != "float") refuse(weights, "type", type, "int and float are");
  scheme.is_float = type == "float";
  if (scheme.bits != 4 && scheme.bits != 8) {
    refuse(weights, "num_bits", std::to_string(scheme.bits), "4 and 8 are");
  }
  scheme.symmetric = weights.boolean_or("symmetric", true);
  const std::string strategy = weights.string_or("strategy", "tensor");
  if (strategy == "group") {
    scheme.group_size = read_group_size(weights);
    if (scheme.group_size == -1) scheme.group_size = 0;
  } else if (strategy == "block") {
    if (!read_block(weights, "block_structure", config)) {
      fail(ErrorCode::kInvalidData, "{}: block_structure is missing", weights.label());
    }
    scheme.group_size = config.block_columns;
  } else if (strategy != "channel" && strategy != "tensor") {
    refuse(weights, "strategy", strategy, "tensor, channel, group and block are");
  }
  return scheme;
}

void read_compressed_tensors(const JsonObject& json, QuantizationConfig& config) {
  config.method = QuantizationMethod::kCompressedTensors;
  check_format(json);
  if (const auto sparsity = json.object("sparsity_config")) {
    require_value(*sparsity, "format", "dense");
  }
  const std::optional<JsonObject> groups = json.object("config_groups");
  if (!groups) fail(ErrorCode::kInvalidData, "{}: config_groups is missing", json.label());
  for (const std::string& key : groups->keys()) {
    const JsonObject group = *groups->object(key);
    check_format(group);
    const std::optional<JsonObject> weights = group.object("weights");
    if (!weights) {
      fail(ErrorCode::kUnsupported, "{}: it quantises no weights, which this version does not read",
           printable(group.label()));
    }
    config.schemes.push_back(read_scheme(*weights, config));
  }
}

}  // namespace

QuantizationConfig quantization_config_from_json(const JsonObject& json) {
  QuantizationConfig config;
  std::optional<JsonObject> found = json.object("quantization_config");
  if (!found) found = json.object("compression_config");
  if (!found) return config;
  const std::string method = found->string_or("quant_method", "");
  if (method == "fp8") {
    read_fp8(*found, config);
  } else if (method == "gptq") {
    read_gptq(*found, config);
  } else if (method == "awq") {
    read_awq(*found, config);
  } else if (method == "compressed-tensors") {
    read_compressed_tensors(*found, config);
  } else {
    refuse(*found, "quant_method", method, "fp8, gptq, awq and compressed-tensors are");
  }
  return config;
}

}  // namespace sampan
