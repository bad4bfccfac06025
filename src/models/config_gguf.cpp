#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/config.h"
#include "models/config_parts.h"
#include "models/family.h"
#include "models/gguf_keys.h"

namespace sampan {

namespace {

RopeConfig read_rope(const GgufKeys& keys, const ModelConfig& config, std::vector<float> divisors) {
  RopeConfig rope;
  rope.theta = keys.number_or("rope.freq_base", 10000.0);
  if (!(rope.theta > 1.0)) fail(ErrorCode::kInvalidData, "gguf: rope.freq_base is {}, not above 1", rope.theta);
  const std::int64_t rotated = keys.integer_or("rope.dimension_count", 0, 1 << 20, config.rotary_dim());
  if (rotated != config.rotary_dim()) {
    fail(ErrorCode::kUnsupported, "gguf: rope.dimension_count {} is not the rotated width {}", rotated,
         config.rotary_dim());
  }
  const std::string type = keys.string_or("rope.scaling.type", "none");
  rope.factor = keys.number_or("rope.scaling.factor", 1.0);
  if (!(rope.factor > 0)) fail(ErrorCode::kInvalidData, "gguf: rope.scaling.factor is {}, not above 0", rope.factor);
  if (type == "linear") {
    rope.type = RopeType::kLinear;
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    rope.original_context = keys.integer_or("rope.scaling.original_context_length", 1, INT64_C(1) << 31,
                                            config.context_length);
    rope.beta_fast = keys.number_or("rope.scaling.yarn_beta_fast", 32.0);
    rope.beta_slow = keys.number_or("rope.scaling.yarn_beta_slow", 1.0);
    const double inferred = rope.factor <= 1.0 ? 1.0 : 0.1 * std::log(rope.factor) + 1.0;
    rope.attention_factor = inferred * keys.number_or("rope.scaling.attn_factor",
                                                      keys.number_or("rope.scaling.yarn_attn_factor", 1.0));
    // DeepSeek's magnitude goes into the scores; cos and sin then have none.
    rope.mscale_all_dim = 10.0 * keys.number_or("rope.scaling.yarn_log_multiplier", 0.0);
    if (config.mla && rope.mscale_all_dim != 0) rope.attention_factor = 1.0;
  } else if (type == "none" || type.empty()) {
    rope.factor = 1.0;
  } else {
    fail(ErrorCode::kUnsupported, "gguf: rope.scaling.type \"{}\" is not one of none, linear, yarn", printable(type));
  }
  if (!divisors.empty()) {
    if (rope.type == RopeType::kYarn) {
      fail(ErrorCode::kUnsupported, "gguf: rope_freqs.weight together with YaRN");
    }
    if (static_cast<std::int64_t>(divisors.size()) != config.rotary_dim() / 2) {
      fail(ErrorCode::kInvalidData, "gguf: rope_freqs.weight has {} values for {} frequencies", divisors.size(),
           config.rotary_dim() / 2);
    }
    rope.type = RopeType::kDivisors;
    rope.divisors = std::move(divisors);
  }
  return rope;
}

// Without attention.key_length the query matrix tells a head's width: old converters left the key out even where it is not
// hidden / heads.
std::int64_t stored_head_dim(const TensorFiles& files, const ModelConfig& config) {
  const std::optional<TensorView> wq = files.find_view("blk.0.attn_q.weight");
  const std::int64_t rows = wq ? wq->rows() : config.hidden_size;
  return std::max<std::int64_t>(1, rows / config.heads);
}

void read_grouped_heads(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config) {
  config.kv_heads = keys.integer_or("attention.head_count_kv", 1, 1 << 20, config.heads);
  config.head_dim = keys.integer_or("attention.key_length", 1, 1 << 20, stored_head_dim(files, config));
  const std::int64_t value_dim = keys.integer_or("attention.value_length", 1, 1 << 20, config.head_dim);
  if (value_dim != config.head_dim) {
    fail(ErrorCode::kUnsupported, "gguf: attention.value_length {} is not attention.key_length {}", value_dim,
         config.head_dim);
  }
}

// block_count counts the layers of multi-token prediction where the file has them, and sometimes where it does not.
void read_depth(const GgufKeys& keys, const TensorFiles& files, const Family& family, ModelConfig& config) {
  const std::int64_t blocks = keys.integer("block_count", 1, 4096);
  const std::int64_t predicting = keys.integer_or("nextn_predict_layers", 0, 4096, 0);
  config.layers = blocks;
  for (std::int64_t i = 1; i < blocks + std::min<std::int64_t>(predicting, 1); ++i) {
    if (files.find(fmt::format("blk.{}.nextn.hnorm.weight", i)) == nullptr) continue;
    config.layers = i;
    config.mtp_layers = family.latent_attention ? 1 : 0;
    return;
  }
  if (predicting < blocks && files.find(fmt::format("blk.{}.attn_norm.weight", blocks - 1)) == nullptr) {
    config.layers = blocks - predicting;
  }
}

}  // namespace

ModelConfig config_from_gguf(const GgufFile& gguf, const TensorFiles& files, std::vector<float> divisors) {
  const std::optional<std::string_view> architecture = gguf.find_string("general.architecture");
  if (!architecture) fail(ErrorCode::kInvalidData, "gguf: general.architecture is missing");
  const Family& family = family_of_gguf(*architecture);
  const GgufKeys keys(gguf);
  ModelConfig config;
  config.family = family.model_type;
  config.name = gguf.find_string("general.name").value_or("");
  config.hidden_size = keys.integer("embedding_length", 1, 1 << 20);
  // Absent where no layer has a dense MLP.
  config.intermediate_size = keys.integer_or("feed_forward_length", 0, 1 << 20,
                                             keys.integer_or("expert_feed_forward_length", 1, 1 << 20, 0));
  read_depth(keys, files, family, config);
  config.heads = keys.integer("attention.head_count", 1, 1 << 20);
  if (family.latent_attention) {
    read_mla(keys, files, config);
  } else {
    read_grouped_heads(keys, files, config);
  }
  config.context_length = keys.integer_or("context_length", 1, INT64_C(1) << 31, 2048);
  config.rms_norm_eps = static_cast<float>(keys.number_or("attention.layer_norm_rms_epsilon", 1e-6));
  const std::optional<TensorView> embedding = files.find_view("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2) {
    fail(ErrorCode::kInvalidData, "gguf: token_embd.weight is missing or not a matrix");
  }
  config.vocab_size = embedding->shape[0];
  config.rope = read_rope(keys, config, std::move(divisors));
  config.tied_embeddings = files.find("output.weight") == nullptr;
  config.windows.assign(static_cast<std::size_t>(config.layers), 0);
  // Biases have no key: the tensors themselves tell.
  config.qkv_bias = files.find("blk.0.attn_q.bias") != nullptr;
  config.attention_out_bias = files.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = files.find("blk.0.ffn_gate.bias") != nullptr;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const std::optional<std::int64_t> id = gguf.find_i64(key);
    if (id && *id >= 0 && *id <= INT32_MAX) config.eos_ids.push_back(static_cast<std::int32_t>(*id));
  }
  const std::optional<std::int64_t> bos = gguf.find_i64("tokenizer.ggml.bos_token_id");
  if (bos && *bos >= 0 && *bos <= INT32_MAX) config.bos_id = static_cast<std::int32_t>(*bos);
  config.permuted_qk = family.gguf_permutes_qk;
  config.attention_scale = attention_scale(config);
  family.configure_gguf(keys, files, config);
  check_config(config, "gguf");
  return config;
}

}  // namespace sampan
