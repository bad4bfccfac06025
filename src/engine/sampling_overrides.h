#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "engine/sampler.h"
#include "models/config.h"

namespace sampan {

// What a caller said about sampling; the rest is the model's default.
struct SamplingOverrides {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<std::int64_t> top_k;
  std::optional<std::uint64_t> seed;
  std::vector<std::pair<std::int32_t, float>> logit_bias;
};

// Overrides over the model's defaults over ours: temperature 1 where the model says do_sample, else
// greedy. The seed is drawn when none is given.
SamplingParams resolve_sampling(const SamplingOverrides& overrides,
                                const GenerationDefaults& defaults);

// generation_config.json beside the weights; nothing for a GGUF file or a folder without one.
GenerationDefaults generation_defaults(const std::filesystem::path& model);

// The seed of choice `index` of a request with `seed`: the first one's is the seed itself.
std::uint64_t choice_seed(std::uint64_t seed, int index);

}  // namespace sampan
