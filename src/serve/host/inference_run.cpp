#include "serve/host/inference_run.h"

#include <algorithm>

#include "base/error.h"
#include "serve/host/prompt.h"
#include "text/answer_stream.h"
#include "text/stream_decoder.h"

namespace sampan {
namespace {

constexpr std::int64_t kNoLimit = std::int64_t{1} << 40;

void check_length(std::int64_t length, const std::optional<std::int64_t>& max_tokens,
                  std::int64_t context) {
  if (length < context || (length == context && max_tokens == 0)) return;
  fail_too_long(context, length);
}

}  // namespace

// One answer of the request: tokens in, text out.
class InferenceRun::Choice : public GenerationSink {
 public:
  Choice(std::shared_ptr<InferenceRun> run, int index, const LoadedModel& model,
         bool opens_reasoning)
      : run_(std::move(run)),
        index_(index),
        decoder_(model.text->tokenizer, run_->request_.skip_special_tokens),
        answer_(form(run_->request_, opens_reasoning),
                [this](std::string_view text, bool reasoning) { on_text(text, reasoning); }) {
    if (!run_->request_.ignore_eos) end_ids_ = model.end_ids;
  }

  void on_prompt(const PromptReport& report) override {
    const std::unique_lock lock(run_->mutex_);
    if (run_->is_over_ || index_ != 0) return;
    run_->usage_.cached_tokens = report.cached_tokens;
    run_->tell([&](InferenceSink& sink) { sink.on_prompt(report); });
  }

  bool on_token(const ScoredToken& token) override {
    const std::unique_lock lock(run_->mutex_);
    if (run_->is_over_) return false;
    ++generated_;
    if (answer_.is_reasoning()) ++reasoning_tokens_;
    delta_.tokens.push_back(token);
    last_id_ = token.id;
    const bool ends =
        is_one_of(token.id, end_ids_) || is_one_of(token.id, run_->request_.stop_token_ids);
    const bool may_stop = generated_ > run_->request_.min_tokens;
    bool goes_on = true;
    if (!ends || run_->request_.include_stop)
      goes_on = answer_.append(decoder_.append(token.id), may_stop);
    if (!delta_.text.empty()) send();
    return goes_on;
  }

  void on_finish(FinishReason reason, const GenerationStats& stats) override {
    std::unique_lock lock(run_->mutex_);
    if (run_->is_over_) return;
    AnswerEnd end;
    end.choice = index_;
    end.stats = stats;
    end.reason = reason == FinishReason::kLength ? StopReason::kLength : StopReason::kEnd;
    // A character that the limit cut stays out; broken bytes before an end are shown as such.
    if (reason == FinishReason::kStopId) answer_.append(decoder_.flush(), false);
    if (!answer_.stop()) answer_.finish();
    if (reason == FinishReason::kStopId && is_one_of(last_id_, run_->request_.stop_token_ids)) {
      end.reason = StopReason::kStopSequence;
      end.stop_token = last_id_;
    }
    if (answer_.stop()) {
      end.reason = StopReason::kStopSequence;
      end.stop_sequence = answer_.stop();
    }
    if (!delta_.text.empty() || !delta_.tokens.empty()) send();
    if (run_->is_over_) return;
    run_->end_choice(end, reasoning_tokens_);
    run_->finish(lock);
  }

  void on_error(const Error& error) override { run_->fail(error); }

 private:
  static AnswerForm form(const InferenceRequest& request, bool opens_reasoning) {
    AnswerForm form;
    form.stops = request.stop;
    form.include_stop = request.include_stop;
    form.in_reasoning = opens_reasoning;
    form.split_reasoning = request.split_reasoning;
    form.trim = true;
    return form;
  }
  static bool is_one_of(std::int32_t id, const std::vector<std::int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  }

  // A delta holds text of one kind; its tokens go with the first.
  void on_text(std::string_view text, bool reasoning) {
    if (!delta_.text.empty() && delta_.is_reasoning != reasoning) send();
    delta_.is_reasoning = reasoning;
    delta_.text += text;
  }
  void send() {
    delta_.choice = index_;
    const AnswerDelta delta = std::exchange(delta_, {});
    run_->tell([&](InferenceSink& sink) { sink.on_delta(delta); });
  }

