#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>

#include "engine/sampling_overrides.h"

namespace sampan {

// Flags of sampling; what is not given comes from the model's generation_config.json.
struct SamplingOptions : SamplingOverrides {
  bool greedy = false;

  SamplingParams resolve(const GenerationDefaults& defaults) const {
    return greedy ? SamplingParams{} : resolve_sampling(*this, defaults);
  }
};
void add_sampling_options(CLI::App& command, SamplingOptions& options);

}  // namespace sampan
