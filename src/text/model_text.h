#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "text/chat_template.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace sampan {

// The text side of a model: none of it touches weights.
struct ModelText {
  std::shared_ptr<const Tokenizer> tokenizer;
  // Models that were not trained to chat have none. tool_template: for conversations with tools,
  // where the model has another for them; else the same.
  std::optional<ChatTemplate> chat_template, tool_template;
};

// model: a folder (tokenizer.json …, or with a GGUF file in it) or a .gguf file. Throw Error
// kNotFound when there is no tokenizer.
ModelText load_model_text(const std::filesystem::path& model);
std::shared_ptr<const Tokenizer> load_model_tokenizer(const std::filesystem::path& model);
// All of a model's templates; sources is empty when it has none.
ChatTemplates load_model_templates(const std::filesystem::path& model);

}  // namespace sampan
