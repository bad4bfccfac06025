#include "serve/api/pooling.h"

#include <cmath>

namespace sampan {
namespace {

bool contains_word(std::string name, const char* word) {
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name.find(word) != std::string::npos;
}

}  // namespace

void start_pooling(const Call& call, std::vector<PoolingRequest> requests, RenderPooling render) {
  const std::string model = requests.front().model;
  const auto done = [call, model, render = std::move(render)](std::vector<PoolingResult> results,
                                                              const Error* error) {
    try {
      if (error != nullptr) throw ApiError(to_api_error(*error));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                                           call.request().arrival)
                                 .count();
      call.api.metrics.count_pooling(model, prompt_tokens(results), seconds);
      call.respond(render(results, seconds));
    } catch (...) {
      call.respond(error_response(call.dialect, to_api_error(std::current_exception()),
                                  call.request().request_id));
    }
  };
  const std::shared_ptr<Inference> inference = call.api.service.pool(std::move(requests), done);
  call.exchange->on_gone([weak = std::weak_ptr<Inference>(inference)] {
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
