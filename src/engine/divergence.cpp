#include "engine/divergence.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace sampan {
namespace {

// ln Σ exp(logits).
double log_sum(std::span<const float> logits) {
  const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

bool same_top(std::span<const float> a, std::span<const float> b) {
  return std::max_element(a.begin(), a.end()) - a.begin() ==
         std::max_element(b.begin(), b.end()) - b.begin();
}

Divergence summarise(std::vector<double> divergences, std::int64_t same) {
  Divergence result;
  result.positions = static_cast<std::int64_t>(divergences.size());
  const auto count = static_cast<double>(divergences.size());
  std::sort(divergences.begin(), divergences.end());
  double sum = 0;
  for (const double divergence : divergences) sum += divergence;
  result.mean = sum / count;
  result.percentile_99 = divergences[static_cast<std::size_t>(0.99 * (count - 1) + 0.5)];
  result.highest = divergences.back();
  result.same_top = static_cast<double>(same) / count;
  return result;
}

}  // namespace

double kl_divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  const double p_sum = log_sum(p_logits);
  const double q_sum = log_sum(q_logits);
  double divergence = 0;
  for (std::size_t i = 0; i < p_logits.size(); ++i) {
    const double p = static_cast<double>(p_logits[i]) - p_sum;
    const double q = static_cast<double>(q_logits[i]) - q_sum;
    if (p > -700) divergence += std::exp(p) * (p - q);  // below, exp(p) is 0 within double
  }
  return std::max(divergence, 0.0);
}

Divergence measure_divergence(Runner& runner, DType kv_dtype, Runner& reference,
                              DType reference_kv_dtype, std::span<const std::int32_t> ids,
                              std::int64_t window,
                              const std::function<void(std::int64_t)>& progress) {
  const auto vocab = static_cast<std::size_t>(runner.model().config().vocab_size);
  const std::int64_t other = reference.model().config().vocab_size;
  if (static_cast<std::int64_t>(vocab) != other) {
    fail(ErrorCode::kInvalidArgument, "the models' vocabularies differ: {} and {} tokens", vocab,
         other);
  }
  if (ids.empty() || window < 1)
    fail(ErrorCode::kInvalidArgument, "a text and a window of one token or more are needed");
  Sequence sequence(runner.model(), kv_dtype);
  Sequence reference_sequence(reference.model(), reference_kv_dtype);
  std::vector<float> expected;
  std::vector<double> divergences;
  std::int64_t same = 0;
  for (std::size_t begin = 0; begin < ids.size(); begin += static_cast<std::size_t>(window)) {
    const auto piece =
        ids.subspan(begin, std::min(ids.size() - begin, static_cast<std::size_t>(window)));
    truncate(sequence, 0);
    truncate(reference_sequence, 0);
    expected.clear();
    reference.prefill_all_logits(reference_sequence, piece,
                                 [&](std::int64_t /*first*/, std::span<const float> rows) {
                                   expected.insert(expected.end(), rows.begin(), rows.end());
                                 });
    runner.prefill_all_logits(
        sequence, piece, [&](std::int64_t first, std::span<const float> rows) {
          for (std::size_t i = 0; i < rows.size() / vocab; ++i) {
            const std::size_t row = (static_cast<std::size_t>(first) + i) * vocab;
            const auto p = std::span<const float>(expected).subspan(row, vocab);
            const auto q = rows.subspan(i * vocab, vocab);
            divergences.push_back(kl_divergence(p, q));
            same += same_top(p, q) ? 1 : 0;
          }
        });
    progress(static_cast<std::int64_t>(begin + piece.size()));
  }
  const Divergence result = summarise(std::move(divergences), same);
  if (!std::isfinite(result.mean))
    fail(ErrorCode::kInvalidData, "the models' logits are not numbers");
  return result;
}

}  // namespace sampan
