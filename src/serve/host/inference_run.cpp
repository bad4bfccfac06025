#include "serve/host/inference_run.h"

#include <algorithm>
#include <new>

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
    run_->start();
    if (run_->is_over_ || index_ != 0) return;
    run_->usage_.cached_tokens = report.cached_tokens;
    run_->tell([&](InferenceSink& sink) { sink.on_prompt(report); });
  }

  bool on_token(const ScoredToken& token) override {
    const std::unique_lock lock(run_->mutex_);
    run_->start();
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

void InferenceRun::prepare(const LoadedModel& model, double load_seconds,
                           const std::shared_ptr<void>& use,
                           std::vector<Engine::Submission>& submissions) {
  {
    const std::unique_lock lock(mutex_);
    if (is_over_) return;
    use_ = use;
  }
  const std::int64_t context = model.engine->context_length();
  PreparedPrompt prompt = prepare_prompt(*model.text, request_.prompt, context);
  check_length(static_cast<std::int64_t>(prompt.ids.size()), request_.max_tokens, context);
  const GenerationRequest generation = this->generation(model, prompt.ids);
  check_sampling(generation.sampling);

  const std::unique_lock lock(mutex_);
  if (is_over_) return;
  usage_.prompt_tokens = static_cast<std::int64_t>(prompt.ids.size());
  usage_.load_seconds = load_seconds;
  info_ = PromptInfo{request_.model, std::move(prompt.ids), context, prompt.opens_reasoning,
                     [text = model.text](std::int32_t id) {
                       return std::string(text->tokenizer->token_bytes(id));
                     }};
  open_choices_ = request_.choices;
  submitted_ = static_cast<std::size_t>(request_.choices);
  for (int i = 0; i < request_.choices; ++i) {
    GenerationRequest one = generation;
    one.sampling.seed = choice_seed(generation.sampling.seed, i);
    if (i > 0) one.prompt_logprobs = -1;
    submissions.push_back({std::move(one), std::make_shared<Choice>(shared_from_this(), i, model,
                                                                    prompt.opens_reasoning)});
  }
}

std::span<const Engine::RequestId> InferenceRun::queued(Engine& engine,
                                                        std::span<const Engine::RequestId> ids) {
  const std::unique_lock lock(mutex_);
  const auto own = ids.first(submitted_);
  if (is_over_) {  // cancelled meanwhile, or done already
    for (const Engine::RequestId id : own) engine.cancel(id);
  } else {
    engine_ = &engine;
    ids_.assign(own.begin(), own.end());
    start();
  }
  return ids.subspan(submitted_);
}

// Tells the sink of the beginning, once: before the engine's first word, and not before the engine
// has taken the request, so that nobody hears of a beginning when the queue is full.
void InferenceRun::start() {
  if (!info_) return;
  const PromptInfo info = std::move(*info_);
  info_.reset();
  tell([&](InferenceSink& sink) { sink.on_start(info); });
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

// Lets go of the sink and the model, once, with the lock given back.
void InferenceRun::finish(std::unique_lock<std::recursive_mutex>& lock) {
  if (!is_over_) return;
  // Let go of behind the lock: the model may go with it.
  const auto use = std::exchange(use_, nullptr);
  const auto sink = std::exchange(sink_, nullptr);
  engine_ = nullptr;
  lock.unlock();
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

void begin_together(const std::vector<std::shared_ptr<InferenceRun>>& runs,
                    const LoadedModel& model, double load_seconds,
                    const std::shared_ptr<void>& use) {
  const auto fail_all = [&](const Error& error) {
    for (const auto& run : runs) run->fail(error);
  };
  std::vector<Engine::RequestId> ids;
  try {
    std::vector<Engine::Submission> submissions;
    for (const auto& run : runs) run->prepare(model, load_seconds, use, submissions);
    if (!submissions.empty()) ids = model.engine->submit(std::move(submissions));
  } catch (const Error& error) {
    return fail_all(error);
  } catch (const std::bad_alloc&) {
    return fail_all(Error(ErrorCode::kIo, "there is no memory for this request"));
  }
  std::span<const Engine::RequestId> left = ids;
  for (const auto& run : runs) left = run->queued(*model.engine, left);
}

}  // namespace sampan
