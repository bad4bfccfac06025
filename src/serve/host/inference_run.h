#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "serve/host/inference.h"
#include "serve/host/loaded_model.h"

namespace sampan {

// One request on its way: prepares the prompt, has the engine write each choice, and turns tokens
// into the answer's text. Calls of the sink are made one at a time. Thread-safe.
class InferenceRun : public Inference, public std::enable_shared_from_this<InferenceRun> {
 public:
  InferenceRun(InferenceRequest request, std::shared_ptr<InferenceSink> sink);

  // Renders, tokenizes and queues. Errors go to the sink. load_seconds: that the request waited for
  // the model, which lives until on_over is called: once, when nothing more will happen, after the
  // last call of the sink or at the cancellation.
  void begin(const LoadedModel& model, double load_seconds, std::function<void()> on_over);
  void fail(const Error& error);
  void cancel() override;

 private:
  class Choice;

  // A sink may cancel the request from within a call: it is kept until it returns.
  template <typename Call>
  void tell(Call call) {
    if (const std::shared_ptr<InferenceSink> sink = sink_) call(*sink);
  }
  void submit(const LoadedModel& model, std::vector<std::int32_t> ids, bool opens_reasoning,
              double load_seconds);
  GenerationRequest generation(const LoadedModel& model, std::vector<std::int32_t> ids) const;
  void cancel_choices();
  void end_choice(const AnswerEnd& end, std::int64_t reasoning_tokens);
  void finish(std::unique_lock<std::recursive_mutex>& lock);

  const InferenceRequest request_;
  std::recursive_mutex mutex_;  // guards what follows and the sink's calls
  std::function<void()> on_over_;
  std::shared_ptr<InferenceSink> sink_;
  Engine* engine_ = nullptr;
  std::vector<Engine::RequestId> ids_;
  int open_choices_ = 0;
  Usage usage_;
  bool is_over_ = false;
};

}  // namespace sampan
