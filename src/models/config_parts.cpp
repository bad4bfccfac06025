#include "models/config_parts.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/gguf_keys.h"
#include "models/json_object.h"

namespace sampan {
namespace {

constexpr std::int64_t kMaxDim = 1 << 16;
constexpr std::int64_t kMaxExperts = 1 << 16;

void check_experts(const MoeConfig& moe, std::string_view label) {
  if (moe.experts_per_token > moe.experts) {
    fail(ErrorCode::kInvalidData, "{}: {} experts a token of {}", label, moe.experts_per_token, moe.experts);
  }
  if (moe.experts % moe.groups != 0) {
    fail(ErrorCode::kInvalidData, "{}: {} experts do not make {} equal groups", label, moe.experts, moe.groups);
  }
  if (moe.groups_kept > moe.groups) {
    fail(ErrorCode::kInvalidData, "{}: {} groups are chosen of {}", label, moe.groups_kept, moe.groups);
  }
  const std::int64_t choice = moe.experts / moe.groups * moe.groups_kept;
  if (moe.experts_per_token > choice) {
    fail(ErrorCode::kInvalidData, "{}: {} experts a token, but {} groups of {} hold {}", label, moe.experts_per_token,
         moe.groups_kept, moe.experts / moe.groups, choice);
  }
  if (!std::isfinite(moe.scale)) fail(ErrorCode::kInvalidData, "{}: the experts' scale is {}", label, moe.scale);
}

}  // namespace

void read_mla(const JsonObject& json, ModelConfig& config) {
  MlaConfig mla;
  mla.q_lora_rank = json.integer_or("q_lora_rank", 1, kMaxDim, 0);
  mla.kv_lora_rank = json.integer("kv_lora_rank", 1, kMaxDim);
  mla.nope_dim = json.integer("qk_nope_head_dim", 1, kMaxDim);
  mla.rope_dim = json.integer("qk_rope_head_dim", 1, kMaxDim);
  mla.value_dim = json.integer("v_head_dim", 1, kMaxDim);
  config.head_dim = mla.nope_dim + mla.rope_dim;
  config.kv_heads = 1;
  config.mla = mla;
}

void read_qwen_experts(const JsonObject& json, ModelConfig& config) {
  MoeConfig moe;
  // transformers 5 writes num_local_experts for some of these families.
  moe.experts = json.has("num_experts") ? json.integer("num_experts", 0, kMaxExperts)
                                        : json.integer("num_local_experts", 0, kMaxExperts);
  if (moe.experts == 0) return;
  moe.experts_per_token = json.integer("num_experts_per_tok", 1, kMaxExperts);
  moe.intermediate_size = json.integer("moe_intermediate_size", 1, kMaxWidth);
  moe.normalize = json.boolean_or("norm_topk_prob", false);
  const std::int64_t step = json.integer_or("decoder_sparse_step", 1, kMaxLayers, 1);
  for (std::int64_t i = 0; i < config.layers; ++i) moe.layers.push_back((i + 1) % step == 0);
  for (const std::int32_t layer : json.ids("mlp_only_layers")) {
    if (layer >= 0 && layer < config.layers) moe.layers[static_cast<std::size_t>(layer)] = false;
  }
  check_experts(moe, json.label());
  config.moe = std::move(moe);
}

void read_deepseek_experts(const JsonObject& json, ModelConfig& config) {
  MoeConfig moe;
  moe.experts = json.integer_or("n_routed_experts", 1, kMaxExperts, 0);
  if (moe.experts == 0) return;
  moe.experts_per_token = json.integer("num_experts_per_tok", 1, kMaxExperts);
  moe.intermediate_size = json.integer("moe_intermediate_size", 1, kMaxWidth);
  moe.shared_intermediate_size = moe.intermediate_size * json.integer_or("n_shared_experts", 0, 1024, 0);
  moe.scale = static_cast<float>(json.number_or("routed_scaling_factor", 1.0));
  const std::int64_t first = json.integer_or("first_k_dense_replace", 0, kMaxLayers, 0);
  const std::int64_t step = json.integer_or("moe_layer_freq", 1, kMaxLayers, 1);
  for (std::int64_t i = 0; i < config.cache_layers(); ++i) moe.layers.push_back(i >= first && i % step == 0);
  moe.groups = json.integer_or("n_group", 1, moe.experts, 1);
  moe.groups_kept = json.integer_or("topk_group", 1, moe.experts, moe.groups);
  check_experts(moe, json.label());
  config.moe = std::move(moe);
}

void read_mla(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config) {
  MlaConfig mla;
  mla.q_lora_rank = keys.integer_or("attention.q_lora_rank", 0, kMaxDim, 0);
  if (files.find("blk.0.attn_q_a.weight") == nullptr) mla.q_lora_rank = 0;
  mla.kv_lora_rank = keys.integer("attention.kv_lora_rank", 1, kMaxDim);
  mla.rope_dim = keys.integer("rope.dimension_count", 1, kMaxDim);
  // Newer files say key_length and value_length of the latents, and those of a head with "_mla".
  const bool newer = keys.has("attention.key_length_mla");
  const std::int64_t key_dim = keys.integer(newer ? "attention.key_length_mla" : "attention.key_length", 1, kMaxDim);
  mla.value_dim = keys.integer(newer ? "attention.value_length_mla" : "attention.value_length", 1, kMaxDim);
  mla.nope_dim = key_dim - mla.rope_dim;
  if (mla.nope_dim < 1) {
    fail(ErrorCode::kInvalidData, "gguf: a key of {} has no room for {} rotated dimensions", key_dim, mla.rope_dim);
  }
  config.head_dim = key_dim;
  config.kv_heads = 1;
  config.mla = mla;
}

void read_experts(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config) {
  MoeConfig moe;
  moe.experts = keys.integer_or("expert_count", 0, kMaxExperts, 0);
  if (moe.experts == 0) return;
  moe.experts_per_token = keys.integer("expert_used_count", 1, kMaxExperts);
  std::int64_t first_sparse = -1;
  for (std::int64_t i = 0; i < config.cache_layers(); ++i) {
    moe.layers.push_back(files.find(fmt::format("blk.{}.ffn_gate_inp.weight", i)) != nullptr);
    if (moe.layers.back() && first_sparse < 0) first_sparse = i;
  }
  if (first_sparse < 0) fail(ErrorCode::kInvalidData, "gguf: {} experts but no blk.*.ffn_gate_inp.weight", moe.experts);
  const std::string block = fmt::format("blk.{}.", first_sparse);
  // The width has a key of its own in newer files only; the down projection (experts, hidden, width) always tells.
  const std::optional<TensorView> down = files.find_view(block + "ffn_down_exps.weight");
  moe.intermediate_size =
      keys.integer_or("expert_feed_forward_length", 1, kMaxWidth, down ? down->shape.back() : config.intermediate_size);
  const std::optional<TensorView> shared = files.find_view(block + "ffn_up_shexp.weight");
  moe.shared_intermediate_size = shared ? shared->shape.front() : 0;
  moe.shared_gate = files.find(block + "ffn_gate_inp_shexp.weight") != nullptr;
  moe.correction_bias = files.find(block + "exp_probs_b.bias") != nullptr;
  const std::int64_t function = keys.integer_or("expert_gating_func", 0, 255, 0);
  if (function > 2) fail(ErrorCode::kUnsupported, "gguf: expert_gating_func {} is not 1 (softmax) or 2 (sigmoid)", function);
  moe.score = function == 2 || (function == 0 && moe.correction_bias) ? RouterScore::kSigmoid : RouterScore::kSoftmax;
  moe.normalize = keys.boolean_or("expert_weights_norm", false);
  moe.scale = static_cast<float>(keys.number_or("expert_weights_scale", 1.0));
  if (moe.scale == 0) moe.scale = 1.0f;  // how some converters say that there is none
  moe.groups = std::max<std::int64_t>(1, keys.integer_or("expert_group_count", 0, kMaxExperts, 1));
  moe.groups_kept = keys.integer_or("expert_group_used_count", 0, kMaxExperts, moe.groups);
  if (moe.groups_kept == 0) moe.groups_kept = moe.groups;
  check_experts(moe, "gguf");
  config.moe = std::move(moe);
}

double attention_scale(const ModelConfig& config) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  const RopeConfig& rope = config.rope;
  if (!config.mla || rope.type == RopeType::kDefault || rope.mscale_all_dim == 0 || rope.factor <= 1.0) return scale;
  const double magnitude = 0.1 * rope.mscale_all_dim * std::log(rope.factor) + 1.0;
  return scale * magnitude * magnitude;
}

}  // namespace sampan
