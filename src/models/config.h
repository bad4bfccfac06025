#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_file.h"

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
  std::vector<float> divisors;        // kDivisors: (head_dim / 2)
};

// What a model is, as numbers: everything that forward() and the memory plan need to know, read and range-checked once.
// A model that differs by numbers or flags only is another ModelConfig, not other code.
struct ModelConfig {
  std::string family;        // "llama", "qwen2", "qwen3", "seed_oss"
  std::string name;          // general.name, _name_or_path, or empty
  std::string stored_dtype;  // config.json's torch_dtype / dtype, for show; empty for GGUF
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t context_length = 0;  // max_position_embeddings
  float rms_norm_eps = 1e-6f;
  RopeConfig rope;
  std::vector<std::int64_t> windows;  // (layers) sliding window in positions, 0 = full attention
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool attention_out_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;        // RMSNorm of every query and key head before the rotation
  bool permuted_qk = false;    // rows of q and k lie in GGUF's interleaved order and are put back at load
  std::vector<std::int32_t> eos_ids;
  std::optional<std::int32_t> bos_id;

  std::int64_t q_size() const { return heads * head_dim; }
  std::int64_t kv_size() const { return kv_heads * head_dim; }
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
