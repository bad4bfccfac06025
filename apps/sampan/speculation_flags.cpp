#include "speculation_flags.h"

namespace sampan {

LoadOptions SpeculationFlags::load_options(const ComputeOptions& compute) const {
  LoadOptions options = compute.load_options();
  options.prediction = mode == "on"     ? Prediction::kRequire
                       : mode == "auto" ? Prediction::kWherePossible
                                        : Prediction::kLeaveOut;
  return options;
}

SpeculationOptions SpeculationFlags::options() const {
  SpeculationOptions options;
  options.depth = depth;
  options.always = mode == "on";
  return options;
}

void add_speculation_options(CLI::App& command, SpeculationFlags& flags) {
  command
      .add_option("--speculate", flags.mode,
                  "Draft tokens with the model's multi-token prediction and check them all at "
                  "once; the text stays the same. auto: where "
                  "there is such a layer, while it pays; on: always; off")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->type_name("MODE")
      ->capture_default_str();
  command.add_option("--speculate-depth", flags.depth, "Tokens to draft at a time")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{16}))
      ->type_name("N")
      ->capture_default_str();
}

}  // namespace sampan
