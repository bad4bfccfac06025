#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sampan {

struct SamplingParams;

// What the next token is drawn from: weights relative to the likeliest token's. Reused from token
// to token for its memory.
class TokenWeights {
 public:
  // softmax(logits / temperature) cut by top-k, top-p and min-p, in the order of transformers'
  // generate(), up to a factor. logits (vocab), `top` the largest of them and finite; those that
  // are not numbers weigh nothing. temperature > 0 as a float.
  void set(std::span<const float> logits, float top, const SamplingParams& params);

  // The token at u of [0, 1) of the sum of all weights, by ascending ids.
  std::int32_t draw(double u);

  // 0 of what is cut off; one a token, or with top-k one of each of the ids.
  std::span<const float> weights() const { return weights_; }
  // Ascending; empty where weights are of ids 0, 1, 2 ….
  std::span<const std::int32_t> ids() const { return ids_; }

 private:
  double sum_blocks();
  void cut_top_p(double top_p);

  std::vector<float> weights_;
  std::vector<std::int32_t> ids_;
  std::vector<double> sums_;  // of blocks of weights
};

}  // namespace sampan
