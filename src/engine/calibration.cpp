#include "engine/calibration.h"

#include <algorithm>

#include "base/error.h"

namespace sampan {
namespace {

// Calls read(ids of a window) for one after the other.
void for_each_window(std::span<const std::int32_t> ids, std::int64_t window,
                     const std::function<void(std::span<const std::int32_t>)>& read,
                     const std::function<void(std::int64_t)>& progress) {
  if (window < 1) fail(ErrorCode::kInvalidArgument, "a window of {} tokens holds no text", window);
  if (ids.empty()) fail(ErrorCode::kInvalidArgument, "the text to calibrate with has no tokens");
  for (std::size_t begin = 0; begin < ids.size(); begin += static_cast<std::size_t>(window)) {
    const std::span<const std::int32_t> piece =
        ids.subspan(begin, std::min(ids.size() - begin, static_cast<std::size_t>(window)));
    read(piece);
    progress(static_cast<std::int64_t>(begin + piece.size()));
  }
}

}  // namespace

Importance measure_importance(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress) {
  Importance importance;
  const ObservedProducts observed(importance);
  Sequence sequence(runner.model(), kv_dtype);
  const auto read = [&](std::span<const std::int32_t> piece) {
    truncate(sequence, 0);
    runner.prefill_all_logits(sequence, piece, [](std::int64_t, std::span<const float>) {});
  };
  for_each_window(ids, window, read, progress);
  return importance;
}

ProductInputs find_product_inputs(Runner& runner, DType kv_dtype,
                                  std::span<const std::int32_t> ids) {
  ProductInputs inputs;
  const ObservedProducts observed(inputs);
  Sequence sequence(runner.model(), kv_dtype);
  const auto read = [&](std::span<const std::int32_t> piece) { runner.prefill(sequence, piece); };
  // One token, so that it is one forward.
  for_each_window(ids.first(std::min<std::size_t>(ids.size(), 1)), 1, read, [](std::int64_t) {});
  return inputs;
}

void measure_moments(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                     std::int64_t window, InputMoments& moments,
                     const std::function<void(std::int64_t)>& progress) {
  const ObservedProducts observed(moments);
  Sequence sequence(runner.model(), kv_dtype);
  const auto read = [&](std::span<const std::int32_t> piece) {
    truncate(sequence, 0);
    runner.prefill(sequence, piece);
  };
  for_each_window(ids, window, read, progress);
}

}  // namespace sampan
