#pragma once

#include <cstdint>
#include <limits>
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

inline constexpr std::int64_t kAnyLength = std::numeric_limits<std::int64_t>::max();

// Renders and tokenizes. In a conversation, special tokens count only where the template wrote
// them. Throws Error kUnsupported for a conversation with a model that has no template,
// kInvalidArgument for what the template rejects, fail_too_long()'s for a text whose size alone
// says that it has more than `context` tokens: it is not tokenized.
PreparedPrompt prepare_prompt(const ModelText& text, const Prompt& prompt,
                              std::int64_t context = kAnyLength);

// For one vector: the tokenizer's own EOS follows where the model wants one.
std::vector<std::int32_t> prepare_pooling_prompt(
    const ModelText& text, const std::variant<TextPrompt, TokenPrompt>& prompt,
    std::int64_t context = kAnyLength);

// Throws Error kLimit in the words that clients look for. at_least: `tokens` is what the size says.
[[noreturn]] void fail_too_long(std::int64_t context, std::int64_t tokens, bool at_least = false);

}  // namespace sampan
