#pragma once

#include <cstdint>

namespace sampan {

// tokenizer.ggml.token_type of GGUF files.
inline constexpr std::int32_t kGgufNormal = 1, kGgufControl = 3, kGgufUserDefined = 4, kGgufUnused = 5;

}  // namespace sampan
