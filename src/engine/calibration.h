#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/runner.h"
#include "models/importance.h"
#include "models/input_moments.h"

namespace sampan {

// What a model's matrices meet while it reads a text in consecutive windows of `window` tokens; the
// head is asked for every token. progress(tokens done) after each window. Throws Error
// kInvalidArgument for a text without tokens or a window of none.
Importance measure_importance(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress);

// Which of the matrices meet the same input. Throws Error as above.
ProductInputs find_product_inputs(Runner& runner, DType kv_dtype,
                                  std::span<const std::int32_t> ids);

// Adds up `moments` while the model reads as above; the head is asked for a window's last token
// only.
void measure_moments(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                     std::int64_t window, InputMoments& moments,
                     const std::function<void(std::int64_t)>& progress);

}  // namespace sampan
