#include "serve/host/prompt.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace sampan {
namespace {

using Json = nlohmann::ordered_json;

// True when the prompt ends within a <think> that the template opened.
bool ends_in_reasoning(std::string_view prompt) {
  const std::size_t open = prompt.rfind("<think>");
  if (open == std::string_view::npos) return false;
  return prompt.find_first_not_of(" \n", open + 7) == std::string_view::npos;
}

std::string variables_of(const ChatPrompt& chat) {
  Json variables = chat.variables.empty() ? Json::object() : Json::parse(chat.variables);
  variables["add_generation_prompt"] = chat.add_generation_prompt;
  if (chat.continue_final_message) variables["continue_final_message"] = true;
  return variables.dump();
}

// Before the work of tokenizing: a text of many megabytes is refused by its size.
void check_size(const Tokenizer& tokenizer, std::size_t bytes, std::int64_t context) {
  const auto tokens = static_cast<std::int64_t>(tokenizer.least_tokens(bytes));
  if (tokens > context) fail_too_long(context, tokens, true);
}

PreparedPrompt prepare(const ModelText& text, const ChatPrompt& chat, std::int64_t context) {
  const std::optional<ChatTemplate>& form =
      chat.tools.empty() ? text.chat_template : text.tool_template;
  if (!form) {
    fail(ErrorCode::kUnsupported,
         "this model has no chat template: it continues text, it does not converse");
  }
  const RenderedPrompt rendered = form->render({chat.messages, chat.tools, variables_of(chat)});
  std::vector<TextPiece> pieces;
  std::size_t bytes = 0;
  for (const RenderedPiece& piece : rendered.pieces) {
    pieces.push_back({piece.text, piece.trusted});
    bytes += piece.text.size();
  }
  check_size(*text.tokenizer, bytes, context);
  PreparedPrompt prompt;
  prompt.ids = text.tokenizer->encode(pieces);
  prompt.opens_reasoning = !rendered.pieces.empty() && rendered.pieces.back().trusted &&
                           ends_in_reasoning(rendered.pieces.back().text);
  return prompt;
}

std::vector<std::int32_t> tokenize(const Tokenizer& tokenizer, const TextPrompt& prompt,
                                   std::int64_t context) {
  check_size(tokenizer, prompt.text.size(), context);
  std::vector<std::int32_t> ids = tokenizer.encode(
      prompt.text, prompt.parse_special_tokens ? SpecialTokens::kParse : SpecialTokens::kPlainText);
  if (prompt.add_special_tokens && tokenizer.adds_bos() && tokenizer.bos_id()) {
    ids.insert(ids.begin(), *tokenizer.bos_id());
  }
  return ids;
}

}  // namespace

PreparedPrompt prepare_prompt(const ModelText& text, const Prompt& prompt, std::int64_t context) {
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) return prepare(text, *chat, context);
  if (const auto* plain = std::get_if<TextPrompt>(&prompt))
    return {tokenize(*text.tokenizer, *plain, context), false};
  return {std::get<TokenPrompt>(prompt).ids, false};
}

std::vector<std::int32_t> prepare_pooling_prompt(
    const ModelText& text, const std::variant<TextPrompt, TokenPrompt>& prompt,
    std::int64_t context) {
  if (const auto* tokens = std::get_if<TokenPrompt>(&prompt)) return tokens->ids;
  const auto& plain = std::get<TextPrompt>(prompt);
  std::vector<std::int32_t> ids = tokenize(*text.tokenizer, plain, context);
  if (plain.add_special_tokens && text.tokenizer->adds_eos() && text.tokenizer->eos_id()) {
    ids.push_back(*text.tokenizer->eos_id());
  }
  return ids;
}

void fail_too_long(std::int64_t context, std::int64_t tokens, bool at_least) {
  fail(ErrorCode::kLimit,
       "This model's maximum context length is {} tokens. However, your prompt has {}{} tokens; "
       "please shorten it.",
       context, at_least ? "at least " : "", tokens);
}

}  // namespace sampan
