#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/token_weights.h"

namespace sampan {

// How the next token is chosen from logits. The defaults choose the likeliest (greedy).
struct SamplingParams {
  double temperature = 0.0;  // 0 = greedy
  std::int64_t top_k = 0;    // 0 = all
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty =
      1.0;  // divides positive and multiplies negative logits of seen ids (Keskar et al. 2019)
  double presence_penalty = 0.0;   // subtracted once from ids generated before
  double frequency_penalty = 0.0;  // subtracted for each time that an id was generated before
  std::uint64_t seed = 0;
  std::vector<std::pair<std::int32_t, float>> logit_bias;  // added to the logits of these ids
};

// Throws Error kInvalidArgument naming the parameter that is out of range.
void check_sampling(const SamplingParams& params);

// Memory that a choice works in; may serve any number of samplers, one after the other.
struct SamplerScratch {
  std::vector<float> logits;
  TokenWeights weights;
};

// Chooses tokens: bias, penalties, temperature, top-k, top-p, min-p, in the order of transformers'
// generate(), then a draw from a generator keyed by (seed, step), so that a text can be replayed
// from any step. The same bits on every machine. Immutable.
class Sampler {
 public:
  explicit Sampler(SamplingParams params);

  // logits (vocab), finite or -infinity. prompt: ids that came before the generated ones
  // (repetition_penalty counts them); generated: ids chosen so far; its size is the step. banned:
  // ids that cannot be chosen now. Ties go to the lower id. Throws Error kInvalidData when no logit
  // is a number.
  std::int32_t sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                      std::span<const std::int32_t> generated, std::span<const std::int32_t> banned,
                      SamplerScratch& scratch) const;
  std::int32_t sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                      std::span<const std::int32_t> generated) const;

 private:
  bool is_greedy() const;
  bool leaves_logits_alone() const;

  SamplingParams params_;
};

}  // namespace sampan
