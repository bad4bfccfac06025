#include "serve/api/anthropic.h"

namespace sampan {
namespace {

const char* stop_reason(const AnswerEnd& end) {
  switch (end.reason) {
    case StopReason::kLength:
      return "max_tokens";
    case StopReason::kStopSequence:
      return "stop_sequence";
    case StopReason::kEnd:
      break;
  }
  return "end_turn";
}

Json stop_sequence(const AnswerEnd& end) {
  return end.stop_sequence ? Json(*end.stop_sequence) : Json(nullptr);
}

Json anthropic_usage(const Usage& usage) {
  return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached_tokens},
          {"output_tokens", usage.completion_tokens}};
}

Json thinking_block(const std::string& text) {
  return {{"type", "thinking"}, {"thinking", text}, {"signature", ""}};
}
Json text_block(const std::string& text) { return {{"type", "text"}, {"text", text}}; }

Json message_json(const std::string& id, const std::string& model, Json content, const Usage& usage,
                  Json reason, Json sequence) {
  return {{"id", id},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model},
          {"content", std::move(content)},
          {"stop_reason", std::move(reason)},
          {"stop_sequence", std::move(sequence)},
          {"usage", anthropic_usage(usage)}};
}

Json whole_reply(const std::string& id, const Answer& answer, const Usage& usage) {
  const ChoiceAnswer& choice = answer.choices[0];
  Json content = Json::array();
  if (!choice.reasoning.empty()) content.push_back(thinking_block(choice.reasoning));
  if (!choice.text.empty()) content.push_back(text_block(choice.text));
  return message_json(id, answer.prompt.model, std::move(content), usage, stop_reason(choice.end),
                      stop_sequence(choice.end));
}

std::string event(const char* name, const Json& data) {
  return std::string("event: ") + name + "\ndata: " + dump(data) + "\n\n";
}

class MessageStream : public StreamWriter {
 public:
  MessageStream(const Call& call, std::string id)
      : StreamWriter(call, "text/event-stream; charset=utf-8", event("ping", {{"type", "ping"}})),
        id_(std::move(id)) {}

  // Only now is it known how much of the prompt was cached.
  void prompt(int, const PromptReport& report) override {
    Usage usage;
    usage.prompt_tokens = prompt_tokens_;
    usage.cached_tokens = report.cached_tokens;
    send("message_start",
         {{"message", message_json(id_, model_, Json::array(), usage, nullptr, nullptr)}});
  }
  void delta(int, const AnswerDelta& delta) override {
    if (delta.text.empty()) return;
    const Block kind = delta.is_reasoning ? Block::kThinking : Block::kText;
    if (block_ != kind) open(kind);
    const char* const type = delta.is_reasoning ? "thinking_delta" : "text_delta";
    const char* const key = delta.is_reasoning ? "thinking" : "text";
    send("content_block_delta",
         {{"index", index_}, {"delta", {{"type", type}, {key, delta.text}}}});
  }
  void answer_end(int, const AnswerEnd& end) override {
    close();
    end_ = end;
  }
  void end(const Usage& usage) override {
    send("message_delta",
         {{"delta", {{"stop_reason", stop_reason(end_)}, {"stop_sequence", stop_sequence(end_)}}},
          {"usage", anthropic_usage(usage)}});
    send("message_stop", Json::object());
    finish();
  }

 protected:
  void begin(const PromptInfo& info) override {
    model_ = info.model;
    prompt_tokens_ = static_cast<std::int64_t>(info.ids.size());
  }
  void write_error(const ApiError& error) override {
    write(event("error", error_object(call_.dialect, error, call_.request().request_id)));
  }

 private:
  enum class Block { kNone, kThinking, kText };

  void send(const char* name, Json more) {
    Json data = {{"type", name}};
    data.update(more);
    write(event(name, data));
  }
  void open(Block kind) {
    close();
    ++index_;
    block_ = kind;
    send("content_block_start",
         {{"index", index_},
          {"content_block", kind == Block::kThinking ? thinking_block("") : text_block("")}});
  }
  void close() {
    if (block_ == Block::kNone) return;
    send("content_block_stop", {{"index", index_}});
    block_ = Block::kNone;
  }

  std::string id_, model_;
  std::int64_t prompt_tokens_ = 0;
  Block block_ = Block::kNone;
  int index_ = -1;
  AnswerEnd end_;
};

InferenceRequest inference_request(const Call& call, const Body& body) {
  InferenceRequest request;
  request.id = new_id("msg_");
  request.model = body.string("model").value_or("");
  request.prompt = anthropic_prompt(body);
  request.max_tokens = body.integer("max_tokens");
  SamplingOverrides& sampling = request.sampling;
  sampling.temperature = body.number("temperature");
  sampling.top_p = body.number("top_p");
  sampling.top_k = body.integer("top_k");
  if (const auto seed = body.integer("seed")) sampling.seed = static_cast<std::uint64_t>(*seed);
  if (call.api.options.api_sampling_defaults) {
    if (!sampling.temperature) sampling.temperature = 1;
    if (!sampling.top_p) sampling.top_p = 1;
    if (!sampling.top_k) sampling.top_k = 0;
    sampling.min_p = 0;
    sampling.repetition_penalty = 1;
  }
  request.stop = body.strings("stop_sequences");
  if (const auto thinking = body.object("thinking")) {
    const auto budget = thinking->integer("budget_tokens");
    if (budget && *thinking->string("type") == "enabled" && *budget >= *request.max_tokens)
      thinking->refuse("budget_tokens", "thinking.budget_tokens: must be less than max_tokens");
  }
  request.deadline = call.deadline();
  request.arrival = call.request().arrival;
  request.caller = call.caller;
  return request;
}

}  // namespace

void anthropic_messages(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  std::vector<InferenceRequest> requests;
  requests.push_back(inference_request(call, body));
  const std::string id = requests[0].id;
  std::unique_ptr<AnswerWriter> writer;
  if (body.boolean("stream").value_or(false)) {
    writer = std::make_unique<MessageStream>(call, id);
  } else {
    writer =
        collect_answers(call, 1, 1, [id](const std::vector<Answer>& answers, const Usage& usage) {
          return whole_reply(id, answers[0], usage);
        });
  }
  start_answers(call, std::move(requests), std::move(writer));
}

void anthropic_count_tokens(Call call) {
  const Json json = call.parse();
  const Body body = call.check(json);
  const PromptInfo info =
      call.api.service.tokenize(body.string("model").value_or(""), anthropic_prompt(body));
  call.respond(Json{{"input_tokens", info.ids.size()}});
}

}  // namespace sampan
