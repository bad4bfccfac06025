#include "sampling_options.h"

#include <random>

#include "base/mapped_file.h"

namespace sampan {

SamplingParams SamplingOptions::resolve(const GenerationDefaults& defaults) const {
  const bool model_samples = defaults.do_sample.value_or(defaults.temperature.has_value());
  SamplingParams params;
  params.temperature = temperature.value_or(model_samples ? defaults.temperature.value_or(1.0) : 0.0);
  params.top_k = top_k.value_or(defaults.top_k.value_or(0));
  params.top_p = top_p.value_or(defaults.top_p.value_or(1.0));
  params.min_p = min_p.value_or(defaults.min_p.value_or(0.0));
  params.repetition_penalty = repetition_penalty.value_or(defaults.repetition_penalty.value_or(1.0));
  params.presence_penalty = presence_penalty.value_or(defaults.presence_penalty.value_or(0.0));
  params.frequency_penalty = frequency_penalty.value_or(defaults.frequency_penalty.value_or(0.0));
  params.seed = seed ? *seed : std::random_device{}();
  if (greedy) params = SamplingParams{};
  return params;
}

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  command.add_flag("--greedy", options.greedy, "Always take the likeliest token; penalties do not apply");
  command.add_option("--temperature", options.temperature, "0 = the likeliest token")->type_name("T");
  command.add_option("--top-k", options.top_k, "Draw from the K likeliest tokens; 0 = all")->type_name("K");
  command.add_option("--top-p", options.top_p, "Draw from the likeliest tokens that make up P of the probability")->type_name("P");
  command.add_option("--min-p", options.min_p, "Leave out tokens less likely than P times the likeliest")->type_name("P");
  command.add_option("--repetition-penalty", options.repetition_penalty, "Above 1: makes tokens seen before less likely")->type_name("X");
  command.add_option("--presence-penalty", options.presence_penalty, "Subtracted from the logits of tokens generated before")->type_name("X");
  command.add_option("--frequency-penalty", options.frequency_penalty, "Subtracted once for each time a token was generated")->type_name("X");
  command.add_option("--seed", options.seed, "Makes a draw repeatable")->type_name("N");
}

GenerationDefaults generation_defaults(const std::filesystem::path& model) {
  const std::filesystem::path folder = std::filesystem::is_directory(model) ? model : model.parent_path();
  const std::filesystem::path file = folder / "generation_config.json";
  if (model.extension() == ".gguf" || !std::filesystem::exists(file)) return {};
  return generation_defaults_from_json(read_file(file, 1 << 20));
}

}  // namespace sampan
