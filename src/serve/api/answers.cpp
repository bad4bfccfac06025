#include "serve/api/answers.h"

#include <algorithm>
#include <mutex>

#include "serve/api/inference_trace.h"

namespace sampan {
namespace {

// The requests of one call. Lock order: a request's own, then mutex_.
class Group : public std::enable_shared_from_this<Group> {
 public:
  Group(const Call& call, std::size_t parts, std::unique_ptr<AnswerWriter> writer)
      : context_(call.context),
        exchange_(call.exchange),
        writer_(std::move(writer)),
        open_(parts) {}

  void run(std::vector<InferenceRequest> requests, const std::optional<std::string>& model);

  // A writer that throws has met a bug of ours: the call ends, the engine's thread goes on.
  template <typename Write>
  void tell(Write write) {
    const std::lock_guard lock(mutex_);
    if (is_over_) return;
    try {
      write(*writer_);
    } catch (...) {
      is_over_ = true;
      fail_writer(std::current_exception());
    }
  }
  void end_part(const Usage& usage);
  void fail(const Error& error);
  void cancel();

 private:
  class Sink;

  void keep(std::shared_ptr<Inference> inference);
  void fail_writer(const std::exception_ptr& failure);

  std::shared_ptr<const ApiContext> context_;
  std::shared_ptr<Exchange> exchange_;
  std::mutex mutex_;  // guards what follows
  std::unique_ptr<AnswerWriter> writer_;
  std::shared_ptr<Inference> inference_;
  std::size_t open_;
  Usage usage_;
  bool is_over_ = false;
};

class Group::Sink : public InferenceSink {
 public:
  Sink(std::shared_ptr<Group> group, int part) : group_(std::move(group)), part_(part) {}

  void on_start(const PromptInfo& info) override {
    group_->tell([&](AnswerWriter& writer) { writer.start(part_, info); });
  }
  void on_prompt(const PromptReport& report) override {
    group_->tell([&](AnswerWriter& writer) { writer.prompt(part_, report); });
  }
  void on_delta(const AnswerDelta& delta) override {
    group_->tell([&](AnswerWriter& writer) { writer.delta(part_, delta); });
  }
  void on_answer_end(const AnswerEnd& end) override {
    group_->tell([&](AnswerWriter& writer) { writer.answer_end(part_, end); });
  }
  void on_end(const Usage& usage) override { group_->end_part(usage); }
  void on_error(const Error& error) override { group_->fail(error); }

 private:
  std::shared_ptr<Group> group_;
  int part_;
};

void Group::run(std::vector<InferenceRequest> requests, const std::optional<std::string>& model) {
  std::vector<InferencePart> parts;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto sink = std::make_shared<Sink>(shared_from_this(), static_cast<int>(i));
    auto watched = context_->metrics.watch(requests[i], model, sink);
    parts.push_back({std::move(requests[i]), std::move(watched)});
  }
  keep(context_->service.start_all(std::move(parts)));
  // The requests keep the group as long as they run.
  exchange_->on_gone([weak = weak_from_this()] {
    if (const auto group = weak.lock()) group->cancel();
  });
}

void Group::keep(std::shared_ptr<Inference> inference) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_over_) {
      inference_ = std::move(inference);
      return;
    }
  }
  inference->cancel();  // a part failed meanwhile; harmless for those that are done
}

void Group::end_part(const Usage& usage) {
  const std::lock_guard lock(mutex_);
  if (is_over_) return;
  usage_.prompt_tokens += usage.prompt_tokens;
  usage_.cached_tokens += usage.cached_tokens;
  usage_.completion_tokens += usage.completion_tokens;
  usage_.reasoning_tokens += usage.reasoning_tokens;
  usage_.queue_seconds = std::max(usage_.queue_seconds, usage.queue_seconds);
  usage_.prefill_seconds = std::max(usage_.prefill_seconds, usage.prefill_seconds);
  usage_.decode_seconds = std::max(usage_.decode_seconds, usage.decode_seconds);
  usage_.load_seconds = std::max(usage_.load_seconds, usage.load_seconds);
  if (--open_ != 0) return;
  is_over_ = true;
  inference_ = nullptr;
  try {
    writer_->end(usage_);
  } catch (...) {
    fail_writer(std::current_exception());
  }
}

