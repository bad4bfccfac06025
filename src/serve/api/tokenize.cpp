#include "serve/api/tokenize.h"

#include <limits>

#include "serve/api/openai.h"

namespace sampan {
namespace {

using Type = Field::Type;

ChatPrompt chat_prompt(Call& call, const Body& body) {
  const Json& messages = *body.find("messages");
  if (messages.empty()) body.refuse("messages", "'messages' is empty.");
  ChatPrompt prompt;
  const bool knows = knows_developer(call, body.string("model").value_or(""));
  prompt.messages = dump(template_messages(messages, knows, &call.ignored));
  if (const Json* const tools = body.find("tools"); tools != nullptr && !tools->empty())
    prompt.tools = dump(*tools);
  if (const Json* const variables = body.find("chat_template_kwargs"))
    prompt.variables = dump(*variables);
  prompt.continue_final_message = body.boolean("continue_final_message").value_or(false);
  prompt.add_generation_prompt =
      !prompt.continue_final_message && body.boolean("add_generation_prompt").value_or(true);
  return prompt;
}

}  // namespace

const FieldTable& tokenize_fields() {
  static const FieldTable table = {
      {.name = "model", .type = Type::kString, .fallback = "the first model that is served"},
      {.name = "prompt",
       .type = Type::kString,
       .note = "special tokens in it are parsed; this or messages"},
      {.name = "messages",
       .type = Type::kArray,
       .note = "as in chat completions",
       .members = &message_fields()},
      {.name = "add_special_tokens",
       .type = Type::kBool,
       .fallback = "true",
       .note = "of a prompt: the tokenizer's own BOS"},
      {.name = "return_token_strs", .type = Type::kBool, .fallback = "false"},
      {.name = "add_generation_prompt", .type = Type::kBool, .fallback = "true"},
      {.name = "continue_final_message", .type = Type::kBool, .fallback = "false"},
      {.name = "tools", .type = Type::kArray},
      {.name = "chat_template_kwargs", .type = Type::kObject},
      {.name = "chat_template",
       .status = Field::Status::kRefused,
       .note = "templates come with the model, never by request"},
  };
  return table;
}

const FieldTable& detokenize_fields() {
  static const FieldTable table = {
      {.name = "model", .type = Type::kString, .fallback = "the first model that is served"},
      {.name = "tokens", .type = Type::kArray, .is_required = true, .note = "token ids"},
  };
  return table;
}

void tokenize_text(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  const auto text = body.string("prompt");
  if (text.has_value() == body.has("messages"))
    body.refuse(text ? "messages" : "prompt", "Send either 'prompt' or 'messages'.");
  std::variant<ChatPrompt, TextPrompt, TokenPrompt> prompt;
  if (text) {
    prompt = TextPrompt{*text, body.boolean("add_special_tokens").value_or(true)};
  } else {
    prompt = chat_prompt(call, body);
  }
  const std::string model = body.string("model").value_or("");
  const PromptInfo info = call.api.service.tokenize(model, prompt);
  Json reply = {{"count", info.ids.size()},
                {"max_model_len", info.context_length},
                {"tokens", ids_json(info.ids)}};
  if (body.boolean("return_token_strs").value_or(false)) {
    Json texts = Json::array();
    for (const std::int32_t id : info.ids)
      texts.push_back(repaired_utf8(call.api.service.token_bytes(model, id)));
    reply["token_strs"] = std::move(texts);
  }
  call.respond(reply);
}

void detokenize_ids(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  const std::string name = body.string("model").value_or("");
  const std::int64_t vocabulary = call.api.service.model(name).vocabulary;
  std::vector<std::int32_t> ids;
  for (const Json& value : *body.find("tokens")) {
    const auto id = as_integer(value);
    if (!id || *id < 0 || *id >= vocabulary)
      body.refuse("tokens",
                  "'tokens' must be ids from 0 to " + std::to_string(vocabulary - 1) + ".");
    ids.push_back(static_cast<std::int32_t>(*id));
  }
  call.respond(Json{{"prompt", repaired_utf8(call.api.service.detokenize(name, ids, false))}});
}

void tokenizer_info(Call call) {
  std::string name;
  for (const auto& [key, value] : call.request().query) {
    if (key == "model") name = value;
  }
  const ServedModelInfo model = call.api.service.model(name);
  const auto or_null = [](const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(repaired_utf8(text));
  };
  call.respond(Json{{"model", model.name},
                    {"tokenizer_class", "SampanTokenizer"},
                    {"bos_token", or_null(model.bos_token)},
                    {"eos_token", or_null(model.eos_token)},
                    {"pad_token", or_null(model.eos_token)},
                    {"vocab_size", model.vocabulary},
                    {"model_max_length", model.context_length},
                    {"chat_template", or_null(model.chat_template)}});
}

}  // namespace sampan