  std::shared_ptr<InferenceRun> run_;
  int index_;
  std::vector<std::int32_t> end_ids_;
  StreamDecoder decoder_;
  AnswerStream answer_;
  AnswerDelta delta_;  // not sent yet
  std::int64_t generated_ = 0;
  std::int64_t reasoning_tokens_ = 0;
  std::int32_t last_id_ = -1;
};

InferenceRun::InferenceRun(InferenceRequest request, std::shared_ptr<InferenceSink> sink)
    : request_(std::move(request)), sink_(std::move(sink)) {}

void InferenceRun::begin(const LoadedModel& model, double load_seconds,
                         std::function<void()> on_over) {
  {
    std::unique_lock lock(mutex_);
    on_over_ = std::move(on_over);
    if (is_over_) return finish(lock);
  }
  try {
    const std::int64_t context = model.engine->context_length();
    PreparedPrompt prompt = prepare_prompt(*model.text, request_.prompt, context);
    check_length(static_cast<std::int64_t>(prompt.ids.size()), request_.max_tokens, context);
    submit(model, std::move(prompt.ids), prompt.opens_reasoning, load_seconds);
  } catch (const Error& error) {
    fail(error);
  }
}

GenerationRequest InferenceRun::generation(const LoadedModel& model,
                                           std::vector<std::int32_t> ids) const {
  GenerationRequest generation;
  generation.prompt = std::move(ids);
  generation.sampling = resolve_sampling(request_.sampling, model.defaults);
  generation.max_tokens = request_.max_tokens.value_or(kNoLimit);
  generation.min_tokens = request_.min_tokens;
  generation.stop_ids = request_.stop_token_ids;
  if (!request_.ignore_eos)
    generation.stop_ids.insert(generation.stop_ids.end(), model.end_ids.begin(),
                               model.end_ids.end());
  generation.logprobs = request_.logprobs;
  generation.prompt_logprobs = request_.prompt_logprobs;
  generation.tenant = request_.caller.key_id;
  generation.priority = request_.priority;
  generation.deadline = request_.deadline;
  return generation;
}

void InferenceRun::submit(const LoadedModel& model, std::vector<std::int32_t> ids,
                          bool opens_reasoning, double load_seconds) {
  const GenerationRequest generation = this->generation(model, ids);
  check_sampling(generation.sampling);
  const std::unique_lock lock(mutex_);
  if (is_over_) return;
  usage_.prompt_tokens = static_cast<std::int64_t>(ids.size());
  usage_.load_seconds = load_seconds;
  const PromptInfo info = {request_.model, std::move(ids), model.engine->context_length(),
                           opens_reasoning, [text = model.text](std::int32_t id) {
                             return std::string(text->tokenizer->token_bytes(id));
                           }};
  engine_ = model.engine.get();
  open_choices_ = request_.choices;
  for (int i = 0; i < request_.choices && !is_over_; ++i) {
    GenerationRequest one = generation;
    one.sampling.seed = choice_seed(generation.sampling.seed, i);
    if (i > 0) one.prompt_logprobs = -1;
    ids_.push_back(engine_->submit(
        std::move(one), std::make_shared<Choice>(shared_from_this(), i, model, opens_reasoning)));
  }
  // Only now, so that a queue that is full is told before anyone hears of a beginning; what the
  // engine has to say meanwhile waits for the lock.
  tell([&](InferenceSink& sink) { sink.on_start(info); });
}

void InferenceRun::end_choice(const AnswerEnd& end, std::int64_t reasoning_tokens) {
  usage_.completion_tokens += end.stats.generated_tokens;
  usage_.reasoning_tokens += reasoning_tokens;
  usage_.queue_seconds = std::max(usage_.queue_seconds, end.stats.queue_seconds);
  usage_.prefill_seconds = std::max(usage_.prefill_seconds, end.stats.prefill_seconds);
  usage_.decode_seconds = std::max(usage_.decode_seconds, end.stats.decode_seconds);
  --open_choices_;
  tell([&](InferenceSink& sink) { sink.on_answer_end(end); });
  if (open_choices_ == 0 && !is_over_) {
    is_over_ = true;
    tell([&](InferenceSink& sink) { sink.on_end(usage_); });
  }
}

// Lets go of the sink and tells the owner, once, with the lock given back.
void InferenceRun::finish(std::unique_lock<std::recursive_mutex>& lock) {
  if (!is_over_) return;
  const auto on_over = std::exchange(on_over_, nullptr);
  const auto sink = std::exchange(sink_, nullptr);
  engine_ = nullptr;
  lock.unlock();
  if (on_over) on_over();
}

void InferenceRun::cancel_choices() {
  if (engine_ == nullptr) return;
  for (const Engine::RequestId id : ids_) engine_->cancel(id);
}

void InferenceRun::fail(const Error& error) {
  std::unique_lock lock(mutex_);
  if (is_over_) return;
  is_over_ = true;
  cancel_choices();
  tell([&](InferenceSink& sink) { sink.on_error(error); });
  finish(lock);
}

void InferenceRun::cancel() {
  std::unique_lock lock(mutex_);
  if (is_over_) return;
  is_over_ = true;
  cancel_choices();
  finish(lock);
}

}  // namespace sampan
