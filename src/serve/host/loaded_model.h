#pragma once

#include <memory>

#include "engine/compute_turns.h"
#include "engine/engine.h"
#include "models/config.h"
#include "models/load.h"
#include "text/model_text.h"

namespace sampan {

// A model in memory with the engine that runs it.
struct LoadedModel {
  std::shared_ptr<const ModelText> text;
  GenerationDefaults defaults;
  std::vector<std::int32_t> end_ids;  // that end an answer
  std::unique_ptr<Model> model;
  std::unique_ptr<Engine> engine;  // after the model, which it uses
  std::int64_t bytes = 0;          // that it was planned to take
};

// The ids that end an answer of the model: the configurations' and the tokenizer's.
std::vector<std::int32_t> end_ids(const ModelConfig& config, const GenerationDefaults& defaults,
                                  const Tokenizer& tokenizer);

}  // namespace sampan
