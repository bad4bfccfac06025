#pragma once

#include "models/config.h"

namespace sampan {

class GgufKeys;
class JsonObject;

// Beyond any model of the coming years, and small enough that no product of two of them overflows.
inline constexpr std::int64_t kMaxWidth = 1 << 20;
inline constexpr std::int64_t kMaxLayers = 4096;

// Parts of a configuration that several families share. All throw Error kInvalidData for values that are missing or impossible,
// naming the key and the numbers, and kUnsupported for a method of routing that this program does not know.

// Sets mla, head_dim and kv_heads.
void read_mla(const JsonObject& json, ModelConfig& config);
void read_mla(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config);

// Sets moe: Qwen's (num_experts, decoder_sparse_step, mlp_only_layers, …).
void read_qwen_experts(const JsonObject& json, ModelConfig& config);
// Sets moe: DeepSeek's (n_routed_experts, first_k_dense_replace, topk_method, …) but for what V2 and V3 do not share.
void read_deepseek_experts(const JsonObject& json, ModelConfig& config);
// Sets moe from GGUF metadata, which all families share; which layers are sparse is known by their tensors.
void read_experts(const GgufKeys& keys, const TensorFiles& files, ModelConfig& config);

// What multiplies query · key: one over the square root of the head's width, with DeepSeek's YaRN times its magnitude squared.
double attention_scale(const ModelConfig& config);

}  // namespace sampan
