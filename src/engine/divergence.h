#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/runner.h"

namespace sampan {

// How far the next-token probabilities q of a model are from those of a reference, p.
struct Divergence {
  double mean = 0;  // of the Kullback-Leibler divergences Σ p ln(p / q), in nats
  double percentile_99 = 0;
  double highest = 0;
  double same_top = 0;  // share of positions whose likeliest token is the same
  std::int64_t positions = 0;
};

// Over all positions of a text in consecutive windows of `window` tokens. Both models have the same
// vocabulary (Error kInvalidArgument otherwise, or for an empty text or window); a window's logits
// of the reference are kept, 4 bytes a token and vocabulary entry. progress(tokens done) after each
// window. Throws Error kInvalidData when logits are not numbers.
Divergence measure_divergence(Runner& runner, DType kv_dtype, Runner& reference,
                              DType reference_kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress);

// Σ p ln(p / q) of the softmaxes p and q of logits, in double, at least 0.
double kl_divergence(std::span<const float> p_logits, std::span<const float> q_logits);

}  // namespace sampan
