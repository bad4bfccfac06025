// Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder: Qwen3's attention, softmax routing with normalised weights. Yang et al. 2025.
#include "models/config_parts.h"
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

void configure_qwen3_moe(const JsonObject& json, ModelConfig& config) {
  config.qk_norm = true;
  config.qkv_bias = config.attention_out_bias = json.boolean_or("attention_bias", false);
  if (json.boolean_or("use_sliding_window", false)) {
    config.windows.assign(config.windows.size(), json.integer_or("sliding_window", 1, INT64_C(1) << 31, 4096));
  }
  read_qwen_experts(json, config);
}

void configure_qwen3_moe_gguf(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config) {
  config.qk_norm = true;
  read_experts(keys, files, config);
  if (config.moe) config.moe->normalize = true;  // no key says so
}

}  // namespace

const Family kQwen3MoeFamily = {"qwen3_moe", "qwen3moe", configure_qwen3_moe, configure_qwen3_moe_gguf, "ffn_norm", false, 128};

}  // namespace sampan
