#pragma once

#include <cstdint>
#include <deque>

namespace sampan {

// Decides from what it measures whether drafting pays. Both ways of decoding are tried in turn; the
// faster one stays and the other is tried again now and then, the more rarely the longer it has
// been the slower one. Only speed depends on it.
class SpeculationGovernor {
 public:
  // always: drafts whatever it costs.
  explicit SpeculationGovernor(bool always) : always_(always) {}

  // Whether the next step shall draft.
  bool wants_draft() const { return always_ || drafting_; }

  // A step is done, with drafts or without, in `seconds`; so many drafted tokens held.
  void record(bool drafted, std::int64_t accepted, double seconds);

  // Whether drafting is what it has settled for, trials aside.
  bool is_on() const { return always_ || settled_on_; }

 private:
  struct Step {
    std::int64_t tokens = 0;
    double seconds = 0;
  };
  // The last steps of one kind.
  struct Window {
    std::deque<Step> steps;

    void add(const Step& step, std::size_t size);
    bool empty() const { return steps.empty(); }
    double seconds_per_token() const;
  };

  double cost() const;
  void begin_trial(bool drafting);
  void settle();

  bool always_;
  bool drafting_ = false;  // what is done now
  bool settled_on_ = true;
  bool in_trial_ = true;
  std::int64_t steps_ = 0;     // of the present trial, or since the last one
  std::int64_t patience_ = 0;  // steps until the next trial
  bool has_settled_ = false;
  Window plain_, drafted_;
};

}  // namespace sampan
