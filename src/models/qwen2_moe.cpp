// Qwen1.5-MoE, Qwen2-57B-A14B: Qwen2's attention, softmax routing without normalisation, a shared expert with a gate. Qwen 2024.
#include <algorithm>

#include "models/config_parts.h"
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

// transformers counts the sliding layers of this family in its own way: every other one below max_window_layers.
void configure_window_layers(const JsonObject& json, ModelConfig& config) {
  if (!json.boolean_or("use_sliding_window", false)) return;
  if (json.has("layer_types")) return configure_windows(json, config);
  const std::int64_t window = json.integer_or("sliding_window", 1, INT64_C(1) << 31, 4096);
  const std::int64_t end = json.integer_or("max_window_layers", 0, 4096, 28);
  for (std::int64_t i = 0; i < std::min(end, config.layers); i += 2) config.windows[static_cast<std::size_t>(i)] = window;
}

void configure_qwen2_moe(const JsonObject& json, ModelConfig& config) {
  config.qkv_bias = json.boolean_or("qkv_bias", true);
  configure_window_layers(json, config);
  read_qwen_experts(json, config);
  if (!config.moe) return;
  config.moe->shared_intermediate_size = json.integer_or("shared_expert_intermediate_size", 1, 1 << 20, 5632);
  config.moe->shared_gate = true;
}

void configure_qwen2_moe_gguf(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config) { read_experts(keys, files, config); }

}  // namespace

const Family kQwen2MoeFamily = {"qwen2_moe", "qwen2moe", configure_qwen2_moe, configure_qwen2_moe_gguf, "ffn_norm", false, 0};

}  // namespace sampan
