#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "serve/host/inference.h"
#include "serve/host/loaded_model.h"

namespace sampan {

// One request on its way: prepares the prompt, has the engine write each choice, and turns tokens
// into the answer's text. Calls of the sink are made one at a time. Thread-safe.
class InferenceRun : public Inference, public std::enable_shared_from_this<InferenceRun> {
 public:
  InferenceRun(InferenceRequest request, std::shared_ptr<InferenceSink> sink);

  // Renders and tokenizes, and adds what the engine is to write to `submissions`. Throws Error.
  // load_seconds: that the request waited for the model, which lives as long as `use` is kept:
  // until nothing more will happen, after the last call of the sink or at the cancellation.
  void prepare(const LoadedModel& model, double load_seconds, const std::shared_ptr<void>& use,
               std::vector<Engine::Submission>& submissions);
  // The engine has queued what prepare() gave: the first of `ids` are its own. Returns the others.
  std::span<const Engine::RequestId> queued(Engine& engine, std::span<const Engine::RequestId> ids);
  void fail(const Error& error);
  void cancel() override;

 private:
  class Choice;

  // A sink may cancel the request from within a call: it is kept until it returns.
  template <typename Call>
  void tell(Call call) {
    if (const std::shared_ptr<InferenceSink> sink = sink_) call(*sink);
  }
  void start();
  GenerationRequest generation(const LoadedModel& model, std::vector<std::int32_t> ids) const;
  void cancel_choices();
  void end_choice(const AnswerEnd& end, std::int64_t reasoning_tokens);
  void finish(std::unique_lock<std::recursive_mutex>& lock);

  const InferenceRequest request_;
  std::recursive_mutex mutex_;  // guards what follows and the sink's calls
  std::shared_ptr<void> use_;
  std::shared_ptr<InferenceSink> sink_;
  std::optional<PromptInfo> info_;  // until the sink was told
  std::size_t submitted_ = 0;       // choices
  Engine* engine_ = nullptr;
  std::vector<Engine::RequestId> ids_;
  int open_choices_ = 0;
  Usage usage_;
  bool is_over_ = false;
};

// Has a model work on requests that belong together: all of them are queued, or none, and then each
// sink is told why. use: keeps the model; the runs hold on to it as long as they need it.
void begin_together(const std::vector<std::shared_ptr<InferenceRun>>& runs,
                    const LoadedModel& model, double load_seconds,
                    const std::shared_ptr<void>& use);

}  // namespace sampan
