#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "serve/host/inference.h"
#include "text/model_text.h"

namespace sampan {

using Prompt = std::variant<ChatPrompt, TextPrompt, TokenPrompt>;

struct PreparedPrompt {
  std::vector<std::int32_t> ids;
  bool opens_reasoning = false;  // it ends within an open <think>
};

// Renders and tokenizes. In a conversation, special tokens count only where the template wrote
// them. Throws Error kUnsupported for a conversation with a model that has no template,
// kInvalidArgument for what the template rejects.
PreparedPrompt prepare_prompt(const ModelText& text, const Prompt& prompt);

// For one vector: the tokenizer's own EOS follows where the model wants one.
std::vector<std::int32_t> prepare_pooling_prompt(
    const ModelText& text, const std::variant<TextPrompt, TokenPrompt>& prompt);

}  // namespace sampan
