#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/api/answers.h"

namespace sampan {

// Field tables of OpenAI's routes, vLLM's extras included.
const FieldTable& chat_fields();
const FieldTable& message_fields();
const FieldTable& completion_fields();
const FieldTable& embedding_fields();

// Handlers.
void openai_chat(Call call);
void openai_completions(Call call);
void openai_embeddings(Call call);
void list_models(Call call);
void show_model(Call call);

// What chat and text completions have in common: model, sampling, stops, choices, priority.
InferenceRequest openai_request(const Call& call, const Body& body);

// Refuses a min_tokens that max_tokens does not leave room for.
void check_min_tokens(const Body& body, const InferenceRequest& request);

struct StreamOptions {
  bool is_stream = false;
  bool include_usage = false, continuous_usage = false;
  bool obfuscation = true;
};
StreamOptions stream_options(const Body& body);

// A conversation as templates want it: text parts joined by line breaks, arguments of calls as
// objects. Throws ApiError naming the message.
ChatPrompt openai_chat_prompt(Call& call, const Body& body);
Json template_messages(const Json& messages, bool knows_developer,
                       std::vector<std::string>* ignored);
// True where the model's template tells "developer" messages apart.
bool knows_developer(const Call& call, const std::string& model);

Json usage_json(const Usage& usage);
std::string sse_event(const Json& data);

using TokenBytes = std::function<std::string(std::int32_t)>;

// logprobs.content of chat completions.
Json chat_logprobs(const std::vector<ScoredToken>& tokens, std::size_t alternatives,
                   const TokenBytes& bytes, bool as_ids);
// vLLM's prompt_logprobs: one object {id: {logprob, rank, decoded_token}} a token, null for the
// first.
Json prompt_logprobs_json(const std::vector<ScoredToken>& tokens, std::size_t alternatives,
                          const TokenBytes& bytes);
Json ids_json(const std::vector<std::int32_t>& ids);
Json token_ids_json(const std::vector<ScoredToken>& tokens);
// A token as logprobs show it: "token_id:5" or its text; bytes that are no UTF-8 as
// "bytes:\xe2\x80" where texts must differ, else with U+FFFD.
std::string token_name(std::int32_t id, const std::string& bytes, bool as_ids, bool distinct);

const char* finish_reason(StopReason reason);

// A chunk as an event, padded by a field "obfuscation" so that its size tells little of its text's.
std::string padded_event(const Json& chunk);

// Texts that one request may ask for: entries of a list, and for completions times n.
inline constexpr std::size_t kMaxTexts = 2048;

// Texts and token ids as "prompt" and "input" have them: one or a list of at most kMaxTexts.
using TextInput = std::variant<TextPrompt, TokenPrompt>;
std::vector<TextInput> text_inputs(const Body& body, std::string_view name);

}  // namespace sampan
