#include "engine/sampler.h"

#include <cmath>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "engine/likeliest.h"

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

Sampler::Sampler(SamplingParams params) : params_(std::move(params)) { check_sampling(params_); }

bool Sampler::is_greedy() const {
  return static_cast<float>(params_.temperature) == 0.0f || params_.top_k == 1;
}

bool Sampler::leaves_logits_alone() const {
  return params_.repetition_penalty == 1.0 && params_.presence_penalty == 0.0 &&
         params_.frequency_penalty == 0.0 && params_.logit_bias.empty();
}

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                             std::span<const std::int32_t> generated,
                             std::span<const std::int32_t> banned, SamplerScratch& scratch) const {
  std::span<const float> row = logits;
  if (!banned.empty() || !leaves_logits_alone()) {
    scratch.logits.assign(logits.begin(), logits.end());
    for (const auto& [id, bias] : params_.logit_bias) {
      if (in_range(scratch.logits, id)) at(scratch.logits, id) += bias;
    }
    apply_penalties(params_, prompt, generated, scratch.logits);
    for (const std::int32_t id : banned) {
      if (in_range(scratch.logits, id))
        at(scratch.logits, id) = -std::numeric_limits<float>::infinity();
    }
    row = scratch.logits;
  }
  const std::int32_t likeliest = greedy(row);
  if (likeliest < 0) fail(ErrorCode::kInvalidData, "the model's logits are not numbers");
  const float top = row[static_cast<std::size_t>(likeliest)];
  if (is_greedy() || std::isinf(top)) return likeliest;
  scratch.weights.set(row, top, params_);
  return scratch.weights.draw(uniform(params_.seed, generated.size()));
}

std::int32_t Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> prompt,
                             std::span<const std::int32_t> generated) const {
  SamplerScratch scratch;
  return sample(logits, prompt, generated, {}, scratch);
}

}  // namespace sampan
