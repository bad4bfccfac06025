#include "engine/speculation.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "engine/likeliest.h"
#include "engine/mtp_drafter.h"

namespace sampan {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

std::unique_ptr<Drafter> make_drafter(Runner& runner) {
  if (!runner.model().predicts_tokens()) return nullptr;
  return std::make_unique<MtpDrafter>(runner);
}

SpeculativeDecoder::SpeculativeDecoder(Runner& runner, Sequence& sequence,
                                       std::unique_ptr<Drafter> drafter, SpeculationOptions options)
    : runner_(runner),
      sequence_(sequence),
      drafter_(std::move(drafter)),
      options_(std::move(options)),
      governor_(options_.always) {
  SAMPAN_CHECK(options_.depth >= 1);
  if (!options_.clock) options_.clock = steady_seconds;
}

std::int64_t SpeculativeDecoder::read(std::span<const std::int32_t> ids, std::int64_t kept) {
  // A drafter may have seen the last kept token with another one after it.
  if (has_drafter()) kept = std::max<std::int64_t>(0, kept - 1);
  truncate(sequence_, kept);
  Runner::HiddenVisitor observe;
  if (has_drafter() && drafter_->wants_hidden()) {
    observe = [this](std::int64_t first, std::span<const float> hidden) {
      drafter_->observe(sequence_, first, hidden);
    };
  }
  first_logits_ = runner_.prefill(sequence_, ids.subspan(static_cast<std::size_t>(kept)), observe);
  if (has_drafter() && !observe) drafter_->observe(sequence_, kept, {});
  return static_cast<std::int64_t>(ids.size()) - kept;
}

void SpeculativeDecoder::begin(const Sampler& sampler, std::span<const std::int32_t> prompt,
                               std::int64_t max_tokens) {
  SAMPAN_CHECK(!first_logits_.empty() && max_tokens >= 1);
  sampler_ = &sampler;
  prompt_ = prompt;
  max_tokens_ = max_tokens;
  drawn_.clear();
  given_ = 0;
}

std::int32_t SpeculativeDecoder::next() {
  if (given_ == drawn_.size()) {
    if (drawn_.empty()) {
      drawn_.push_back(draw(first_logits_));
      first_logits_ = {};
    } else {
      step();
    }
  }
  return drawn_[given_++];
}

std::int32_t SpeculativeDecoder::draw(std::span<const float> logits) {
  return sampler_->sample(logits, prompt_, drawn_, {}, scratch_);
}

// Tokens that may follow the last one drawn, `count` at most.
std::vector<std::int32_t> SpeculativeDecoder::draft(std::int64_t count) {
  std::vector<std::int32_t> drafted;
  std::vector<std::int32_t> text = drawn_;
  const DraftChoice choose =
      [&](std::span<const float> logits,
          std::span<const std::int32_t> ahead) -> std::optional<std::int32_t> {
    if (greedy(logits) < 0) return std::nullopt;
    text.resize(drawn_.size());
    text.insert(text.end(), ahead.begin(), ahead.end());
    return sampler_->sample(logits, prompt_, text, {}, scratch_);
  };
  drafter_->propose(sequence_, drawn_.back(), count, choose, drafted);
  SAMPAN_CHECK(static_cast<std::int64_t>(drafted.size()) <= count);
  return drafted;
}

// Draws one token, and one more for each draft that turns out to be right.
void SpeculativeDecoder::step() {
  const double start = options_.clock();
  const std::int64_t length = sequence_.cache.length();
  const std::int64_t wanted = max_tokens_ - static_cast<std::int64_t>(drawn_.size());
  const std::int64_t context = runner_.model().config().context_length;
  const std::int64_t count = std::min({options_.depth, wanted - 1, context - length - 1});
  const bool drafts = has_drafter() && count >= 1 && governor_.wants_draft();
  std::vector<std::int32_t> drafted;
  if (drafts) drafted = draft(count);
  std::vector<std::int32_t> ids = {drawn_.back()};
  ids.insert(ids.end(), drafted.begin(), drafted.end());

  const bool with_hidden = has_drafter() && drafter_->wants_hidden();
  const Runner::Rows rows = runner_.decode_run(sequence_, ids, with_hidden);
  const std::size_t vocab = rows.logits.size() / ids.size();
  std::size_t accepted = 0;
  while (true) {
    drawn_.push_back(draw(rows.logits.subspan(accepted * vocab, vocab)));
    if (accepted == drafted.size() || drawn_.back() != drafted[accepted]) break;
    ++accepted;
  }
  const std::size_t read = accepted + 1;
  truncate(sequence_, length + static_cast<std::int64_t>(read));
  if (has_drafter()) {
    drafter_->observe(sequence_, length,
                      rows.hidden.first(read * (rows.hidden.size() / ids.size())));
  }

  stats_.proposed += static_cast<std::int64_t>(drafted.size());
  stats_.accepted += static_cast<std::int64_t>(accepted);
  (drafts ? stats_.drafted_steps : stats_.plain_steps) += 1;
  governor_.record(drafts, static_cast<std::int64_t>(accepted), options_.clock() - start);
}

}  // namespace sampan
