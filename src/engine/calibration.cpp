#include "engine/calibration.h"

#include <algorithm>

#include "base/error.h"

namespace sampan {

Importance measure_importance(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress) {
  if (window < 1) fail(ErrorCode::kInvalidArgument, "a window of {} tokens holds no text", window);
  if (ids.empty()) fail(ErrorCode::kInvalidArgument, "the text to calibrate with has no tokens");
  Importance importance;
  const ObservedProducts observed(importance);
  Sequence sequence(runner.model(), kv_dtype);
  for (std::size_t begin = 0; begin < ids.size(); begin += static_cast<std::size_t>(window)) {
    const std::span<const std::int32_t> piece =
        ids.subspan(begin, std::min(ids.size() - begin, static_cast<std::size_t>(window)));
    truncate(sequence, 0);
    runner.prefill_all_logits(sequence, piece, [](std::int64_t, std::span<const float>) {});
    progress(static_cast<std::int64_t>(begin + piece.size()));
  }
  return importance;
}

}  // namespace sampan
