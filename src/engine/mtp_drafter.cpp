#include "engine/mtp_drafter.h"

#include <algorithm>

#include "base/error.h"

namespace sampan {

MtpDrafter::MtpDrafter(Runner& runner)
    : runner_(runner), width_(static_cast<std::size_t>(runner.model().config().hidden_size)) {
  SAMPAN_CHECK(runner.model().predicts_tokens());
}

void MtpDrafter::observe(Sequence& sequence, std::int64_t first, std::span<const float> hidden) {
  SAMPAN_CHECK(first <= filled_ + waiting());
  filled_ = std::min(filled_, first);
  hidden_.resize(static_cast<std::size_t>(first - filled_) * width_);
  hidden_.insert(hidden_.end(), hidden.begin(), hidden.end());
  SAMPAN_CHECK(filled_ + waiting() == sequence.cache.length());
  // The last one's next token is not known yet.
  if (waiting() > runner_.chunk())
    run(sequence, std::span(sequence.ids).subspan(static_cast<std::size_t>(filled_) + 1), false);
}

// Fills the layer's cache at the first following.size() positions that wait.
Runner::Rows MtpDrafter::run(Sequence& sequence, std::span<const std::int32_t> following,
                             bool wants_last) {
  Runner::Rows rows;
  std::size_t done = 0;
  while (done < following.size()) {
    const std::size_t count =
        std::min(following.size() - done, static_cast<std::size_t>(runner_.chunk()));
    rows = runner_.predict(sequence, filled_ + static_cast<std::int64_t>(done),
                           following.subspan(done, count),
                           std::span(hidden_).subspan(done * width_, count * width_),
                           wants_last && done + count == following.size());
    done += count;
  }
  filled_ += static_cast<std::int64_t>(done);
  hidden_.erase(hidden_.begin(), hidden_.begin() + static_cast<std::ptrdiff_t>(done * width_));
  return rows;
}

void MtpDrafter::propose(Sequence& sequence, std::int32_t next, std::int64_t count,
                         const DraftChoice& choose, std::vector<std::int32_t>& drafted) {
  const std::int64_t length = sequence.cache.length();
  SAMPAN_CHECK(waiting() > 0 && filled_ + waiting() == length);
  std::vector<std::int32_t> following(sequence.ids.begin() + filled_ + 1, sequence.ids.end());
  following.push_back(next);
  Runner::Rows rows = run(sequence, following, true);
  while (true) {
    const std::optional<std::int32_t> id = choose(rows.logits, drafted);
    if (!id) return;
    drafted.push_back(*id);
    const auto ahead = static_cast<std::int64_t>(drafted.size());
    if (ahead >= count) return;
    // What the layer foresees stands for what the trunk will see; run() will put it right.
    const std::vector<float> hidden(rows.hidden.begin(), rows.hidden.end());
    rows = runner_.predict(sequence, length + ahead - 1, std::span(drafted).last(1), hidden, true);
  }
}

}  // namespace sampan
