#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sampan {

// The id of the largest logit; the lowest id of several. -1 when none is a number.
std::int32_t greedy(std::span<const float> logits);

// The ids of the `count` largest logits, the likeliest first, of equal ones the lower id; fewer
// where fewer are numbers.
void likeliest(std::span<const float> logits, std::size_t count, std::vector<std::int32_t>& ids);

}  // namespace sampan
