#include <fmt/core.h>

#include <charconv>
#include <cmath>

#include "serve/api/ollama.h"
#include "serve/api/openai.h"

namespace sampan {
namespace {

// What the reply's shape depends on.
struct OllamaForm {
  bool is_chat = false;
  std::string model;  // as the request has it
  bool logprobs = false;
  std::size_t alternatives = 0;
  std::chrono::steady_clock::time_point arrival;
};

const char* done_reason(StopReason reason) {
  return reason == StopReason::kLength ? "length" : "stop";
}

Json object_json(const OllamaForm& form, const std::string& text, const std::string& thinking,
                 bool is_done) {
  Json object = {{"model", form.model}, {"created_at", ollama_now()}};
  if (form.is_chat) {
    object["message"] = {{"role", "assistant"}, {"content", text}};
    if (!thinking.empty()) object["message"]["thinking"] = thinking;
  } else {
    object["response"] = text;
    if (!thinking.empty()) object["thinking"] = thinking;
  }
  object["done"] = is_done;
  return object;
}

void put_end(const OllamaForm& form, const char* reason, const Usage& usage, Json& object) {
  const std::chrono::duration<double> total = std::chrono::steady_clock::now() - form.arrival;
  object["done_reason"] = reason;
  object["total_duration"] = nanoseconds(total.count());
  object["load_duration"] = nanoseconds(usage.load_seconds);
  object["prompt_eval_count"] = usage.prompt_tokens;
  object["prompt_eval_duration"] = nanoseconds(usage.prefill_seconds);
  object["eval_count"] = usage.completion_tokens;
  object["eval_duration"] = nanoseconds(usage.decode_seconds);
}

void put_logprobs(const OllamaForm& form, const std::vector<ScoredToken>& tokens,
                  const TokenBytes& bytes, Json& object) {
  if (form.logprobs && !tokens.empty())
    object["logprobs"] = chat_logprobs(tokens, form.alternatives, bytes, false)["content"];
}

class OllamaStream : public StreamWriter {
 public:
  OllamaStream(const Call& call, OllamaForm form)
      : StreamWriter(call, "application/x-ndjson", ""), form_(std::move(form)) {}

  void delta(int, const AnswerDelta& delta) override {
    if (delta.text.empty() && (!form_.logprobs || delta.tokens.empty())) return;
    Json object = delta.is_reasoning ? object_json(form_, "", delta.text, false)
                                     : object_json(form_, delta.text, "", false);
    put_logprobs(form_, delta.tokens, bytes_, object);
    write(dump(object) + "\n");
  }
  void answer_end(int, const AnswerEnd& end) override { reason_ = end.reason; }
  void end(const Usage& usage) override {
    Json object = object_json(form_, "", "", true);
    put_end(form_, done_reason(reason_), usage, object);
    write(dump(object) + "\n");
    finish();
  }

 protected:
  void begin(const PromptInfo& info) override { bytes_ = info.token_bytes; }
  void write_error(const ApiError& error) override {
    write(dump(error_object(call_.dialect, error, "")) + "\n");
  }

