#include "engine/token_weights.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/error.h"
#include "engine/exponentials.h"
#include "engine/likeliest.h"
#include "engine/sampler.h"

namespace sampan {
namespace {

// Weights whose sum is kept, so that a draw goes through few of them one by one.
constexpr std::size_t kBlock = 256;

// Where `rest` falls among weights that lie one behind the other, and what of it is left there. The
// last that weighs something where rounding took it past the end.
template <typename T>
std::size_t pass(std::span<const T> weights, double& rest) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    at = i;
    if (rest < static_cast<double>(weights[i])) return at;
    rest -= static_cast<double>(weights[i]);
  }
  rest += static_cast<double>(weights[at]);
  return at;
}

// Weights are of [0, 1]: exponent and upper bits of the mantissa order them.
constexpr int kClassShift = 20;
constexpr std::size_t kClasses = (std::bit_cast<std::uint32_t>(1.0f) >> kClassShift) + 1;

std::size_t class_of(float weight) { return std::bit_cast<std::uint32_t>(weight) >> kClassShift; }
float least_of_class(std::size_t number) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(number) << kClassShift);
}

}  // namespace

void TokenWeights::set(std::span<const float> logits, float top, const SamplingParams& params) {
  const auto temperature = static_cast<float>(params.temperature);
  SAMPAN_CHECK(temperature > 0);
  const auto top_k = static_cast<std::size_t>(params.top_k);
  ids_.clear();
  if (top_k != 0 && top_k < logits.size()) {
    likeliest(logits, top_k, ids_);
    std::sort(ids_.begin(), ids_.end());
    weights_.clear();
    for (const std::int32_t id : ids_) weights_.push_back(logits[static_cast<std::size_t>(id)]);
  } else {
    weights_.assign(logits.begin(), logits.end());
  }
  exponentials(weights_, top, temperature);
  if (params.top_p < 1.0) cut_top_p(params.top_p);
  if (params.min_p > 0.0) {
    for (float& weight : weights_) {
      weight = static_cast<double>(weight) < params.min_p ? 0.0f : weight;
    }
  }
}

// Keeps the shortest run of the likeliest that reaches top_p of the sum, the token that crosses it
// included: whole classes of weights, and of the one where it is crossed those that come first.
void TokenWeights::cut_top_p(double top_p) {
  const double total = sum_blocks();
  const double goal = top_p * total;
  // Those below have together at most half of what may be cut off, so none of them is kept.
  const auto least_seen =
      static_cast<float>((1.0 - top_p) * total / (2.0 * static_cast<double>(weights_.size())));
  std::array<double, kClasses> classes{};
  for_blocks_reaching(weights_, least_seen, [&](std::span<const float> block) {
    for (const float weight : block) classes[class_of(weight)] += static_cast<double>(weight);
  });
  double sum = 0;
  std::size_t crossed = kClasses - 1;
  while (crossed > 0 && sum + classes[crossed] < goal) sum += classes[crossed--];

  std::vector<std::size_t> members;
  for_blocks_reaching(weights_, least_of_class(crossed), [&](std::span<const float> block) {
    for (const float& weight : block) {
      if (weight > 0 && class_of(weight) == crossed)
        members.push_back(static_cast<std::size_t>(&weight - weights_.data()));
    }
  });
  std::sort(members.begin(), members.end(), [&](std::size_t a, std::size_t b) {
    return weights_[a] > weights_[b] || (weights_[a] == weights_[b] && a < b);
  });
  std::size_t kept = 0;
  while (kept < members.size() && (kept == 0 || sum < goal))
    sum += static_cast<double>(weights_[members[kept++]]);
  if (kept == 0) return;  // the sum of all is the goal, up to rounding
  const std::size_t last = members[kept - 1];
  const float least = weights_[last];
  for (std::size_t i = 0; i <= last; ++i) weights_[i] = weights_[i] >= least ? weights_[i] : 0;
  for (std::size_t i = last + 1; i < weights_.size(); ++i)
    weights_[i] = weights_[i] > least ? weights_[i] : 0;
}

double TokenWeights::sum_blocks() {
  sums_.clear();
  double sum = 0;
  for (std::size_t i = 0; i < weights_.size(); i += kBlock) {
    const std::size_t count = std::min(kBlock, weights_.size() - i);
    sums_.push_back(sum_over_lanes(std::span(weights_).subspan(i, count)));
    sum += sums_.back();
  }
  return sum;
}

std::int32_t TokenWeights::draw(double u) {
  double rest = u * sum_blocks();
  const std::size_t begin = kBlock * pass(std::span<const double>(sums_), rest);
  const auto block =
      std::span<const float>(weights_).subspan(begin, std::min(kBlock, weights_.size() - begin));
  const std::size_t drawn = begin + pass(block, rest);
  return ids_.empty() ? static_cast<std::int32_t>(drawn) : ids_[drawn];
}

}  // namespace sampan
