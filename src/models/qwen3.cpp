// Qwen3 dense: RMSNorm of every query and key head before the rotation, an explicit head_dim. Yang et al. 2025.
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

void configure_qwen3(const JsonObject& json, ModelConfig& config) {
  config.qk_norm = true;
  config.qkv_bias = config.attention_out_bias = json.boolean_or("attention_bias", false);
  configure_windows(json, config);
}

void configure_qwen3_gguf(const GgufKeys&, const TensorFiles&, ModelConfig& config) { config.qk_norm = true; }

}  // namespace

const Family kQwen3Family = {"qwen3", "qwen3", configure_qwen3, configure_qwen3_gguf, "ffn_norm", false, 128};

}  // namespace sampan
