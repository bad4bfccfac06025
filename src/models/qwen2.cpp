// Qwen1.5, Qwen2, Qwen2.5, QwQ, R1-Distill-Qwen: Llama's layer with biases on q, k and v. Yang et al. 2024.
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

void configure_qwen2(const JsonObject& json, ModelConfig& config) {
  config.qkv_bias = true;
  configure_windows(json, config);
}

void configure_qwen2_gguf(const GgufKeys&, const TensorFiles&, ModelConfig&) {}

}  // namespace

const Family kQwen2Family = {"qwen2", "qwen2", configure_qwen2, configure_qwen2_gguf, "ffn_norm", false, 0};

}  // namespace sampan
