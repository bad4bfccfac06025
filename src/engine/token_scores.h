#pragma once

#include <cstdint>
#include <span>

#include "engine/generation.h"

namespace sampan {

// The token's log-probability and rank under logits (vocab), and the `alternatives` likeliest
// tokens (ties: the lower id first). The sum of exponentials runs over 16 lanes folded in one fixed
// order, with exp_f32: the same bits on every machine.
ScoredToken score_token(std::span<const float> logits, std::int32_t id, int alternatives);

}  // namespace sampan
