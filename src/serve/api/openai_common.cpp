#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "serve/api/openai.h"

namespace sampan {
namespace {

std::optional<std::int32_t> parse_id(const std::string& text) {
  std::int32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0) return std::nullopt;
  return id;
}

void read_logit_bias(const Body& body, SamplingOverrides& sampling) {
  const Json* const map = body.find("logit_bias");
  if (map == nullptr) return;
  for (const auto& [key, value] : map->items()) {
    const auto id = parse_id(key);
    if (!id)
      body.refuse("logit_bias",
                  fmt::format("'logit_bias': \"{}\" is not a token id.", printable(key)));
    if (!value.is_number() || !(std::abs(value.get<double>()) <= 100)) {
      body.refuse("logit_bias",
                  fmt::format("'logit_bias' of {} must be a number between -100 and 100.", *id));
    }
    sampling.logit_bias.emplace_back(*id, value.get<float>());
  }
}

void read_response_format(const Body& body) {
  const Json* const format = body.find("response_format");
  if (format == nullptr) return;
  const auto type = format->find("type");
  if (type == format->end() || !type->is_string())
    throw ApiError(400, "'response_format.type' must be a string.", "response_format.type",
                   "invalid_type");
  if (*type == "text") return;
  throw ApiError(400,
                 fmt::format("'response_format' of type \"{}\" is not supported yet.",
                             printable(type->get_ref<const std::string&>())),
                 "response_format", "unsupported_parameter");
}

// What OpenAI documents where the request says nothing.
void set_api_defaults(SamplingOverrides& sampling) {
  if (!sampling.temperature) sampling.temperature = 1;
  if (!sampling.top_p) sampling.top_p = 1;
  if (!sampling.top_k) sampling.top_k = 0;
  if (!sampling.min_p) sampling.min_p = 0;
  if (!sampling.repetition_penalty) sampling.repetition_penalty = 1;
}

std::string escaped_bytes(const std::string& bytes) {
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

Json chat_token(std::int32_t id, float logprob, const TokenBytes& bytes_of, bool as_ids) {
  const std::string bytes = bytes_of(id);
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return {{"token", token_name(id, bytes, as_ids, false)},
          {"logprob", json_logprob(logprob)},
          {"bytes", std::move(list)}};
}

}  // namespace

InferenceRequest openai_request(const Call& call, const Body& body) {
  InferenceRequest request;
  request.model = body.string("model").value_or("");
  SamplingOverrides& sampling = request.sampling;
  sampling.temperature = body.number("temperature");
  sampling.top_p = body.number("top_p");
  sampling.min_p = body.number("min_p");
  sampling.repetition_penalty = body.number("repetition_penalty");
  sampling.presence_penalty = body.number("presence_penalty");
  sampling.frequency_penalty = body.number("frequency_penalty");
  if (const auto k = body.integer("top_k")) sampling.top_k = std::max<std::int64_t>(*k, 0);
  if (const auto seed = body.integer("seed")) sampling.seed = static_cast<std::uint64_t>(*seed);
  read_logit_bias(body, sampling);
  if (call.api.options.api_sampling_defaults) set_api_defaults(sampling);
  read_response_format(body);

  request.stop = body.strings("stop");
  if (const Json* const ids = body.find("stop_token_ids")) {
    for (const Json& value : *ids) {
      const auto id = as_integer(value);
      if (!id || *id < 0 || *id > std::numeric_limits<std::int32_t>::max())
        body.refuse("stop_token_ids", "'stop_token_ids' must be token ids.");
      request.stop_token_ids.push_back(static_cast<std::int32_t>(*id));
    }
  }
  request.min_tokens = body.integer("min_tokens").value_or(0);
  request.ignore_eos = body.boolean("ignore_eos").value_or(false);
  request.include_stop = body.boolean("include_stop_str_in_output").value_or(false);
  request.skip_special_tokens = body.boolean("skip_special_tokens").value_or(true);
  request.choices = static_cast<int>(body.integer("n").value_or(1));
  request.prompt_logprobs = static_cast<int>(body.integer("prompt_logprobs").value_or(-1));
  request.priority = static_cast<int>(body.integer("priority").value_or(0));
  request.deadline = call.deadline();
  request.arrival = call.request().arrival;
  request.caller = call.caller;
  // Or any key could put itself before all others for good.
  if (request.priority < 0 && !call.caller.key_id.empty())
    body.refuse("priority", "'priority' must be 0 or more on a server with keys.");
  if (request.prompt_logprobs >= 0 && body.boolean("stream").value_or(false))
    body.refuse("prompt_logprobs", "'prompt_logprobs' is not available in a stream.");
  return request;
}

void check_min_tokens(const Body& body, const InferenceRequest& request) {
  if (request.max_tokens && request.min_tokens > *request.max_tokens)
    body.refuse("min_tokens", "'min_tokens' is more than the answer's token limit.");
}

StreamOptions stream_options(const Body& body) {
  StreamOptions options;
  options.is_stream = body.boolean("stream").value_or(false);
  const auto given = body.object("stream_options");
  if (!given) return options;
  if (!options.is_stream && given->boolean("include_usage").value_or(false))
    body.refuse("stream_options", "'stream_options' is for stream = true.");
  options.include_usage = given->boolean("include_usage").value_or(false);
  options.continuous_usage = given->boolean("continuous_usage_stats").value_or(false);
  options.obfuscation = given->boolean("include_obfuscation").value_or(true);
  return options;
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

std::string sse_event(const Json& data) { return "data: " + dump(data) + "\n\n"; }

std::string token_name(std::int32_t id, const std::string& bytes, bool as_ids, bool distinct) {
  if (as_ids) return fmt::format("token_id:{}", id);
  if (is_utf8(bytes)) return bytes;
  return distinct ? escaped_bytes(bytes) : repaired_utf8(bytes);
}

Json chat_logprobs(const std::vector<ScoredToken>& tokens, std::size_t alternatives,
                   const TokenBytes& bytes, bool as_ids) {
  Json content = Json::array();
  for (const ScoredToken& token : tokens) {
    Json entry = chat_token(token.id, token.logprob, bytes, as_ids);
    Json top = Json::array();
    for (std::size_t i = 0; i < std::min(alternatives, token.top.size()); ++i)
      top.push_back(chat_token(token.top[i].id, token.top[i].logprob, bytes, as_ids));
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json prompt_logprobs_json(const std::vector<ScoredToken>& tokens, std::size_t alternatives,
                          const TokenBytes& bytes) {
  Json list = Json::array();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const ScoredToken& token = tokens[i];
    if (i == 0) {
      list.push_back(nullptr);
      continue;
    }
    Json entry = Json::object();
    const auto add = [&](std::int32_t id, float logprob, std::int64_t rank) {
      entry[std::to_string(id)] = {{"logprob", json_logprob(logprob)},
                                   {"rank", rank},
                                   {"decoded_token", repaired_utf8(bytes(id))}};
    };
    add(token.id, token.logprob, token.rank);
    for (std::size_t rank = 0; rank < std::min(alternatives, token.top.size()); ++rank)
      add(token.top[rank].id, token.top[rank].logprob, static_cast<std::int64_t>(rank) + 1);
    list.push_back(std::move(entry));
  }
  return list;
}

Json ids_json(const std::vector<std::int32_t>& ids) {
  Json list = Json::array();
  for (const std::int32_t id : ids) list.push_back(id);
  return list;
}

Json token_ids_json(const std::vector<ScoredToken>& tokens) {
  Json list = Json::array();
  for (const ScoredToken& token : tokens) list.push_back(token.id);
  return list;
}

const char* finish_reason(StopReason reason) {
  return reason == StopReason::kLength ? "length" : "stop";
}

std::string padded_event(const Json& chunk) {
  constexpr std::size_t kBucket = 32;
  constexpr std::string_view kText = "aK3xR9mQ0vTz7LbWp5Yd2HsJ8cNf4GuE";
  std::string event = sse_event(chunk);
  const std::string_view pad = kText.substr(0, kBucket - event.size() % kBucket);
  event.insert(event.rfind('}'), fmt::format(",\"obfuscation\":\"{}\"", pad));
  return event;
}

namespace {

TokenPrompt token_prompt(const Body& body, std::string_view name, const Json& list) {
  TokenPrompt prompt;
  prompt.ids.reserve(list.size());
  for (const Json& value : list) {
    const auto id = as_integer(value);
    if (!id || *id < 0 || *id > std::numeric_limits<std::int32_t>::max())
      body.refuse(name, fmt::format("'{}' has an entry that is no token id.", name));
    prompt.ids.push_back(static_cast<std::int32_t>(*id));
  }
  return prompt;
}

}  // namespace

std::vector<TextInput> text_inputs(const Body& body, std::string_view name) {
  const Json& value = *body.find(name);
  if (value.is_string()) return {TextPrompt{value.get<std::string>(), true}};
  if (!value.is_array() || value.empty()) {
    body.refuse(name, fmt::format("'{}' must be a string, an array of strings, of token ids or of "
                                  "arrays of token ids, and not empty.",
                                  name));
  }
  if (value[0].is_number()) return {token_prompt(body, name, value)};
  if (value.size() > kMaxTexts)
    body.refuse(name,
                fmt::format("'{}' has {} entries, more than {}.", name, value.size(), kMaxTexts));
  std::vector<TextInput> inputs;
  for (const Json& one : value) {
    if (one.type() != value[0].type() || !(one.is_string() || one.is_array()))
      body.refuse(name, fmt::format("'{}' must have texts or lists of token ids, not both and "
                                    "nothing else.",
                                    name));
    if (one.is_string()) {
      inputs.emplace_back(TextPrompt{one.get<std::string>(), true});
    } else {
      inputs.emplace_back(token_prompt(body, name, one));
    }
  }
  return inputs;
}

}  // namespace sampan
