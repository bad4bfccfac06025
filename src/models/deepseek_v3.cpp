// DeepSeek-V3, V3-0324, R1, V3.1 and Kimi K2: V2's layer with sigmoid routing, balanced by a bias that counts for the choice only.
// DeepSeek-AI 2024; Kimi Team 2025.
#include "base/error.h"
#include "models/config_parts.h"
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

void configure_deepseek_v3(const JsonObject& json, ModelConfig& config) {
  config.qkv_bias = config.attention_out_bias = json.boolean_or("attention_bias", false);
  config.mla->interleaved = json.boolean_or("rope_interleave", true);
  // Several such layers predict further ahead in turn; one, applied again, does as published models have it.
  if (json.integer_or("num_nextn_predict_layers", 0, 4096, 0) > 0) config.mtp_layers = 1;
  read_deepseek_experts(json, config);
  if (!config.moe) return;
  const std::string method = json.string_or("topk_method", "noaux_tc");
  const std::string score = json.string_or("scoring_func", "sigmoid");
  if (method != "noaux_tc" || score != "sigmoid") {
    fail(ErrorCode::kUnsupported, "{}: topk_method \"{}\" with scoring_func \"{}\" is not noaux_tc with sigmoid", json.label(),
         printable(method), printable(score));
  }
  config.moe->score = RouterScore::kSigmoid;
  config.moe->group_score = GroupScore::kTwoBest;
  config.moe->correction_bias = true;
  config.moe->normalize = json.boolean_or("norm_topk_prob", true);
}

}  // namespace

// GGUF files of this architecture are read by kDeepseekV2Family.
const Family kDeepseekV3Family = {"deepseek_v3", "deepseek2", configure_deepseek_v3, nullptr, "ffn_norm", false, 0, true};
const Family kKimiK2Family = {"kimi_k2", "deepseek2", configure_deepseek_v3, nullptr, "ffn_norm", false, 0, true};

}  // namespace sampan
