#include "serve/host/pooling_run.h"

#include "base/error.h"
#include "serve/host/prompt.h"

namespace sampan {

// One of the texts.
class PoolingRun::Item : public GenerationSink {
 public:
  Item(std::shared_ptr<PoolingRun> run, std::size_t index) : run_(std::move(run)), index_(index) {}

  void on_prompt(const PromptReport& report) override {
    const std::unique_lock lock(run_->mutex_);
    if (run_->is_over_) return;
    PoolingResult& result = run_->results_[index_];
    result.embedding = report.embedding;
    result.probe_logits = report.probe_logits;
    result.cached_tokens = report.cached_tokens;
  }
  bool on_token(const ScoredToken&) override { return false; }
  void on_finish(FinishReason, const GenerationStats& stats) override {
    const std::unique_lock lock(run_->mutex_);
    if (run_->is_over_) return;
    run_->results_[index_].prompt_tokens = stats.prompt_tokens;
    if (--run_->open_ == 0) run_->end(nullptr);
  }
  void on_error(const Error& error) override { run_->fail(error); }

 private:
  std::shared_ptr<PoolingRun> run_;
  std::size_t index_;
};

PoolingRun::PoolingRun(std::vector<PoolingRequest> requests, InferenceService::PoolingDone done)
    : requests_(std::move(requests)), done_(std::move(done)), results_(requests_.size()) {}

void PoolingRun::begin(const LoadedModel& model, std::function<void()> on_over) {
  {
    const std::unique_lock lock(mutex_);
    on_over_ = std::move(on_over);
    if (is_over_) return leave();
  }
  try {
    submit(model);
  } catch (const Error& error) {
    fail(error);
  }
}

void PoolingRun::submit(const LoadedModel& model) {
  std::vector<Engine::Submission> submissions;
  const std::int64_t context = model.engine->context_length();
  for (const PoolingRequest& request : requests_) {
    GenerationRequest generation;
    generation.prompt = prepare_pooling_prompt(*model.text, request.prompt,
                                               request.truncate_tokens ? kAnyLength : context);
    const auto length = static_cast<std::int64_t>(generation.prompt.size());
    if (request.truncate_tokens && length > *request.truncate_tokens) {
      generation.prompt.resize(static_cast<std::size_t>(*request.truncate_tokens));
    } else if (length > context) {
      fail_too_long(context, length);
    }
    generation.pooling = request.pooling;
    generation.probe_ids = request.probe_ids;
    generation.tenant = request.caller.key_id;
    generation.deadline = request.deadline;
    submissions.push_back(
        {std::move(generation), std::make_shared<Item>(shared_from_this(), submissions.size())});
  }
  const std::unique_lock lock(mutex_);
  if (is_over_) return;
  engine_ = model.engine.get();
  open_ = submissions.size();
  if (open_ == 0) return end(nullptr);
  // What the engine has to say meanwhile waits for the lock.
  ids_ = engine_->submit(std::move(submissions));
}

void PoolingRun::leave() {
  engine_ = nullptr;
  if (const auto on_over = std::exchange(on_over_, nullptr)) on_over();
}

void PoolingRun::cancel_items() {
  if (engine_ == nullptr) return;
  for (const Engine::RequestId id : ids_) engine_->cancel(id);
}

void PoolingRun::end(const Error* error) {
  if (is_over_) return;
  is_over_ = true;
  if (error != nullptr) cancel_items();
  const auto done = std::exchange(done_, nullptr);
  done(std::move(results_), error);
  leave();
}

void PoolingRun::fail(const Error& error) {
  const std::unique_lock lock(mutex_);
  end(&error);
}

void PoolingRun::cancel() {
  const std::unique_lock lock(mutex_);
  if (is_over_) return;
  is_over_ = true;
  cancel_items();
  done_ = nullptr;
  leave();
}

}  // namespace sampan
