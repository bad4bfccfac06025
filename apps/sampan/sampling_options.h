#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "engine/sampler.h"
#include "models/config.h"

namespace sampan {

// Flags of sampling; what is not given comes from the model's generation_config.json.
struct SamplingOptions {
  bool greedy = false;
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<std::int64_t> top_k;
  std::optional<std::uint64_t> seed;

  // Flags over the model's defaults over ours (temperature 1 where the model says do_sample, else greedy). The seed is drawn when none is given.
  SamplingParams resolve(const GenerationDefaults& defaults) const;
};
void add_sampling_options(CLI::App& command, SamplingOptions& options);

// generation_config.json beside the weights; nothing for a GGUF file or a folder without one.
GenerationDefaults generation_defaults(const std::filesystem::path& model);

}  // namespace sampan
