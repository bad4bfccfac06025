#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "kernels/math.h"

namespace sampan {
namespace {

void check_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    fail(ErrorCode::kInvalidArgument, "{} is {}, not in {} to {}", name, value, low, high);
  }
}

// Uniform in [0, 1) from (seed, step): two rounds of the splitmix64 finaliser (Steele et al. 2014).
double uniform(std::uint64_t seed, std::uint64_t step) {
  const auto mix = [](std::uint64_t z) {
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  };
  return static_cast<double>(mix(mix(seed) ^ step) >> 11) * 0x1p-53;
}

}  // namespace

void check_sampling(const SamplingParams& params) {
  check_range("temperature", params.temperature, 0.0, 100.0);
  check_range("top_p", params.top_p, 0.0, 1.0);
  check_range("min_p", params.min_p, 0.0, 1.0);
  check_range("repetition_penalty", params.repetition_penalty, 0.01, 100.0);
  check_range("presence_penalty", params.presence_penalty, -100.0, 100.0);
  check_range("frequency_penalty", params.frequency_penalty, -100.0, 100.0);
  if (params.top_k < 0) fail(ErrorCode::kInvalidArgument, "top_k is {}, not 0 or more", params.top_k);
}

std::int32_t greedy(std::span<const float> logits) {
  std::int32_t best = -1;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    if (best < 0 || logits[i] > logits[static_cast<std::size_t>(best)]) best = static_cast<std::int32_t>(i);
  }
  return best;
}

Sampler::Sampler(const SamplingParams& params) : params_(params) { check_sampling(params); }

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                             std::span<const std::int32_t> generated) {
  logits_.assign(logits.begin(), logits.end());
  apply_penalties(prompt, generated);
  const std::int32_t likeliest = greedy(logits_);
  if (likeliest < 0) fail(ErrorCode::kInvalidData, "the model's logits are not numbers");
  if (params_.temperature == 0.0 || params_.top_k == 1) return likeliest;
  keep_top_k();
  return draw(generated.size());
}

void Sampler::apply_penalties(std::span<const std::int32_t> prompt, std::span<const std::int32_t> generated) {
  const auto in_range = [&](std::int32_t id) { return id >= 0 && static_cast<std::size_t>(id) < logits_.size(); };
  std::unordered_map<std::int32_t, int> counts;
  for (const std::int32_t id : generated) counts[id] += 1;
  if (params_.repetition_penalty != 1.0) {
    std::unordered_map<std::int32_t, int> seen = counts;
    for (const std::int32_t id : prompt) seen[id] += 1;
    const auto penalty = static_cast<float>(params_.repetition_penalty);
    for (const auto& [id, count] : seen) {
      if (!in_range(id)) continue;
      float& logit = logits_[static_cast<std::size_t>(id)];
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  if (params_.presence_penalty == 0.0 && params_.frequency_penalty == 0.0) return;
  for (const auto& [id, count] : counts) {
    if (!in_range(id)) continue;
    logits_[static_cast<std::size_t>(id)] -=
        static_cast<float>(params_.presence_penalty + params_.frequency_penalty * count);
  }
}

// Fills candidates_, likeliest first, with at most top_k of them.
void Sampler::keep_top_k() {
  candidates_.clear();
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    if (!std::isnan(logits_[i])) candidates_.push_back({logits_[i], static_cast<std::int32_t>(i)});
  }
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  const auto keep = params_.top_k == 0 ? candidates_.size()
                                       : std::min(candidates_.size(), static_cast<std::size_t>(params_.top_k));
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(keep), candidates_.end(), before);
  candidates_.resize(keep);
}

// Draws from the candidates by their weights after top-p and min-p.
std::int32_t Sampler::draw(std::uint64_t step) {
  const auto temperature = static_cast<float>(params_.temperature);
  const float top = candidates_.front().logit;
  weights_.clear();
  double total = 0.0;
  for (const Candidate& candidate : candidates_) {
    weights_.push_back(static_cast<double>(exp_f32((candidate.logit - top) / temperature)));
    total += weights_.back();
  }
  std::size_t kept = weights_.size();
  if (params_.top_p < 1.0) {
    // The shortest run of the likeliest that reaches top_p, the token that crosses it included.
    double sum = 0.0;
    for (kept = 0; kept < weights_.size() && (kept == 0 || sum < params_.top_p * total); ++kept) sum += weights_[kept];
  }
  while (kept > 1 && weights_[kept - 1] < params_.min_p * weights_[0]) --kept;
  double sum = 0.0;
  for (std::size_t i = 0; i < kept; ++i) sum += weights_[i];
  double rest = uniform(params_.seed, step) * sum;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    if (rest < weights_[i]) return candidates_[i].id;
    rest -= weights_[i];
  }
  return candidates_[kept - 1].id;
}

}  // namespace sampan
