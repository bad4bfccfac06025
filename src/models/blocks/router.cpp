#include "models/blocks/router.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/math.h"

namespace sampan {
namespace {

void softmax(const float* logits, std::vector<float>& scores) {
  const float most = *std::max_element(logits, logits + scores.size());
  float sum = 0;
  for (std::size_t e = 0; e < scores.size(); ++e) {
    scores[e] = exp_f32(logits[e] - most);
    sum += scores[e];
  }
  for (float& score : scores) score /= sum;
}

void sigmoid(const float* logits, std::vector<float>& scores) {
  for (std::size_t e = 0; e < scores.size(); ++e) scores[e] = 1.0f / (1.0f + exp_f32(-logits[e]));
}

// Brings the indices of the `count` largest values to the front: by value, then by index; NaN last.
void choose(const float* values, std::int64_t size, std::int64_t count, std::vector<std::int32_t>& order) {
  order.resize(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  const auto rank = [values](std::int32_t i) {
    return values[i] == values[i] ? values[i] : -std::numeric_limits<float>::infinity();
  };
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [rank](std::int32_t a, std::int32_t b) {
    return rank(a) > rank(b) || (rank(a) == rank(b) && a < b);
  });
}

// What a group counts for: its best score or the sum of its two best.
float group_value(GroupScore kind, const float* scores, std::int64_t size) {
  float best = -std::numeric_limits<float>::infinity();
  float second = best;
  for (std::int64_t e = 0; e < size; ++e) {
    if (scores[e] > best) {
      second = best;
      best = scores[e];
    } else if (scores[e] > second) {
      second = scores[e];
    }
  }
  return kind == GroupScore::kBest || size == 1 ? best : best + second;
}

// Leaves the scores of the best groups as they are and takes the others out of the choice.
void keep_groups(const MoeConfig& config, std::vector<float>& choice, std::vector<std::int32_t>& order) {
  const std::int64_t size = config.experts / config.groups;
  std::vector<float> values;
  for (std::int64_t g = 0; g < config.groups; ++g) {
    values.push_back(group_value(config.group_score, choice.data() + g * size, size));
  }
  choose(values.data(), config.groups, config.groups_kept, order);
  // V2 sets the others to zero, V3 to minus infinity.
  const float out = config.score == RouterScore::kSoftmax ? 0.0f : -std::numeric_limits<float>::infinity();
  std::vector<bool> kept(values.size());
  for (std::int64_t i = 0; i < config.groups_kept; ++i) kept[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = true;
  for (std::size_t e = 0; e < choice.size(); ++e) {
    if (!kept[e / static_cast<std::size_t>(size)]) choice[e] = out;
  }
}

}  // namespace

void route(const MoeConfig& config, const float* logits, const float* bias, RouterScratch& scratch, Route* out) {
  std::vector<float>& scores = scratch.scores;
  scores.resize(static_cast<std::size_t>(config.experts));
  if (config.score == RouterScore::kSoftmax) {
    softmax(logits, scores);
  } else {
    sigmoid(logits, scores);
  }
  std::vector<float>& choice = scratch.choice;
  choice = scores;
  if (bias != nullptr) {
    for (std::size_t e = 0; e < choice.size(); ++e) choice[e] += bias[e];
  }
  if (config.groups_kept < config.groups) keep_groups(config, choice, scratch.order);
  choose(choice.data(), config.experts, config.experts_per_token, scratch.order);
  std::sort(scratch.order.begin(), scratch.order.begin() + config.experts_per_token);

  float sum = 0;
  for (std::int64_t i = 0; i < config.experts_per_token; ++i) {
    out[i].expert = scratch.order[static_cast<std::size_t>(i)];
    out[i].weight = scores[static_cast<std::size_t>(out[i].expert)];
    sum += out[i].weight;
  }
  const float denominator = config.score == RouterScore::kSigmoid ? sum + 1e-20f : sum;
  for (std::int64_t i = 0; i < config.experts_per_token; ++i) {
    if (config.normalize) out[i].weight /= denominator;
    out[i].weight *= config.scale;
  }
}

}  // namespace sampan
