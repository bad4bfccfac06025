#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "serve/host/inference.h"
#include "serve/host/loaded_model.h"

namespace sampan {

// Several texts of one model that each give a vector or logits. Thread-safe.
class PoolingRun : public Inference, public std::enable_shared_from_this<PoolingRun> {
 public:
  PoolingRun(std::vector<PoolingRequest> requests, InferenceService::PoolingDone done);

  // on_over is called once, after done or at the cancellation; the model lives until then.
  void begin(const LoadedModel& model, std::function<void()> on_over);
  std::string model() const { return requests_.empty() ? "" : requests_.front().model; }
  void fail(const Error& error);
  void cancel() override;

 private:
  class Item;

  void submit(const LoadedModel& model);
  void end(const Error* error);
  void cancel_items();
  void leave();

  const std::vector<PoolingRequest> requests_;
  std::recursive_mutex mutex_;  // guards what follows
  InferenceService::PoolingDone done_;
  std::function<void()> on_over_;
  Engine* engine_ = nullptr;
  std::vector<Engine::RequestId> ids_;
  std::vector<PoolingResult> results_;
  std::size_t open_ = 0;
  bool is_over_ = false;
};

}  // namespace sampan
