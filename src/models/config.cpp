#include "models/config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/config_parts.h"
#include "models/family.h"
#include "models/json_object.h"

namespace sampan {
namespace {

constexpr std::int64_t kMaxVocabulary = 1 << 26;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;

nlohmann::json parse_json(std::string_view text, std::string_view label) {
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) fail(ErrorCode::kInvalidData, "{}: not valid JSON", label);
  return json;
}

double yarn_magnitude(double scale, double mscale) {
  return scale <= 1.0 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

RopeType rope_type_from(const JsonObject& rope) {
  const std::string type = rope.string_or("rope_type", rope.string_or("type", "default"));
  if (type == "default") return RopeType::kDefault;
  if (type == "linear") return RopeType::kLinear;
  if (type == "dynamic") return RopeType::kDynamicNtk;
  if (type == "yarn") return RopeType::kYarn;
  if (type == "llama3") return RopeType::kLlama3;
  fail(ErrorCode::kUnsupported,
       "{}: rope type \"{}\" is not one of default, linear, dynamic, yarn, llama3", rope.label(),
       printable(type));
}

void read_yarn(const JsonObject& rope, const ModelConfig& config, RopeConfig& out) {
  out.factor = rope.number_or("factor", static_cast<double>(config.context_length) /
                                            static_cast<double>(out.original_context));
  out.beta_fast = rope.number_or("beta_fast", 32.0);
  out.beta_slow = rope.number_or("beta_slow", 1.0);
  if (out.beta_fast == 0) out.beta_fast = 32.0;
  if (out.beta_slow == 0) out.beta_slow = 1.0;
  out.truncate = rope.boolean_or("truncate", true);
  const double mscale = rope.number_or("mscale", 0.0);
  const double mscale_all_dim = rope.number_or("mscale_all_dim", 0.0);
  const double inferred = mscale != 0 && mscale_all_dim != 0
                              ? yarn_magnitude(out.factor, mscale) / yarn_magnitude(out.factor, mscale_all_dim)
                              : yarn_magnitude(out.factor, 1.0);
  out.attention_factor = rope.number_or("attention_factor", inferred);
  out.mscale_all_dim = mscale_all_dim;
}

// transformers 5 writes everything under rope_parameters; before, rope_theta stood at the top and scaling under rope_scaling.
RopeConfig read_rope(const JsonObject& json, const ModelConfig& config) {
  RopeConfig out;
  out.theta = json.number_or("rope_theta", 10000.0);
  std::optional<JsonObject> rope = json.object("rope_scaling");
  if (!rope) rope = json.object("rope_parameters");
  const double partial = json.number_or("partial_rotary_factor",
                                        rope ? rope->number_or("partial_rotary_factor", 1.0) : 1.0);
  if (partial != 1.0 && !config.mla) {  // latent attention says the rotated width by itself
    fail(ErrorCode::kUnsupported, "{}: partial_rotary_factor {} is not 1 in this family", json.label(), partial);
  }
  if (rope) {
    out.theta = rope->number_or("rope_theta", out.theta);
    out.type = rope_type_from(*rope);
  }
  if (!(out.theta > 1.0)) {
    fail(ErrorCode::kInvalidData, "{}: rope_theta is {}, not above 1", json.label(), out.theta);
  }
  if (out.type == RopeType::kDefault) return out;

  out.original_context = rope->integer_or("original_max_position_embeddings", 1, kMaxContext,
                                          config.context_length);
  if (json.has("original_max_position_embeddings")) {
    out.original_context = json.integer("original_max_position_embeddings", 1, kMaxContext);
  }
  if (out.type == RopeType::kYarn) {
    read_yarn(*rope, config, out);
  } else {
    out.factor = rope->number("factor");
  }
  if (out.type == RopeType::kDynamicNtk) out.original_context = config.context_length;
  if (out.type == RopeType::kLlama3) {
    out.low_freq_factor = rope->number("low_freq_factor");
    out.high_freq_factor = rope->number("high_freq_factor");
    if (!(out.low_freq_factor > 0) || !(out.high_freq_factor >= out.low_freq_factor)) {
      fail(ErrorCode::kInvalidData, "{}: low_freq_factor {} and high_freq_factor {} do not make a range",
           rope->label(), out.low_freq_factor, out.high_freq_factor);
    }
  }
  if (!(out.factor > 0)) {
    fail(ErrorCode::kInvalidData, "{}: factor is {}, not above 0", rope->label(), out.factor);
  }
  return out;
}

void read_sizes(const JsonObject& json, const Family& family, ModelConfig& config) {
  config.vocab_size = json.integer("vocab_size", 1, kMaxVocabulary);
  config.hidden_size = json.integer("hidden_size", 1, kMaxWidth);
  config.intermediate_size = json.integer("intermediate_size", 1, kMaxWidth);
  config.layers = json.integer("num_hidden_layers", 1, kMaxLayers);
  config.heads = json.integer("num_attention_heads", 1, kMaxWidth);
  config.context_length = json.integer_or("max_position_embeddings", 1, kMaxContext, 2048);
  config.rms_norm_eps = static_cast<float>(json.number_or("rms_norm_eps", 1e-6));
  if (family.latent_attention) return read_mla(json, config);
  config.kv_heads = json.integer_or("num_key_value_heads", 1, kMaxWidth, config.heads);
  const bool derived = !json.has("head_dim") && family.default_head_dim == 0;
  if (derived && config.hidden_size % config.heads != 0) {
    fail(ErrorCode::kInvalidData, "{}: hidden_size {} is not a multiple of num_attention_heads {}",
         json.label(), config.hidden_size, config.heads);
  }
  config.head_dim = json.integer_or("head_dim", 1, kMaxWidth,
                                    derived ? config.hidden_size / config.heads : family.default_head_dim);
}

}  // namespace

void check_config(const ModelConfig& config, std::string_view label) {
  if (config.heads % config.kv_heads != 0) {
    fail(ErrorCode::kInvalidData, "{}: {} query heads are not a multiple of {} key-value heads", label,
         config.heads, config.kv_heads);
  }
  if (config.rotary_dim() % 2 != 0) {
    fail(ErrorCode::kInvalidData, "{}: {} {} is odd, it cannot be rotated", label,
         config.mla ? "qk_rope_head_dim" : "head_dim", config.rotary_dim());
  }
  if (config.q_size() > (std::int64_t{1} << 24)) {
    fail(ErrorCode::kInvalidData, "{}: {} heads of {} are more than any tensor can hold", label,
         config.heads, config.head_dim);
  }
  if (!(config.rms_norm_eps >= 0) || !std::isfinite(config.rms_norm_eps)) {
    fail(ErrorCode::kInvalidData, "{}: rms_norm_eps is {}", label, config.rms_norm_eps);
  }
}

std::string_view rope_type_name(RopeType type) {
  switch (type) {
    case RopeType::kDefault: return "none";
    case RopeType::kLinear: return "linear";
    case RopeType::kDynamicNtk: return "dynamic NTK";
    case RopeType::kYarn: return "YaRN";
    case RopeType::kLlama3: return "llama3";
    case RopeType::kDivisors: return "per-frequency divisors";
  }
  return "unknown";
}

namespace {

// The language model's part of the configuration of a model that also sees (Kimi K2.5).
JsonObject text_part(const JsonObject& root) {
  const std::optional<JsonObject> text = root.object("text_config");
  return text ? *text : root;
}

}  // namespace

ModelConfig config_from_json(std::string_view text) {
  const nlohmann::json parsed = parse_json(text, "config.json");
  const JsonObject root(parsed, "config.json");
  const JsonObject json = text_part(root);
  ModelConfig config;
  const Family& family = family_of_model_type(json.string("model_type"));
  config.family = family.model_type;
  config.name = json.string_or("_name_or_path", "");
  config.stored_dtype = json.string_or("dtype", json.string_or("torch_dtype", ""));
  const std::string activation = json.string_or("hidden_act", "silu");
  if (activation != "silu") {
    fail(ErrorCode::kUnsupported, "config.json: hidden_act \"{}\" is not silu", printable(activation));
  }
  config.quantization = quantization_config_from_json(json.has("quantization_config") ? json : root);
  read_sizes(json, family, config);
  config.rope = read_rope(json, config);
  config.attention_scale = attention_scale(config);
  config.tied_embeddings = json.boolean_or("tie_word_embeddings", false);
  config.windows.assign(static_cast<std::size_t>(config.layers), 0);
  config.eos_ids = (json.has("eos_token_id") ? json : root).ids("eos_token_id");
  const std::vector<std::int32_t> bos = (json.has("bos_token_id") ? json : root).ids("bos_token_id");
  if (!bos.empty()) config.bos_id = bos.front();
  family.configure_json(json, config);
  check_config(config, "config.json");
  return config;
}

void configure_windows(const JsonObject& json, ModelConfig& config) {
  if (!json.boolean_or("use_sliding_window", false)) return;
  const std::int64_t window = json.integer_or("sliding_window", 1, kMaxContext, 0);
  if (window == 0) return;
  const std::vector<std::string> types = json.strings("layer_types");
  if (!types.empty() && types.size() != config.windows.size()) {
    fail(ErrorCode::kInvalidData, "{}: layer_types has {} entries for {} layers", json.label(),
         types.size(), config.layers);
  }
  const std::int64_t first_sliding = json.integer_or("max_window_layers", 0, kMaxLayers, 28);
  for (std::size_t i = 0; i < config.windows.size(); ++i) {
    const bool slides = types.empty() ? static_cast<std::int64_t>(i) >= first_sliding
                                      : types[i] == "sliding_attention";
    if (slides) config.windows[i] = window;
  }
}

GenerationDefaults generation_defaults_from_json(std::string_view text) {
  const nlohmann::json root = parse_json(text, "generation_config.json");
  const JsonObject json(root, "generation_config.json");
  GenerationDefaults defaults;
  defaults.temperature = json.optional_number("temperature");
  defaults.top_p = json.optional_number("top_p");
  defaults.min_p = json.optional_number("min_p");
  defaults.repetition_penalty = json.optional_number("repetition_penalty");
  defaults.presence_penalty = json.optional_number("presence_penalty");
  defaults.frequency_penalty = json.optional_number("frequency_penalty");
  if (json.has("top_k")) defaults.top_k = json.integer("top_k", 0, kMaxVocabulary);
  if (json.has("do_sample")) defaults.do_sample = json.boolean_or("do_sample", false);
  defaults.eos_ids = json.ids("eos_token_id");
  return defaults;
}

}  // namespace sampan
