#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

using Candidate = SamplerScratch::Candidate;

bool before(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

float& at(std::vector<float>& logits, std::int32_t id) {
  return logits[static_cast<std::size_t>(id)];
}

bool in_range(const std::vector<float>& logits, std::int32_t id) {
  return id >= 0 && static_cast<std::size_t>(id) < logits.size();
}

void apply_penalties(const SamplingParams& params, std::span<const std::int32_t> prompt,
                     std::span<const std::int32_t> generated, std::vector<float>& logits) {
  if (params.repetition_penalty == 1.0 && params.presence_penalty == 0.0 &&
      params.frequency_penalty == 0.0)
    return;
  std::unordered_map<std::int32_t, int> counts;
  for (const std::int32_t id : generated) counts[id] += 1;
  if (params.repetition_penalty != 1.0) {
    std::unordered_map<std::int32_t, int> seen = counts;
    for (const std::int32_t id : prompt) seen[id] += 1;
    const auto penalty = static_cast<float>(params.repetition_penalty);
    for (const auto& [id, count] : seen) {
      if (!in_range(logits, id)) continue;
      float& logit = at(logits, id);
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  if (params.presence_penalty == 0.0 && params.frequency_penalty == 0.0) return;
  for (const auto& [id, count] : counts) {
    if (in_range(logits, id))
      at(logits, id) -=
          static_cast<float>(params.presence_penalty + params.frequency_penalty * count);
  }
}

// Candidates with their weights, relative to the likeliest's: all by ascending id, or the top_k
// likeliest first.
void weigh(const SamplingParams& params, float top, SamplerScratch& scratch) {
  std::vector<Candidate>& candidates = scratch.candidates;
  candidates.clear();
  for (std::size_t i = 0; i < scratch.logits.size(); ++i) {
    const float logit = scratch.logits[i];
    if (logit > -std::numeric_limits<float>::infinity())
      candidates.push_back({logit, static_cast<std::int32_t>(i), 0});
  }
  const auto k = static_cast<std::size_t>(params.top_k);
  if (k != 0 && k < candidates.size()) {
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(k),
                      candidates.end(), before);
    candidates.resize(k);
  }
  const auto temperature = static_cast<float>(params.temperature);
  for (Candidate& candidate : candidates)
    candidate.weight = exp_f32((candidate.logit - top) / temperature);
}

double total_weight(std::span<const Candidate> candidates) {
  double sum = 0.0;
  for (const Candidate& candidate : candidates) sum += static_cast<double>(candidate.weight);
  return sum;
}

// The shortest run of the likeliest that reaches top_p, the token that crosses it included. Sorts
// no further than it has to.
void keep_top_p(double top_p, std::vector<Candidate>& candidates) {
  if (!(top_p < 1.0)) return;
  const double goal = top_p * total_weight(candidates);
  double sum = 0.0;
  std::size_t kept = 0;
  std::size_t sorted = 0;
  while (kept < candidates.size() && (kept == 0 || sum < goal)) {
    if (kept == sorted) {
      sorted = std::min(candidates.size(), std::max<std::size_t>(256, 4 * sorted));
      std::partial_sort(candidates.begin() + static_cast<std::ptrdiff_t>(kept),
                        candidates.begin() + static_cast<std::ptrdiff_t>(sorted), candidates.end(),
                        before);
    }
    sum += static_cast<double>(candidates[kept++].weight);
  }
  candidates.resize(kept);
}

}  // namespace

void check_sampling(const SamplingParams& params) {
  check_range("temperature", params.temperature, 0.0, 100.0);
  check_range("top_p", params.top_p, 0.0, 1.0);
  check_range("min_p", params.min_p, 0.0, 1.0);
  check_range("repetition_penalty", params.repetition_penalty, 0.01, 100.0);
  check_range("presence_penalty", params.presence_penalty, -100.0, 100.0);
  check_range("frequency_penalty", params.frequency_penalty, -100.0, 100.0);
  for (const auto& [id, bias] : params.logit_bias) {
    if (!std::isfinite(bias))
      fail(ErrorCode::kInvalidArgument, "logit_bias of token {} is not a number", id);
  }
  if (params.top_k < 0)
    fail(ErrorCode::kInvalidArgument, "top_k is {}, not 0 or more", params.top_k);
}

std::int32_t greedy(std::span<const float> logits) {
  std::int32_t best = -1;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    if (best < 0 || logits[i] > logits[static_cast<std::size_t>(best)])
      best = static_cast<std::int32_t>(i);
  }
  return best;
}

Sampler::Sampler(SamplingParams params) : params_(std::move(params)) { check_sampling(params_); }

bool Sampler::leaves_logits_alone() const {
  return params_.repetition_penalty == 1.0 && params_.presence_penalty == 0.0 &&
         params_.frequency_penalty == 0.0 && params_.logit_bias.empty();
}

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                             std::span<const std::int32_t> generated,
                             std::span<const std::int32_t> banned, SamplerScratch& scratch) const {
  const bool is_greedy = params_.temperature == 0.0 || params_.top_k == 1;
  const auto checked = [](std::int32_t id) {
    if (id < 0) fail(ErrorCode::kInvalidData, "the model's logits are not numbers");
    return id;
  };
  if (is_greedy && banned.empty() && leaves_logits_alone()) return checked(greedy(logits));
  scratch.logits.assign(logits.begin(), logits.end());
  for (const auto& [id, bias] : params_.logit_bias) {
    if (in_range(scratch.logits, id)) at(scratch.logits, id) += bias;
  }
  apply_penalties(params_, prompt, generated, scratch.logits);
  for (const std::int32_t id : banned) {
    if (in_range(scratch.logits, id))
      at(scratch.logits, id) = -std::numeric_limits<float>::infinity();
  }
  const std::int32_t likeliest = checked(greedy(scratch.logits));
  if (is_greedy) return likeliest;

  const float top = at(scratch.logits, likeliest);
  if (std::isinf(top)) return likeliest;
  weigh(params_, top, scratch);
  std::vector<Candidate>& candidates = scratch.candidates;
  std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.weight == 0.0f; });
  keep_top_p(params_.top_p, candidates);
  std::erase_if(candidates, [&](const Candidate& candidate) {
    return candidate.weight < params_.min_p && candidate.id != likeliest;
  });
  double rest = uniform(params_.seed, generated.size()) * total_weight(candidates);
  for (const Candidate& candidate : candidates) {
    if (rest < static_cast<double>(candidate.weight)) return candidate.id;
    rest -= static_cast<double>(candidate.weight);
  }
  return candidates.back().id;  // rounding took the rest past the end
}

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                             std::span<const std::int32_t> generated) const {
  SamplerScratch scratch;
  return sample(logits, prompt, generated, {}, scratch);
}

}  // namespace sampan