void Group::fail_writer(const std::exception_ptr& failure) {
  writer_->error(log_failure(*context_, exchange_->request(), failure));
}

// The first part that fails ends the others. Only one ever gets past is_over_, so that no two
// failing requests wait for each other's lock in cancel().
void Group::fail(const Error& error) {
  std::shared_ptr<Inference> others;
  {
    const std::lock_guard lock(mutex_);
    if (is_over_) return;
    is_over_ = true;
    others.swap(inference_);
    writer_->error(log_failure(*context_, exchange_->request(), error));
  }
  if (others) others->cancel();
}

void Group::cancel() {
  std::shared_ptr<Inference> all;
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
    all.swap(inference_);
  }
  if (all) all->cancel();
}

class Collector : public AnswerWriter {
 public:
  Collector(const Call& call, std::size_t parts, int choices, RenderAnswers render)
      : call_(call), answers_(parts), render_(std::move(render)) {
    for (Answer& answer : answers_) answer.choices.resize(static_cast<std::size_t>(choices));
  }

  void start(int part, const PromptInfo& info) override { at(part).prompt = info; }
  void prompt(int part, const PromptReport& report) override { at(part).report = report; }
  void delta(int part, const AnswerDelta& delta) override {
    ChoiceAnswer& choice = choice_at(part, delta.choice);
    (delta.is_reasoning ? choice.reasoning : choice.text) += delta.text;
    choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
  }
  void answer_end(int part, const AnswerEnd& end) override {
    choice_at(part, end.choice).end = end;
  }
  void end(const Usage& usage) override { call_.respond(render_(answers_, usage)); }
  void error(const ApiError& error) override {
    call_.respond(error_response(call_.dialect, error, call_.request().request_id));
  }

 private:
  Answer& at(int part) { return answers_.at(static_cast<std::size_t>(part)); }
  ChoiceAnswer& choice_at(int part, int choice) {
    return at(part).choices.at(static_cast<std::size_t>(choice));
  }

  const Call call_;
  std::vector<Answer> answers_;
  RenderAnswers render_;
};

}  // namespace

void start_answers(const Call& call, std::vector<InferenceRequest> requests,
                   std::unique_ptr<AnswerWriter> writer) {
  const auto model = call.api.service.served_name(requests.front().model);
  writer = with_span(call, requests, model, std::move(writer));
  const auto group = std::make_shared<Group>(call, requests.size(), std::move(writer));
  group->run(std::move(requests), model);
}

std::unique_ptr<AnswerWriter> collect_answers(const Call& call, std::size_t parts, int choices,
                                              RenderAnswers render) {
  return std::make_unique<Collector>(call, parts, choices, std::move(render));
}

StreamWriter::StreamWriter(const Call& call, std::string content_type, std::string heartbeat)
    : call_(call), content_type_(std::move(content_type)), heartbeat_(std::move(heartbeat)) {}

void StreamWriter::start(int, const PromptInfo& info) {
  if (is_started_) return;
  is_started_ = true;
  HttpFields headers = call_.headers();
  headers.emplace_back("content-type", content_type_);
  headers.emplace_back("cache-control", "no-cache");
  headers.emplace_back("x-accel-buffering", "no");  // nginx would hold events back
  call_.exchange->start_stream(200, std::move(headers));
  if (!heartbeat_.empty()) call_.exchange->set_heartbeat(heartbeat_, call_.api.options.heartbeat);
  begin(info);
}

void StreamWriter::error(const ApiError& error) {
  if (!is_started_) {
    call_.respond(error_response(call_.dialect, error, call_.request().request_id));
    return;
  }
  write_error(error);
  finish();
}

}  // namespace sampan
