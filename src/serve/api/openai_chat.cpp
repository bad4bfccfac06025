#include "serve/api/openai.h"

namespace sampan {
namespace {

// What the reply's shape depends on.
struct ChatForm {
  std::string id = new_id("chatcmpl-");
  std::int64_t created = unix_seconds();
  StreamOptions stream;
  int choices = 1;
  bool logprobs = false;
  std::size_t alternatives = 0;
  int prompt_logprobs = -1;
  bool token_ids = false;
  bool tokens_as_ids = false;
  bool shows_reasoning = true;
  ReasoningOutput reasoning = ReasoningOutput::kBoth;
  std::string fingerprint;
};

void put_reasoning(const ChatForm& form, const std::string& text, Json& message) {
  if (!form.shows_reasoning) return;
  if (form.reasoning != ReasoningOutput::kReasoning) message["reasoning_content"] = text;
  if (form.reasoning != ReasoningOutput::kReasoningContent) message["reasoning"] = text;
}

// The answer as the model wrote it: the tag that the template opened belongs to it.
std::string opening_tag(const ChatForm& form, const PromptInfo& info) {
  return form.reasoning == ReasoningOutput::kInContent && info.opens_reasoning ? "<think>\n" : "";
}

Json whole_choice(const ChatForm& form, int index, const Answer& answer) {
  const ChoiceAnswer& choice = answer.choices[static_cast<std::size_t>(index)];
  Json message = {{"role", "assistant"},
                  {"content", opening_tag(form, answer.prompt) + choice.text},
                  {"refusal", nullptr}};
  if (!choice.reasoning.empty()) put_reasoning(form, choice.reasoning, message);
  Json result = {{"index", index},
                 {"message", std::move(message)},
                 {"logprobs", nullptr},
                 {"finish_reason", finish_reason(choice.end.reason)}};
  if (form.logprobs)
    result["logprobs"] = chat_logprobs(choice.tokens, form.alternatives, answer.prompt.token_bytes,
                                       form.tokens_as_ids);
  if (choice.end.stop_sequence) {
    result["stop_reason"] = *choice.end.stop_sequence;
  } else if (choice.end.stop_token) {
    result["stop_reason"] = *choice.end.stop_token;
  }
  if (form.token_ids) result["token_ids"] = token_ids_json(choice.tokens);
  return result;
}

Json whole_reply(const ChatForm& form, const Answer& answer, const Usage& usage) {
  Json choices = Json::array();
  for (int i = 0; i < form.choices; ++i) choices.push_back(whole_choice(form, i, answer));
  Json reply = {{"id", form.id},
                {"object", "chat.completion"},
                {"created", form.created},
                {"model", answer.prompt.model},
                {"choices", std::move(choices)},
                {"usage", usage_json(usage)},
                {"system_fingerprint", form.fingerprint}};
  if (form.prompt_logprobs >= 0)
    reply["prompt_logprobs"] =
        prompt_logprobs_json(answer.report.tokens, static_cast<std::size_t>(form.prompt_logprobs),
                             answer.prompt.token_bytes);
  if (form.token_ids) reply["prompt_token_ids"] = ids_json(answer.prompt.ids);
  return reply;
}

class ChatStream : public StreamWriter {
 public:
  ChatStream(const Call& call, ChatForm form)
      : StreamWriter(call, "text/event-stream; charset=utf-8", ": ping\n\n"),
        form_(std::move(form)) {}

  void prompt(int, const PromptReport& report) override {
    so_far_.cached_tokens = report.cached_tokens;
  }
  void delta(int, const AnswerDelta& delta) override {
    so_far_.completion_tokens += static_cast<std::int64_t>(delta.tokens.size());
    if (delta.is_reasoning)
      so_far_.reasoning_tokens += static_cast<std::int64_t>(delta.tokens.size());
    const bool hides = delta.is_reasoning && !form_.shows_reasoning;
    const bool has_more = !delta.tokens.empty() && (form_.logprobs || form_.token_ids);
    if ((delta.text.empty() || hides) && !has_more) return;
    Json shown = Json::object();
    if (!delta.is_reasoning) {
      shown["content"] = delta.text;
    } else {
      put_reasoning(form_, delta.text, shown);
    }
    Json choice = choice_json(delta.choice, std::move(shown));
    if (form_.logprobs)
      choice["logprobs"] =
          chat_logprobs(delta.tokens, form_.alternatives, info_.token_bytes, form_.tokens_as_ids);
    if (form_.token_ids) choice["token_ids"] = token_ids_json(delta.tokens);
    write_chunk(std::move(choice));
  }
  void answer_end(int, const AnswerEnd& end) override {
    Json choice = choice_json(end.choice, Json::object());
    choice["finish_reason"] = finish_reason(end.reason);
    if (end.stop_sequence) {
      choice["stop_reason"] = *end.stop_sequence;
    } else if (end.stop_token) {
      choice["stop_reason"] = *end.stop_token;
    }
    write_chunk(std::move(choice));
  }
  void end(const Usage& usage) override {
    if (form_.stream.include_usage) {
      Json chunk = chunk_json(Json::array());
      chunk["usage"] = usage_json(usage);
      write(sse_event(chunk));
    }
    write("data: [DONE]\n\n");
    finish();
  }

