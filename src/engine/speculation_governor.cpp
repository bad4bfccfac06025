#include "engine/speculation_governor.h"

#include <algorithm>
#include <vector>

namespace sampan {
namespace {

// Enough steps for a median that one interruption does not move.
constexpr std::int64_t kPlainTrial = 5;
// Enough to tell an acceptance of two thirds from one of a half mostly; later steps refine it. A
// trial that clearly loses after kShortTrial steps ends there.
constexpr std::int64_t kDraftTrial = 16;
constexpr std::int64_t kShortTrial = 6;
constexpr double kClearly = 1.25;
constexpr std::size_t kPlainWindow = 9;
constexpr std::size_t kDraftWindow = 64;
// Steps between trials: doubled each time that the decision stays what it was. The first figures
// come from a cold start and are checked soon, the sooner the cheaper the trial.
constexpr std::int64_t kLeastPatienceOn = 32;
constexpr std::int64_t kLeastPatienceOff = 64;
constexpr std::int64_t kMostPatience = 1024;
// What drafting must lose before it is given up between trials.
constexpr double kMargin = 1.05;

}  // namespace

void SpeculationGovernor::Window::add(const Step& step, std::size_t size) {
  steps.push_back(step);
  if (steps.size() > size) steps.pop_front();
}

// The median step over the mean tokens: neither another program's burst nor a page read from disk
// says what a step costs.
double SpeculationGovernor::Window::seconds_per_token() const {
  std::vector<double> seconds;
  std::int64_t tokens = 0;
  for (const Step& step : steps) {
    seconds.push_back(step.seconds);
    tokens += step.tokens;
  }
  const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
  std::nth_element(seconds.begin(), middle, seconds.end());
  return *middle * static_cast<double>(steps.size()) / static_cast<double>(tokens);
}

// How many times as long a token takes with drafts as without.
double SpeculationGovernor::cost() const {
  return drafted_.seconds_per_token() / plain_.seconds_per_token();
}

void SpeculationGovernor::begin_trial(bool drafting) {
  drafting_ = drafting;
  in_trial_ = true;
  steps_ = 0;
  (drafting ? drafted_ : plain_).steps.clear();
}

void SpeculationGovernor::settle() {
  const bool on = cost() < 1.0;
  const bool stays = has_settled_ && on == settled_on_;
  const std::int64_t least = on ? kLeastPatienceOn : kLeastPatienceOff;
  patience_ = stays ? std::min(2 * patience_, kMostPatience) : least;
  drafting_ = settled_on_ = on;
  has_settled_ = true;
  in_trial_ = false;
  steps_ = 0;
}

void SpeculationGovernor::record(bool drafted, std::int64_t accepted, double seconds) {
  const Step step = {1 + accepted, seconds};
  if (drafted) {
    drafted_.add(step, kDraftWindow);
  } else {
    plain_.add(step, kPlainWindow);
  }
  if (always_ || drafted != drafting_) return;
  ++steps_;
  if (!in_trial_) {
    const bool loses = drafting_ && steps_ >= kDraftTrial && cost() > kMargin;
    if (loses) return settle();
    if (steps_ >= patience_) begin_trial(!drafting_);
    return;
  }
  if (!drafting_) {
    if (steps_ < kPlainTrial) return;
    if (drafted_.empty()) return begin_trial(true);
    return settle();
  }
  if (steps_ >= kDraftTrial || (steps_ >= kShortTrial && cost() > kClearly)) settle();
}

}  // namespace sampan
