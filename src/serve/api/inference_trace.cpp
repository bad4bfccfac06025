#include "serve/api/inference_trace.h"

namespace sampan {
namespace {

template <typename Number>
void set_if(ActiveSpan& span, const char* name, const std::optional<Number>& value) {
  if (value) span.set(name, *value);
}

void set_request(ActiveSpan& span, const InferenceRequest& request, bool is_stream) {
  if (!request.model.empty()) span.set("gen_ai.request.model", request.model);
  set_if(span, "gen_ai.request.max_tokens", request.max_tokens);
  const SamplingOverrides& sampling = request.sampling;
  set_if(span, "gen_ai.request.temperature", sampling.temperature);
  set_if(span, "gen_ai.request.top_p", sampling.top_p);
  set_if(span, "gen_ai.request.top_k", sampling.top_k);
  set_if(span, "gen_ai.request.frequency_penalty", sampling.frequency_penalty);
  set_if(span, "gen_ai.request.presence_penalty", sampling.presence_penalty);
  if (sampling.seed) span.set("gen_ai.request.seed", static_cast<std::int64_t>(*sampling.seed));
  if (request.choices != 1) span.set("gen_ai.request.choice.count", std::int64_t{request.choices});
  if (is_stream) span.set("gen_ai.request.stream", true);
}

std::shared_ptr<ActiveSpan> begin(const Call& call, const std::optional<std::string>& model) {
  const std::shared_ptr<ActiveSpan>& request = call.request().span;
  if (!request || !request->is_recorded() || call.route.operation.empty()) return nullptr;
  const std::string operation(call.route.operation);
  auto span = request->child(model ? operation + " " + *model : operation, call.request().arrival);
  span->set("gen_ai.operation.name", operation);
  span->set("gen_ai.provider.name", "sampan");
  return span;
}

class TracedWriter : public AnswerWriter {
 public:
  TracedWriter(std::shared_ptr<ActiveSpan> span, const InferenceRequest& request, std::size_t parts,
               std::unique_ptr<AnswerWriter> next)
      : span_(std::move(span)), next_(std::move(next)), id_(request.id), arrival_(request.arrival) {
    set_request(*span_, request, next_->is_stream());
    if (parts > 1) span_->set("sampan.request.prompts", static_cast<std::int64_t>(parts));
  }
  // Let go of before the end: the client left, or the server ends.
  ~TracedWriter() override { end_with("cancelled"); }

  bool is_stream() const override { return next_->is_stream(); }
  void start(int part, const PromptInfo& info) override {
    if (part == 0) {
      span_->set("gen_ai.response.id", id_);
      span_->set("gen_ai.response.model", info.model);
    }
    next_->start(part, info);
  }
  void prompt(int part, const PromptReport& report) override { next_->prompt(part, report); }
  void delta(int part, const AnswerDelta& delta) override {
    if (!has_first_) {
      has_first_ = true;
      span_->add_event("sampan.first_token");
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - arrival_;
      if (is_stream()) span_->set("gen_ai.response.time_to_first_chunk", taken.count());
    }
    next_->delta(part, delta);
  }
  void answer_end(int part, const AnswerEnd& end) override {
    finish_reasons_.emplace_back(end.reason == StopReason::kLength ? "length" : "stop");
    next_->answer_end(part, end);
  }
  void end(const Usage& usage) override {
    span_->set("gen_ai.response.finish_reasons", finish_reasons_);
    span_->set("gen_ai.usage.input_tokens", usage.prompt_tokens);
    span_->set("gen_ai.usage.output_tokens", usage.completion_tokens);
    span_->set("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens);
    if (usage.reasoning_tokens > 0)
      span_->set("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens);
    span_->set("sampan.load_seconds", usage.load_seconds);
    span_->set("sampan.queue_seconds", usage.queue_seconds);
    span_->set("sampan.prefill_seconds", usage.prefill_seconds);
    span_->set("sampan.decode_seconds", usage.decode_seconds);
    end_with("");
    next_->end(usage);
  }
  void error(const ApiError& error) override {
    end_with(error_type(error));
    next_->error(error);
  }

 private:
  void end_with(const std::string& failure) {
    if (is_over_) return;
    is_over_ = true;
    if (!failure.empty()) span_->fail(failure);
    span_->end();
  }

  const std::shared_ptr<ActiveSpan> span_;
  const std::unique_ptr<AnswerWriter> next_;
  const std::string id_;
  const std::chrono::steady_clock::time_point arrival_;
  std::vector<std::string> finish_reasons_;  // in the order in which the choices ended
  bool has_first_ = false, is_over_ = false;
};

}  // namespace

std::unique_ptr<AnswerWriter> with_span(const Call& call,
                                        const std::vector<InferenceRequest>& requests,
                                        const std::optional<std::string>& served_name,
                                        std::unique_ptr<AnswerWriter> writer) {
  auto span = begin(call, served_name);
  if (!span) return writer;
  return std::make_unique<TracedWriter>(std::move(span), requests.front(), requests.size(),
                                        std::move(writer));
}

std::shared_ptr<ActiveSpan> begin_pooling_span(const Call& call, const std::string& model) {
  auto span = begin(call, model);
  if (!span) return nullptr;
  span->set("gen_ai.request.model", model);
  span->set("gen_ai.response.model", model);
  return span;
}

std::string error_type(const ApiError& error) {
  return error.code.empty() ? std::to_string(error.status) : error.code;
}

}  // namespace sampan
