#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/runner.h"
#include "models/importance.h"

namespace sampan {

// What a model's matrices meet while it reads a text in consecutive windows of `window` tokens; the
// head is asked for every token. progress(tokens done) after each window. Throws Error
// kInvalidArgument for a text without tokens or a window of none.
Importance measure_importance(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress);

}  // namespace sampan
