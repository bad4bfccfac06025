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

PreparedPrompt prepare(const ModelText& text, const ChatPrompt& chat) {
  const std::optional<ChatTemplate>& form =
      chat.tools.empty() ? text.chat_template : text.tool_template;
  if (!form) {
    fail(ErrorCode::kUnsupported,
         "this model has no chat template: it continues text, it does not converse");
  }
  const RenderedPrompt rendered = form->render({chat.messages, chat.tools, variables_of(chat)});
  std::vector<TextPiece> pieces;
  for (const RenderedPiece& piece : rendered.pieces) pieces.push_back({piece.text, piece.trusted});
  PreparedPrompt prompt;
  prompt.ids = text.tokenizer->encode(pieces);
  prompt.opens_reasoning = !rendered.pieces.empty() && rendered.pieces.back().trusted &&
                           ends_in_reasoning(rendered.pieces.back().text);
  return prompt;
}

std::vector<std::int32_t> tokenize(const Tokenizer& tokenizer, const TextPrompt& prompt) {
  std::vector<std::int32_t> ids = tokenizer.encode(
      prompt.text, prompt.parse_special_tokens ? SpecialTokens::kParse : SpecialTokens::kPlainText);
  if (prompt.add_special_tokens && tokenizer.adds_bos() && tokenizer.bos_id()) {
    ids.insert(ids.begin(), *tokenizer.bos_id());
  }
  return ids;
}

}  // namespace

PreparedPrompt prepare_prompt(const ModelText& text, const Prompt& prompt) {
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) return prepare(text, *chat);
  if (const auto* plain = std::get_if<TextPrompt>(&prompt))
    return {tokenize(*text.tokenizer, *plain), false};
  return {std::get<TokenPrompt>(prompt).ids, false};
}

std::vector<std::int32_t> prepare_pooling_prompt(
    const ModelText& text, const std::variant<TextPrompt, TokenPrompt>& prompt) {
  if (const auto* tokens = std::get_if<TokenPrompt>(&prompt)) return tokens->ids;
  const auto& plain = std::get<TextPrompt>(prompt);
  std::vector<std::int32_t> ids = tokenize(*text.tokenizer, plain);
  if (plain.add_special_tokens && text.tokenizer->adds_eos() && text.tokenizer->eos_id()) {
    ids.push_back(*text.tokenizer->eos_id());
  }
  return ids;
}

}  // namespace sampan
