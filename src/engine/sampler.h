#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sampan {

// How the next token is chosen from logits. The defaults choose the likeliest (greedy).
struct SamplingParams {
  double temperature = 0.0;  // 0 = greedy
  std::int64_t top_k = 0;    // 0 = all
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;  // divides positive and multiplies negative logits of seen ids (Keskar et al. 2019)
  double presence_penalty = 0.0;    // subtracted once from ids generated before
  double frequency_penalty = 0.0;   // subtracted for each time that an id was generated before
  std::uint64_t seed = 0;
};

// Throws Error kInvalidArgument naming the parameter that is out of range.
void check_sampling(const SamplingParams& params);

// Chooses tokens: penalties, temperature, top-k, top-p, min-p, in the order of transformers' generate(), then a draw from a
// generator keyed by (seed, step), so that a text can be replayed from any step. The same bits on every machine. Not thread-safe.
class Sampler {
 public:
  explicit Sampler(const SamplingParams& params);

  // logits (vocab), finite or -infinity. prompt: ids that came before the generated ones (repetition_penalty counts them);
  // generated: ids chosen so far; its size is the step. Ties go to the lower id. Throws Error kInvalidData when no logit is a
  // number.
  std::int32_t sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                      std::span<const std::int32_t> generated);

 private:
  struct Candidate {
    float logit = 0;
    std::int32_t id = 0;
  };

  void apply_penalties(std::span<const std::int32_t> prompt, std::span<const std::int32_t> generated);
  void keep_top_k();
  std::int32_t draw(std::uint64_t step);

  SamplingParams params_;
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

// The id of the largest logit; the lowest id of several. -1 when none is a number.
std::int32_t greedy(std::span<const float> logits);

}  // namespace sampan
