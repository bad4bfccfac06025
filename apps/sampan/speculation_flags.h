#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "engine/speculation.h"
#include "options.h"

namespace sampan {

// Flags of commands that may draft tokens ahead: auto (where the model has the means, while it
// pays), on (always; an error where it has not), off.
struct SpeculationFlags {
  std::string mode = "auto";
  std::int64_t depth = 1;

  LoadOptions load_options(const ComputeOptions& compute) const;
  SpeculationOptions options() const;
};
void add_speculation_options(CLI::App& command, SpeculationFlags& flags);

}  // namespace sampan
