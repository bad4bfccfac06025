#include "engine/token_scores.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/math.h"

namespace sampan {
namespace {

constexpr std::size_t kLanes = 16;

double log_sum_exp(std::span<const float> logits, float top) {
  std::array<double, kLanes> lanes{};
  for (std::size_t i = 0; i < logits.size(); ++i)
    lanes[i % kLanes] += static_cast<double>(exp_f32(logits[i] - top));
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return static_cast<double>(top) + std::log(lanes[0]);
}

std::vector<TokenLogprob> likeliest(std::span<const float> logits, std::size_t count, double norm) {
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::vector<std::int32_t> best;  // a heap whose front is the least likely of those kept
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (best.size() == count) {
      if (!before(id, best.front())) continue;
      std::pop_heap(best.begin(), best.end(), before);
      best.pop_back();
    }
    best.push_back(id);
    std::push_heap(best.begin(), best.end(), before);
  }
  std::sort_heap(best.begin(), best.end(), before);
  std::vector<TokenLogprob> top;
  for (const std::int32_t id : best) {
    top.push_back(
        {id, static_cast<float>(static_cast<double>(logits[static_cast<std::size_t>(id)]) - norm)});
  }
  return top;
}

}  // namespace

ScoredToken score_token(std::span<const float> logits, std::int32_t id, int alternatives) {
  const float logit = logits[static_cast<std::size_t>(id)];
  const double norm = log_sum_exp(logits, logits[static_cast<std::size_t>(greedy(logits))]);
  ScoredToken token;
  token.id = id;
  token.logprob = static_cast<float>(static_cast<double>(logit) - norm);
  token.rank = 1;
  for (const float other : logits) token.rank += other > logit ? 1 : 0;
  if (alternatives > 0) {
    token.top =
        likeliest(logits, std::min(logits.size(), static_cast<std::size_t>(alternatives)), norm);
  }
  return token;
}

}  // namespace sampan
