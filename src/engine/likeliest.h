#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sampan {

// A vocabulary has some hundred thousand logits or weights and few that matter: those of a block
// are looked at one by one only where its largest is large enough.
inline constexpr std::size_t kValueBlock = 64;

// The largest of a block of kValueBlock, -infinity when none is a number.
float largest_of_block(const float* values);

// f(block) for the blocks of values that have one of at least `least`; the last, smaller one
// always.
template <typename F>
void for_blocks_reaching(std::span<const float> values, float least, const F& f) {
  std::size_t i = 0;
  for (; i + kValueBlock <= values.size(); i += kValueBlock) {
    if (largest_of_block(&values[i]) >= least) f(values.subspan(i, kValueBlock));
  }
  if (i < values.size()) f(values.subspan(i));
}

// The id of the largest logit; the lowest id of several. -1 when none is a number.
std::int32_t greedy(std::span<const float> logits);

// The ids of the `count` largest logits, the likeliest first, of equal ones the lower id; fewer
// where fewer are numbers.
void likeliest(std::span<const float> logits, std::size_t count, std::vector<std::int32_t>& ids);

}  // namespace sampan
