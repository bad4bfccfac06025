#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_file.h"
#include "models/quantized_weights.h"

namespace sampan {

enum class RopeType : std::uint8_t {
  kDefault,
  kLinear,      // frequencies divided by factor
  kDynamicNtk,  // base grows with the sequence beyond the trained context
  kYarn,
  kLlama3,
  kDivisors,  // GGUF's rope_freqs.weight: one divisor a frequency
};

std::string_view rope_type_name(RopeType type);

// Rotary embedding of a model, as config.json ("rope_parameters", "rope_scaling", "rope_theta") or GGUF metadata give it.
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  std::int64_t original_context = 0;  // yarn, llama3; dynamic: the trained context
  double low_freq_factor = 1.0;       // llama3
  double high_freq_factor = 4.0;      // llama3
  double beta_fast = 32.0;            // yarn
  double beta_slow = 1.0;             // yarn
  bool truncate = true;               // yarn: floor and ceil of the correction range
  double attention_factor = 1.0;      // multiplies cos and sin; resolved when the configuration is read
  double mscale_all_dim = 0.0;        // yarn with latent attention: magnitude that multiplies the scores instead
  std::vector<float> divisors;        // kDivisors: (head_dim / 2)
};

// How latent attention is computed (docs/adr/0006-absorbed-latent-attention.md). By length gives up that a text's bits do not depend
// on how it was cut into chunks.
enum class MlaMode : std::uint8_t { kAbsorbed, kExpanded, kByLength };

// Multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2"): queries, keys and values by way of low-rank latents. A head's
// query and key are [nope_dim | rope_dim] wide, of which the last part is rotated; the key's rotated part is shared by all heads.
struct MlaConfig {
  std::int64_t q_lora_rank = 0;  // 0: queries straight from the hidden state
  std::int64_t kv_lora_rank = 0;
  std::int64_t nope_dim = 0;
  std::int64_t rope_dim = 0;
  std::int64_t value_dim = 0;
  bool interleaved = true;  // pairs (2 i, 2 i + 1) are rotated, else (i, i + rope_dim / 2)
  float latent_norm_eps = 1e-6f;  // of the two latents' norms, whatever rms_norm_eps is (transformers)
  MlaMode mode = MlaMode::kAbsorbed;  // of this run, no property of the model
};

enum class RouterScore : std::uint8_t { kSoftmax, kSigmoid };
// How the experts of a group stand for it where only some groups are chosen from.
enum class GroupScore : std::uint8_t { kBest, kTwoBest };

// Mixture of experts in the feed-forward part (Shazeer et al. 2017; Dai et al. 2024, "DeepSeekMoE").
struct MoeConfig {
  std::int64_t experts = 0;
  std::int64_t experts_per_token = 0;
  std::int64_t intermediate_size = 0;         // of an expert
  std::int64_t shared_intermediate_size = 0;  // of the expert that takes every token (several are one wide one); 0: none
  bool shared_gate = false;                   // sigmoid(w x) multiplies the shared expert's output
  RouterScore score = RouterScore::kSoftmax;
  bool correction_bias = false;  // added to the scores for the choice only
  std::int64_t groups = 1;       // of consecutive experts
  std::int64_t groups_kept = 1;
  GroupScore group_score = GroupScore::kBest;
  bool normalize = false;  // the weights of a token's experts sum to one
  float scale = 1.0f;      // multiplies the weights
  std::vector<bool> layers;  // (cache_layers) true: mixture; false: one dense MLP of ModelConfig::intermediate_size
};

// What a model is, as numbers: everything that forward() and the memory plan need to know, read and range-checked once.
// A model that differs by numbers or flags only is another ModelConfig, not other code.
struct ModelConfig {
  std::string family;        // model_type: "llama", "qwen3_moe", "deepseek_v3", …
  std::string name;          // general.name, _name_or_path, or empty
  std::string stored_dtype;  // config.json's torch_dtype / dtype, for show; empty for GGUF
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t layers = 0;
  // Behind them: 1 where the files have a layer of multi-token prediction that is to be used, else 0.
  std::int64_t mtp_layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;  // of a query and a key; nope_dim + rope_dim with latent attention
  std::int64_t context_length = 0;  // max_position_embeddings
  float rms_norm_eps = 1e-6f;
  RopeConfig rope;
  double attention_scale = 0;  // multiplies query · key
  std::optional<MlaConfig> mla;
  std::optional<MoeConfig> moe;
  std::vector<std::int64_t> windows;  // (layers) sliding window in positions, 0 = full attention
  QuantizationConfig quantization;    // of safetensors
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool attention_out_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;        // RMSNorm of every query and key head before the rotation
  bool permuted_qk = false;    // rows of q and k lie in GGUF's interleaved order and are put back at load
  std::vector<std::int32_t> eos_ids;
  std::optional<std::int32_t> bos_id;

  std::int64_t cache_layers() const { return layers + mtp_layers; }
  std::int64_t q_size() const { return heads * head_dim; }
  std::int64_t kv_size() const { return kv_heads * head_dim; }
  std::int64_t rotary_dim() const { return mla ? mla->rope_dim : head_dim; }
  bool is_sparse(std::int64_t layer) const { return moe && moe->layers[static_cast<std::size_t>(layer)]; }
};

// Reads config.json text. Throws Error: kInvalidData for a missing or impossible value (naming it), kUnsupported for a model_type,
// rope type or quantisation that this build does not run (naming what it would take).
ModelConfig config_from_json(std::string_view text);

// Reads GGUF metadata; biases and an untied head have no key there and are known by their tensors in `files`. divisors is
// rope_freqs.weight or empty. Throws Error as above.
ModelConfig config_from_gguf(const GgufFile& gguf, const TensorFiles& files, std::vector<float> divisors);

// generation_config.json (or GGUF's general.sampling.* when present): values that are absent stay empty.
struct GenerationDefaults {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<std::int64_t> top_k;
  std::optional<bool> do_sample;
  std::vector<std::int32_t> eos_ids;
};
GenerationDefaults generation_defaults_from_json(std::string_view text);

}  // namespace sampan
