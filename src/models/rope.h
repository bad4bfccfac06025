#pragma once

#include <cstdint>
#include <vector>

#include "models/config.h"

namespace sampan {

// Inverse frequencies (head_dim / 2) of the rotary embedding, in float with the steps of transformers'
// modeling_rope_utils, so that angles agree to the rounding. sequence_length matters for kDynamicNtk only: the length of the
// text that the position belongs to.
// Sources: Su et al. 2021 (RoPE); Peng et al. 2023 (YaRN); Llama 3.1's reference implementation.
std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                            std::int64_t sequence_length);

// True when the frequencies depend on sequence_length.
bool rope_depends_on_length(const RopeConfig& rope);

}  // namespace sampan
