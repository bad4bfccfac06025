#pragma once

#include <cstdint>
#include <span>

#include "engine/generation.h"

namespace sampan {

// The token's log-probability and rank under logits (vocab), and the `alternatives` likeliest
// tokens (ties: the lower id first). Exponentials are summed in pieces of 2,048, each over lanes
// (engine/exponentials.h): the same bits on every machine. Throws Error kInvalidData when no logit
// is a number.
ScoredToken score_token(std::span<const float> logits, std::int32_t id, int alternatives);

}  // namespace sampan
