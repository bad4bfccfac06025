#include "engine/likeliest.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sampan {

// Over lanes, for the compiler to put in registers.
float largest_of_block(const float* values) {
  constexpr std::size_t kLanes = 16;
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < kValueBlock; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  }
  return *std::max_element(lanes, lanes + kLanes);
}

std::int32_t greedy(std::span<const float> logits) {
  float best = -std::numeric_limits<float>::infinity();
  std::size_t from = 0;  // no logit before it is as large
  std::size_t i = 0;
  for (; i + kValueBlock <= logits.size(); i += kValueBlock) {
    if (const float block = largest_of_block(&logits[i]); block > best) {
      best = block;
      from = i;
    }
  }
  for (; i < logits.size(); ++i) {
    if (logits[i] > best) {
      best = logits[i];
      from = i;
    }
  }
  const auto place =
      std::find(logits.begin() + static_cast<std::ptrdiff_t>(from), logits.end(), best);
  return place == logits.end() ? -1 : static_cast<std::int32_t>(place - logits.begin());
}

void likeliest(std::span<const float> logits, std::size_t count, std::vector<std::int32_t>& ids) {
  ids.clear();
  if (count == 0) return;
  const auto logit_of = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  const auto before = [&](std::int32_t a, std::int32_t b) {
    return logit_of(a) > logit_of(b) || (logit_of(a) == logit_of(b) && a < b);
  };
  // A heap whose front is the least likely of those kept. Ids ascend: one must be larger than the
  // front to take its place.
  const auto take = [&](std::size_t i) {
    if (std::isnan(logits[i])) return;
    if (ids.size() == count) {
      if (!(logits[i] > logit_of(ids.front()))) return;
      std::pop_heap(ids.begin(), ids.end(), before);
      ids.pop_back();
    }
    ids.push_back(static_cast<std::int32_t>(i));
    std::push_heap(ids.begin(), ids.end(), before);
  };
  std::size_t i = 0;
  for (; i + kValueBlock <= logits.size(); i += kValueBlock) {
    if (ids.size() == count && !(largest_of_block(&logits[i]) > logit_of(ids.front()))) continue;
    for (std::size_t at = i; at < i + kValueBlock; ++at) take(at);
  }
  for (; i < logits.size(); ++i) take(i);
  std::sort_heap(ids.begin(), ids.end(), before);
}

}  // namespace sampan
