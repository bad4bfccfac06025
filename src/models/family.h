#pragma once

#include <span>
#include <string>
#include <string_view>

#include "models/config.h"

namespace sampan {

class GgufKeys;
class JsonObject;

// A model family: what differs from one to the next in configuration and names. The network itself is shared (decoder.h).
// Adding a family is one such entry in a file of its own and a line in registry.cpp; docs/howto/add-a-model.md walks through it.
struct Family {
  std::string_view model_type;         // config.json
  std::string_view gguf_architecture;  // general.architecture
  // Sets what is the family's own (biases, norms, windows, experts) from config.json; sizes and rope are read already.
  void (*configure_json)(const JsonObject& json, ModelConfig& config);
  // The same from GGUF metadata and tensors; null where another family reads the architecture's files.
  void (*configure_gguf)(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config);
  // GGUF's name of the second norm of a layer ("ffn_norm" but for seed_oss).
  std::string_view gguf_ffn_norm;
  // Converters store the rows of q and k so that interleaved rotation fits them.
  bool gguf_permutes_qk;
  // head_dim when config.json has none; 0 for hidden_size / num_attention_heads.
  std::int64_t default_head_dim;
  bool latent_attention = false;
};

extern const Family kLlamaFamily;
extern const Family kQwen2Family;
extern const Family kQwen2MoeFamily;
extern const Family kQwen3Family;
extern const Family kQwen3MoeFamily;
extern const Family kSeedOssFamily;
extern const Family kDeepseekV2Family;
extern const Family kDeepseekV3Family;
extern const Family kKimiK2Family;

std::span<const Family* const> families();
// Throw Error kUnsupported naming the families that there are.
const Family& family_of_model_type(std::string_view model_type);
const Family& family_of_gguf(std::string_view architecture);
const Family& family_named(std::string_view family);  // by ModelConfig::family; CHECK

// Sliding windows as transformers' Qwen2 and Qwen3 read them: layer_types when given, else use_sliding_window, sliding_window and
// max_window_layers (layers from that index on slide).
void configure_windows(const JsonObject& json, ModelConfig& config);

// Checks that hold whichever file the numbers came from; label begins the message.
void check_config(const ModelConfig& config, std::string_view label);

// "model.layers.3.self_attn.q_proj.weight" → "blk.3.attn_q.weight". Names outside the table come back unchanged.
std::string gguf_tensor_name(std::string_view hf_name, const Family& family);

}  // namespace sampan
