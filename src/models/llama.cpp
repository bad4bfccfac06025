// Llama 2 and 3.x, DeepSeek LLM and Coder V1, R1-Distill-Llama. Touvron et al. 2023; Grattafiori et al. 2024.
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

void configure_llama(const JsonObject& json, ModelConfig& config) {
  config.qkv_bias = config.attention_out_bias = json.boolean_or("attention_bias", false);
  config.mlp_bias = json.boolean_or("mlp_bias", false);
}

void configure_llama_gguf(const GgufKeys&, const TensorFiles&, ModelConfig&) {}

}  // namespace

const Family kLlamaFamily = {"llama", "llama", configure_llama, configure_llama_gguf, "ffn_norm", true, 0};

}  // namespace sampan
