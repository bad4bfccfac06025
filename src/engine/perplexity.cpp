#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sampan {

double negative_log_likelihood(std::span<const float> logits, std::int32_t target) {
  const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

Perplexity measure_perplexity(Runner& runner, DType kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress) {
  if (window < 2)
    fail(ErrorCode::kInvalidArgument, "a window of {} tokens scores nothing; 2 or more are needed",
         window);
  if (ids.size() < 2)
    fail(ErrorCode::kInvalidArgument, "the text has {} tokens; 2 or more are needed", ids.size());
  const auto vocab = static_cast<std::size_t>(runner.model().config().vocab_size);
  Perplexity result;
  Sequence sequence(runner.model(), kv_dtype);
  for (std::size_t begin = 0; begin + 1 < ids.size(); begin += static_cast<std::size_t>(window)) {
    const std::span<const std::int32_t> piece =
        ids.subspan(begin, std::min(ids.size() - begin, static_cast<std::size_t>(window)));
    truncate(sequence, 0);
    runner.prefill_all_logits(
        sequence, piece, [&](std::int64_t first, std::span<const float> rows) {
          for (std::size_t i = 0; i < rows.size() / vocab; ++i) {
            const std::size_t next = static_cast<std::size_t>(first) + i + 1;
            if (next == piece.size()) return;
            result.nats += negative_log_likelihood(rows.subspan(i * vocab, vocab), piece[next]);
            result.scored_tokens += 1;
          }
        });
    progress(static_cast<std::int64_t>(begin + piece.size()));
  }
  if (!std::isfinite(result.nats))
    fail(ErrorCode::kInvalidData, "the model's logits are not numbers");
  result.perplexity = std::exp(result.nats / static_cast<double>(result.scored_tokens));
  return result;
}

}  // namespace sampan
