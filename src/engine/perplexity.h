#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/runner.h"

namespace sampan {

struct Perplexity {
  double perplexity = 0;
  double nats = 0;  // summed negative log-likelihood
  std::int64_t scored_tokens = 0;
};

// Perplexity of a text in consecutive windows of `window` tokens: each token but the first of a
// window is scored from those before it in its window. progress(tokens done) after each window.
// Throws Error kInvalidArgument for fewer than two tokens or a window below two; kInvalidData when
// the model's logits are not numbers.
Perplexity measure_perplexity(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress);

// -log softmax(logits)[target], in double.
double negative_log_likelihood(std::span<const float> logits, std::int32_t target);

}  // namespace sampan