 private:
  const OllamaForm form_;
  TokenBytes bytes_;
  StopReason reason_ = StopReason::kEnd;
};

Json whole_reply(const OllamaForm& form, const Answer& answer, const Usage& usage) {
  const ChoiceAnswer& choice = answer.choices[0];
  Json object = object_json(form, choice.text, choice.reasoning, true);
  put_logprobs(form, choice.tokens, answer.prompt.token_bytes, object);
  put_end(form, done_reason(choice.end.reason), usage, object);
  return object;
}

void read_options(const Call& call, const Body& body, InferenceRequest& request) {
  SamplingOverrides& sampling = request.sampling;
  if (const auto options = body.object("options")) {
    sampling.temperature = options->number("temperature");
    sampling.top_p = options->number("top_p");
    sampling.min_p = options->number("min_p");
    sampling.repetition_penalty = options->number("repeat_penalty");
    sampling.presence_penalty = options->number("presence_penalty");
    sampling.frequency_penalty = options->number("frequency_penalty");
    if (const auto k = options->integer("top_k")) sampling.top_k = std::max<std::int64_t>(*k, 0);
    if (const auto seed = options->integer("seed"); seed && *seed >= 0)
      sampling.seed = static_cast<std::uint64_t>(*seed);
    if (const auto limit = options->integer("num_predict"); limit && *limit > 0)
      request.max_tokens = *limit;
    request.stop = options->strings("stop");
  }
  if (!call.api.options.api_sampling_defaults) return;
  if (!sampling.temperature) sampling.temperature = 0.8;
  if (!sampling.top_k) sampling.top_k = 40;
  if (!sampling.top_p) sampling.top_p = 0.9;
  if (!sampling.repetition_penalty) sampling.repetition_penalty = 1.1;
}

std::string think_variables(const Body& body) {
  const Json* const think = body.find("think");
  if (think == nullptr) return "";
  Json variables = Json::object();
  if (think->is_string()) {
    const auto& level = think->get_ref<const std::string&>();
    if (level != "low" && level != "medium" && level != "high")
      body.refuse("think", "think must be true, false, \"low\", \"medium\" or \"high\"");
    variables["reasoning_effort"] = level;
  } else if (!think->is_boolean()) {
    body.refuse("think", "think must be true, false, \"low\", \"medium\" or \"high\"");
  }
  const bool thinks = think->is_string() || think->get<bool>();
  variables["enable_thinking"] = thinks;
  variables["thinking"] = thinks;
  return dump(variables);
}

InferenceRequest common_request(const Call& call, const Body& body) {
  InferenceRequest request;
  request.id = new_id("ollama-");
  request.model = *body.string("model");
  read_options(call, body, request);
  request.deadline = call.deadline();
  request.arrival = call.request().arrival;
  request.caller = call.caller;
  if (body.boolean("logprobs").value_or(false))
    request.logprobs = static_cast<int>(body.integer("top_logprobs").value_or(0));
  return request;
}

OllamaForm form_of(const InferenceRequest& request, bool is_chat) {
  OllamaForm form;
  form.is_chat = is_chat;
  form.model = request.model;
  form.logprobs = request.logprobs >= 0;
  form.alternatives = static_cast<std::size_t>(std::max(request.logprobs, 0));
  form.arrival = request.arrival;
  return form;
}

void answer(const Call& call, const Body& body, InferenceRequest request, bool is_chat) {
  if (const auto duration = ollama_keep_alive(body))
    call.api.service.keep_alive(request.model, *duration, false);
  OllamaForm form = form_of(request, is_chat);
  std::unique_ptr<AnswerWriter> writer;
  if (body.boolean("stream").value_or(true)) {
    writer = std::make_unique<OllamaStream>(call, std::move(form));
  } else {
    writer = collect_answers(
        call, 1, 1,
        [form = std::move(form)](const std::vector<Answer>& answers, const Usage& usage) {
          return whole_reply(form, answers[0], usage);
        });
  }
  std::vector<InferenceRequest> requests;
  requests.push_back(std::move(request));
  start_answers(call, std::move(requests), std::move(writer));
}

// A request without a prompt: loads the model and answers when it is there, or unloads it.
void load_or_unload(const Call& call, const Body& body, InferenceRequest request, bool is_chat) {
  const auto duration = ollama_keep_alive(body);
  if (duration) call.api.service.keep_alive(request.model, *duration, false);
  const OllamaForm form = form_of(request, is_chat);
  if (duration && duration->count() == 0) {
    Json object = object_json(form, "", "", true);
    object["done_reason"] = "unload";
    return call.respond(object);
  }
  call.api.service.model(request.model);
  request.prompt = TextPrompt{" ", true};
  request.max_tokens = 0;
  request.logprobs = -1;
  auto writer = collect_answers(call, 1, 1, [form](const std::vector<Answer>&, const Usage&) {
    Json object = object_json(form, "", "", true);
    object["done_reason"] = "load";
    return object;
  });
  std::vector<InferenceRequest> requests;
  requests.push_back(std::move(request));
  start_answers(call, std::move(requests), std::move(writer));
}

Json template_call(const Json& call, const std::string& where) {
  const auto function = call.is_object() ? call.find("function") : call.end();
  if (!call.is_object() || function == call.end() || !function->is_object() ||
      !function->contains("name") || !(*function)["name"].is_string())
    throw ApiError(400, where + ": each call must have a function with a name", where);
  Json one = {{"type", "function"},
              {"function",
               {{"name", (*function)["name"]},
                {"arguments",
                 function->contains("arguments") ? (*function)["arguments"] : Json::object()}}}};
  if (call.contains("id") && call["id"].is_string()) one["id"] = call["id"];
  return one;
}

Json template_message(const Json& given, const std::string& where,
                      std::vector<std::string>* ignored) {
  const Body body(given, ollama_message_fields(), ignored, where + ".");
  Json message = {{"role", *body.string("role")}, {"content", body.string("content").value_or("")}};
  if (const auto text = body.string("thinking")) message["reasoning_content"] = *text;
  if (const auto name = body.string("tool_name")) message["name"] = *name;
  if (const auto id = body.string("tool_call_id")) message["tool_call_id"] = *id;
  if (const Json* const calls = body.find("tool_calls"); calls != nullptr && !calls->empty()) {
    message["tool_calls"] = Json::array();
    for (const Json& call : *calls)
      message["tool_calls"].push_back(template_call(call, body.param("tool_calls")));
  }
  return message;
}

}  // namespace

std::optional<std::chrono::milliseconds> ollama_keep_alive(const Body& body) {
  constexpr double kLongest = 1e9;  // seconds
  const Json* const value = body.find("keep_alive");
  if (value == nullptr) return std::nullopt;
  const auto wrong = [&] {
    body.refuse("keep_alive",
                "keep_alive must be a number of seconds or a duration such as \"5m\"");
  };
  double seconds = 0;
  if (value->is_number()) {
    seconds = value->get<double>();
  } else if (value->is_string()) {
    std::string_view text = value->get_ref<const std::string&>();
    const bool is_negative = text.starts_with('-');
    if (is_negative) text.remove_prefix(1);
    if (text.empty()) wrong();
    while (!text.empty()) {
      double number = 0;
      const auto [end, error] =
          std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
      if (error != std::errc() || !(number >= 0)) wrong();
      text.remove_prefix(static_cast<std::size_t>(end - text.data()));
      struct Unit {
        std::string_view name;
        double seconds;
      };
      constexpr Unit kUnits[] = {{"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9},
                                 {"h", 3600},  {"m", 60},    {"s", 1}};
      bool has_unit = text.empty();  // a bare number at the end is seconds
      double unit = 1;
      for (const Unit& one : kUnits) {
        if (has_unit || !text.starts_with(one.name)) continue;
        text.remove_prefix(one.name.size());
        unit = one.seconds;
        has_unit = true;
      }
      if (!has_unit) wrong();
      seconds += number * unit;
    }
    if (is_negative) seconds = -std::max(seconds, 1.0);
  } else {
    wrong();
  }
  if (seconds < 0 || seconds > kLongest) return std::chrono::milliseconds(-1);
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

void ollama_generate(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  InferenceRequest request = common_request(call, body);
  const std::string prompt = body.string("prompt").value_or("");
  if (prompt.empty()) return load_or_unload(call, body, std::move(request), false);
  const std::string system = body.string("system").value_or("");
  const bool is_raw = body.boolean("raw").value_or(false);
  if (is_raw && !system.empty())
    body.refuse("system", "raw mode does not support system: write it into the prompt");
  if (is_raw || call.api.service.model(request.model).chat_template.empty()) {
    request.prompt = TextPrompt{system.empty() || is_raw ? prompt : system + "\n\n" + prompt, true};
    request.split_reasoning = !is_raw;
  } else {
    Json messages = Json::array();
    if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
    messages.push_back({{"role", "user"}, {"content", prompt}});
    ChatPrompt chat;
    chat.messages = dump(messages);
    chat.variables = think_variables(body);
    request.prompt = std::move(chat);
  }
  answer(call, body, std::move(request), false);
}

void ollama_chat(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  InferenceRequest request = common_request(call, body);
  const Json* const given = body.find("messages");
  if (given == nullptr || given->empty())
    return load_or_unload(call, body, std::move(request), true);
  Json messages = Json::array();
  for (std::size_t i = 0; i < given->size(); ++i)
    messages.push_back(
        template_message((*given)[i], fmt::format("messages[{}]", i), &call.ignored));
  ChatPrompt chat;
  chat.messages = dump(messages);
  if (const Json* const tools = body.find("tools"); tools != nullptr && !tools->empty()) {
    for (const Json& tool : *tools) {
      if (!tool.is_object() || !tool.contains("function") || !tool["function"].is_object())
        body.refuse("tools", "tools must be objects with a function");
    }
    chat.tools = dump(*tools);
  }
  chat.variables = think_variables(body);
  request.prompt = std::move(chat);
  answer(call, body, std::move(request), true);
}

}  // namespace sampan
