#include "models/rope.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sampan {
namespace {

constexpr double kTwoPi = 6.283185307179586;

// theta^(2i / head_dim), as a float power of floats.
float base_power(float theta, std::int64_t i, std::int64_t head_dim) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
  return static_cast<float>(std::pow(static_cast<double>(theta), static_cast<double>(exponent)));
}

std::vector<float> plain(float theta, std::int64_t head_dim) {
  std::vector<float> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = 1.0f / base_power(theta, static_cast<std::int64_t>(i), head_dim);
  }
  return frequencies;
}

std::vector<float> yarn(const RopeConfig& rope, std::int64_t head_dim) {
  // The dimension whose wave turns `rotations` times within the original context.
  const auto correction_dim = [&](double rotations) {
    return static_cast<double>(head_dim) *
           std::log(static_cast<double>(rope.original_context) / (rotations * kTwoPi)) /
           (2.0 * std::log(rope.theta));
  };
  double low = correction_dim(rope.beta_fast);
  double high = correction_dim(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;

  std::vector<float> frequencies(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float power = base_power(static_cast<float>(rope.theta), static_cast<std::int64_t>(i), head_dim);
    const float extrapolated = 1.0f / power;
    const float interpolated = 1.0f / (static_cast<float>(rope.factor) * power);
    const float ramp = std::clamp((static_cast<float>(i) - static_cast<float>(low)) /
                                      static_cast<float>(high - low),
                                  0.0f, 1.0f);
    const float kept = 1.0f - ramp;
    frequencies[i] = interpolated * (1.0f - kept) + extrapolated * kept;
  }
  return frequencies;
}

std::vector<float> llama3(const RopeConfig& rope, std::int64_t head_dim) {
  std::vector<float> frequencies = plain(static_cast<float>(rope.theta), head_dim);
  const auto context = static_cast<float>(rope.original_context);
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto high = static_cast<float>(rope.high_freq_factor);
  for (float& f : frequencies) {
    const float wavelength = static_cast<float>(kTwoPi) / f;
    if (wavelength < context / high) continue;
    if (wavelength > context / low) {
      f /= factor;
      continue;
    }
    const float smooth = (context / wavelength - low) / (high - low);
    f = (1.0f - smooth) * f / factor + smooth * f;
  }
  return frequencies;
}

std::vector<float> dynamic_ntk(const RopeConfig& rope, std::int64_t head_dim, std::int64_t sequence_length) {
  const auto trained = static_cast<float>(rope.original_context);
  const auto length = static_cast<float>(std::max(sequence_length, rope.original_context));
  const auto factor = static_cast<float>(rope.factor);
  const float stretch = factor * length / trained - (factor - 1.0f);
  const double exponent = static_cast<double>(head_dim) / static_cast<double>(head_dim - 2);
  const float theta = static_cast<float>(rope.theta) *
                      static_cast<float>(std::pow(static_cast<double>(stretch), exponent));
  return plain(theta, head_dim);
}

}  // namespace

std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                            std::int64_t sequence_length) {
  switch (rope.type) {
    case RopeType::kYarn: return yarn(rope, head_dim);
    case RopeType::kLlama3: return llama3(rope, head_dim);
    case RopeType::kDynamicNtk: return dynamic_ntk(rope, head_dim, sequence_length);
    case RopeType::kDefault:
    case RopeType::kLinear:
    case RopeType::kDivisors: break;
  }
  std::vector<float> frequencies = plain(static_cast<float>(rope.theta), head_dim);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] /= static_cast<float>(rope.factor);
    if (rope.type == RopeType::kDivisors) frequencies[i] /= rope.divisors[i];
  }
  return frequencies;
}

bool rope_depends_on_length(const RopeConfig& rope) { return rope.type == RopeType::kDynamicNtk; }

}  // namespace sampan
