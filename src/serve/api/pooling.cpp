#include "serve/api/pooling.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <mutex>

#include "serve/api/inference_trace.h"

namespace sampan {
namespace {

bool contains_word(std::string name, const char* word) {
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name.find(word) != std::string::npos;
}

// Texts that are handed to the service at a time.
constexpr std::size_t kPart = 512;

class PoolingCall : public std::enable_shared_from_this<PoolingCall> {
 public:
  PoolingCall(const Call& call, std::vector<PoolingRequest> requests, RenderPooling render)
      : call_(call),
        model_(requests.front().model),
        requests_(std::move(requests)),
        render_(std::move(render)),
        span_(begin_pooling_span(call, model_)) {}
  // Let go of before the end: the client left.
  ~PoolingCall() { end_span("cancelled"); }

  void next() {
    const std::size_t count = std::min(kPart, requests_.size() - begun_);
    const auto first = requests_.begin() + static_cast<std::ptrdiff_t>(begun_);
    std::vector<PoolingRequest> part(
        std::make_move_iterator(first),
        std::make_move_iterator(first + static_cast<std::ptrdiff_t>(count)));
    begun_ += count;
    const auto inference = call_.api.service.pool(
        std::move(part),
        [self = shared_from_this()](std::vector<PoolingResult> results, const Error* error) {
          self->take(std::move(results), error);
        });
    // What came back already may have begun the next part.
    const std::lock_guard lock(mutex_);
    if (!is_gone_) {
      running_.push_back(inference);
    } else {
      inference->cancel();
    }
  }
  void cancel() {
    std::vector<std::weak_ptr<Inference>> running;
    {
      const std::lock_guard lock(mutex_);
      is_gone_ = true;
      running.swap(running_);
    }
    for (const auto& weak : running) {
      if (const auto inference = weak.lock()) inference->cancel();
    }
  }

 private:
  void take(std::vector<PoolingResult> results, const Error* error) {
    try {
      if (error != nullptr) throw ApiError(log_failure(call_.api, call_.request(), *error));
      std::move(results.begin(), results.end(), std::back_inserter(results_));
      if (begun_ < requests_.size()) return next();
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - call_.request().arrival)
              .count();
      call_.api.metrics.count_pooling(model_, prompt_tokens(results_), seconds);
      if (span_) span_->set("gen_ai.usage.input_tokens", prompt_tokens(results_));
      end_span("");
      call_.respond(render_(results_, seconds));
    } catch (...) {
      const ApiError failure = log_failure(call_.api, call_.request(), std::current_exception());
      end_span(error_type(failure));
      call_.respond(error_response(call_.dialect, failure, call_.request().request_id));
    }
  }
  void end_span(const std::string& failure) {
    const auto span = std::exchange(span_, nullptr);
    if (!span) return;
    if (!failure.empty()) span->fail(failure);
    span->end();
  }

  const Call call_;
  const std::string model_;
  std::vector<PoolingRequest> requests_;
  RenderPooling render_;
  std::size_t begun_ = 0;
  std::vector<PoolingResult> results_;
  std::shared_ptr<ActiveSpan> span_;
  std::mutex mutex_;  // guards what follows
  std::vector<std::weak_ptr<Inference>> running_;
  bool is_gone_ = false;
};

}  // namespace

void start_pooling(const Call& call, std::vector<PoolingRequest> requests, RenderPooling render) {
  const auto pooling = std::make_shared<PoolingCall>(call, std::move(requests), std::move(render));
  pooling->next();
  call.exchange->on_gone([weak = std::weak_ptr<PoolingCall>(pooling)] {
    if (const auto running = weak.lock()) running->cancel();
  });
}

Pooling pooling_of(const std::string& model_name) {
  return contains_word(model_name, "embed") ? Pooling::kLastToken : Pooling::kMean;
}

bool is_reranker(const std::string& model_name) { return contains_word(model_name, "rerank"); }

void normalise(std::vector<float>& vector, std::size_t dimensions) {
  if (dimensions > 0 && dimensions < vector.size()) vector.resize(dimensions);
  double sum = 0;
  for (const float value : vector) sum += static_cast<double>(value) * value;
  if (!(sum > 0)) return;
  const double scale = 1 / std::sqrt(sum);
  for (float& value : vector) value = static_cast<float>(value * scale);
}

std::int64_t prompt_tokens(const std::vector<PoolingResult>& results) {
  std::int64_t tokens = 0;
  for (const PoolingResult& result : results) tokens += result.prompt_tokens;
  return tokens;
}

}  // namespace sampan
