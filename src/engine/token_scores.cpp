#include "engine/token_scores.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "engine/exponentials.h"
#include "engine/likeliest.h"

namespace sampan {
namespace {

double log_sum_exp(std::span<const float> logits, float top) {
  std::array<float, 2048> piece;
  double sum = 0;
  for (; !logits.empty(); logits = logits.subspan(std::min(piece.size(), logits.size()))) {
    const std::span<float> some(piece.data(), std::min(piece.size(), logits.size()));
    std::copy_n(logits.begin(), some.size(), some.begin());
    exponentials(some, top, 1.0f);
    sum += sum_over_lanes(some);
  }
  return static_cast<double>(top) + std::log(sum);
}

}  // namespace

ScoredToken score_token(std::span<const float> logits, std::int32_t id, int alternatives) {
  const float logit = logits[static_cast<std::size_t>(id)];
  const std::int32_t best = greedy(logits);
  if (best < 0) fail(ErrorCode::kInvalidData, "the model's logits are not numbers");
  const double norm = log_sum_exp(logits, logits[static_cast<std::size_t>(best)]);
  ScoredToken token;
  token.id = id;
  token.logprob = static_cast<float>(static_cast<double>(logit) - norm);
  token.rank = 1;
  for (const float other : logits) token.rank += other > logit ? 1 : 0;
  std::vector<std::int32_t> ids;
  likeliest(logits, static_cast<std::size_t>(std::max(alternatives, 0)), ids);
  for (const std::int32_t other : ids) {
    const double log = static_cast<double>(logits[static_cast<std::size_t>(other)]) - norm;
    token.top.push_back({other, static_cast<float>(log)});
  }
  return token;
}

}  // namespace sampan
