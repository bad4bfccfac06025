#pragma once

#include <cstdint>
#include <vector>

#include "models/config.h"

namespace sampan {

// The experts of one token and the weights of their outputs.
struct Route {
  std::int32_t expert = 0;
  float weight = 0;
};

// Chooses experts_per_token experts from the router's logits (experts); out receives them by ascending expert. bias (experts) or
// null: the correction that counts for the choice only. Scores are softmax or sigmoid in float by exp_f32; of equal scores the lower
// expert wins; a NaN is never chosen before a number. Sources: transformers' DeepseekV2TopkRouter, DeepseekV3TopkRouter,
// Qwen2MoeTopKRouter. scratch is kept between calls.
struct RouterScratch {
  std::vector<float> scores;  // (experts)
  std::vector<float> choice;  // (experts) scores for the choice
  std::vector<std::int32_t> order;
};
void route(const MoeConfig& config, const float* logits, const float* bias, RouterScratch& scratch, Route* out);

}  // namespace sampan