 protected:
  void begin(const PromptInfo& info) override {
    info_ = info;
    so_far_.prompt_tokens = static_cast<std::int64_t>(info.ids.size());
    for (int i = 0; i < form_.choices; ++i) {
      Json choice = choice_json(i, {{"role", "assistant"}, {"content", opening_tag(form_, info)}});
      Json chunk = chunk_json(Json::array({std::move(choice)}));
      if (form_.token_ids && i == 0) chunk["prompt_token_ids"] = ids_json(info.ids);
      send(chunk);
    }
  }
  void write_error(const ApiError& error) override {
    write(sse_event(error_object(call_.dialect, error, call_.request().request_id)));
    write("data: [DONE]\n\n");
  }

 private:
  Json choice_json(int index, Json delta) const {
    return {{"index", index},
            {"delta", std::move(delta)},
            {"logprobs", nullptr},
            {"finish_reason", nullptr}};
  }
  Json chunk_json(Json choices) const {
    Json chunk = {{"id", form_.id},
                  {"object", "chat.completion.chunk"},
                  {"created", form_.created},
                  {"model", info_.model},
                  {"system_fingerprint", form_.fingerprint},
                  {"choices", std::move(choices)}};
    if (form_.stream.include_usage) chunk["usage"] = nullptr;
    if (form_.stream.continuous_usage) chunk["usage"] = usage_json(so_far_);
    return chunk;
  }
  void write_chunk(Json choice) { send(chunk_json(Json::array({std::move(choice)}))); }
  void send(const Json& chunk) {
    write(form_.stream.obfuscation ? padded_event(chunk) : sse_event(chunk));
  }

  const ChatForm form_;
  PromptInfo info_;
  Usage so_far_;
};

ChatForm chat_form(const Call& call, const Body& body, const InferenceRequest& request) {
  ChatForm form;
  form.stream = stream_options(body);
  form.choices = request.choices;
  form.logprobs = body.boolean("logprobs").value_or(false);
  form.alternatives = static_cast<std::size_t>(body.integer("top_logprobs").value_or(0));
  if (form.alternatives > 0 && !form.logprobs)
    body.refuse("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.");
  form.prompt_logprobs = request.prompt_logprobs;
  form.token_ids = body.boolean("return_token_ids").value_or(false);
  form.tokens_as_ids = body.boolean("return_tokens_as_token_ids").value_or(false);
  form.shows_reasoning = body.boolean("include_reasoning").value_or(true);
  form.reasoning = call.api.options.reasoning;
  form.fingerprint = "sampan-" + call.api.options.version;
  return form;
}

}  // namespace

void openai_chat(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  InferenceRequest request = openai_request(call, body);
  request.prompt = openai_chat_prompt(call, body);
  request.max_tokens = body.integer("max_completion_tokens");
  if (!request.max_tokens) request.max_tokens = body.integer("max_tokens");
  check_min_tokens(body, request);
  ChatForm form = chat_form(call, body, request);
  if (form.logprobs) request.logprobs = static_cast<int>(form.alternatives);
  request.split_reasoning = form.reasoning != ReasoningOutput::kInContent;
  request.id = form.id;

  std::unique_ptr<AnswerWriter> writer;
  if (form.stream.is_stream) {
    writer = std::make_unique<ChatStream>(call, std::move(form));
  } else {
    const int choices = request.choices;
    writer = collect_answers(
        call, 1, choices,
        [form = std::move(form)](const std::vector<Answer>& answers, const Usage& usage) {
          return whole_reply(form, answers[0], usage);
        });
  }
  std::vector<InferenceRequest> requests;
  requests.push_back(std::move(request));
  start_answers(call, std::move(requests), std::move(writer));
}

}  // namespace sampan
