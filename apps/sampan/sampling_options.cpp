#include "sampling_options.h"

namespace sampan {

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
  command.add_flag("--greedy", options.greedy,
                   "Always take the likeliest token; penalties do not apply");
  command.add_option("--temperature", options.temperature, "0 = the likeliest token")
      ->type_name("T");
  command.add_option("--top-k", options.top_k, "Draw from the K likeliest tokens; 0 = all")
      ->type_name("K");
  command
      .add_option("--top-p", options.top_p,
                  "Draw from the likeliest tokens that make up P of the probability")
      ->type_name("P");
  command
      .add_option("--min-p", options.min_p,
                  "Leave out tokens less likely than P times the likeliest")
      ->type_name("P");
  command
      .add_option("--repetition-penalty", options.repetition_penalty,
                  "Above 1: makes tokens seen before less likely")
      ->type_name("X");
  command
      .add_option("--presence-penalty", options.presence_penalty,
                  "Subtracted from the logits of tokens generated before")
      ->type_name("X");
  command
      .add_option("--frequency-penalty", options.frequency_penalty,
                  "Subtracted once for each time a token was generated")
      ->type_name("X");
  command.add_option("--seed", options.seed, "Makes a draw repeatable")->type_name("N");
}

}  // namespace sampan
