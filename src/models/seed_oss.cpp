// ByteDance Seed-OSS: Llama's layer with biases on q, k and v and an explicit head_dim.
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

void configure_seed_oss(const JsonObject& json, ModelConfig& config) {
  config.qkv_bias = json.boolean_or("attention_bias", true);
  config.attention_out_bias = json.boolean_or("attention_out_bias", false);
  config.mlp_bias = json.boolean_or("mlp_bias", false);
}

void configure_seed_oss_gguf(const GgufKeys&, const TensorFiles&, ModelConfig&) {}

}  // namespace

const Family kSeedOssFamily = {"seed_oss", "seed_oss", configure_seed_oss, configure_seed_oss_gguf,
                               "post_attention_norm", false, 128};

}  // namespace sampan
