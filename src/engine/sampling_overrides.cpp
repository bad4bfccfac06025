#include "engine/sampling_overrides.h"

#include <random>

#include "base/mapped_file.h"

namespace sampan {

SamplingParams resolve_sampling(const SamplingOverrides& overrides,
                                const GenerationDefaults& defaults) {
  const bool samples = defaults.do_sample.value_or(defaults.temperature.has_value());
  const auto chosen = [](const auto& given, const auto& usual, auto otherwise) {
    return given ? *given : usual.value_or(otherwise);
  };
  SamplingParams params;
  params.temperature =
      overrides.temperature.value_or(samples ? defaults.temperature.value_or(1.0) : 0.0);
  params.top_k = chosen(overrides.top_k, defaults.top_k, std::int64_t{0});
  params.top_p = chosen(overrides.top_p, defaults.top_p, 1.0);
  params.min_p = chosen(overrides.min_p, defaults.min_p, 0.0);
  params.repetition_penalty =
      chosen(overrides.repetition_penalty, defaults.repetition_penalty, 1.0);
  params.presence_penalty = chosen(overrides.presence_penalty, defaults.presence_penalty, 0.0);
  params.frequency_penalty = chosen(overrides.frequency_penalty, defaults.frequency_penalty, 0.0);
  params.logit_bias = overrides.logit_bias;
  params.seed = overrides.seed ? *overrides.seed : std::random_device{}();
  return params;
}

GenerationDefaults generation_defaults(const std::filesystem::path& model) {
  const std::filesystem::path folder =
      std::filesystem::is_directory(model) ? model : model.parent_path();
  const std::filesystem::path file = folder / "generation_config.json";
  if (model.extension() == ".gguf" || !std::filesystem::exists(file)) return {};
  return generation_defaults_from_json(read_file(file, 1 << 20));
}

std::uint64_t choice_seed(std::uint64_t seed, int index) {
  return seed + static_cast<std::uint64_t>(index) * 0x9E3779B97F4A7C15u;
}

}  // namespace sampan
