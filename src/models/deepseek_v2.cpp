// DeepSeek-V2, V2-Lite, V2.5, Coder-V2: latent attention and softmax-routed experts, of the best groups where there are groups.
// DeepSeek-AI 2024. Its GGUF architecture is also that of V3, R1 and Kimi K2.
#include "base/error.h"
#include "models/config_parts.h"
#include "models/family.h"
#include "models/gguf_keys.h"
#include "models/json_object.h"

namespace sampan {
namespace {

void configure_deepseek_v2(const JsonObject& json, ModelConfig& config) {
  config.qkv_bias = config.attention_out_bias = json.boolean_or("attention_bias", false);
  config.mlp_bias = json.boolean_or("mlp_bias", false);
  read_deepseek_experts(json, config);
  if (!config.moe) return;
  const std::string method = json.string_or("topk_method", "greedy");
  if (method == "greedy") {
    config.moe->groups = config.moe->groups_kept = 1;
  } else if (method != "group_limited_greedy") {
    fail(ErrorCode::kUnsupported, "{}: topk_method \"{}\" is not greedy or group_limited_greedy", json.label(), printable(method));
  }
}

// Files converted before the groups had keys: the published models are known by their experts.
void restore_groups(const GgufKeys& keys, MoeConfig& moe) {
  if (keys.has("expert_group_count")) return;
  if (moe.score == RouterScore::kSigmoid && moe.experts == 256 && moe.experts_per_token == 8) {
    moe.groups = 8;  // V3, R1, V3.1
    moe.groups_kept = 4;
  } else if (moe.score == RouterScore::kSoftmax && moe.experts == 160 && moe.experts_per_token == 6) {
    moe.groups = 8;  // V2, V2.5, Coder-V2
    moe.groups_kept = 3;
  }
}

void configure_deepseek_v2_gguf(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config) {
  read_experts(keys, files, config);
  if (!config.moe) return;
  restore_groups(keys, *config.moe);
  if (config.moe->score == RouterScore::kSigmoid) {
    config.family = "deepseek_v3";
    config.moe->group_score = GroupScore::kTwoBest;
  } else {
    config.moe->normalize = false;
  }
}

}  // namespace

const Family kDeepseekV2Family = {"deepseek_v2", "deepseek2", configure_deepseek_v2, configure_deepseek_v2_gguf, "ffn_norm", false, 0, true};

}  // namespace sampan
