#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// How an answer is to be read.
struct AnswerForm {
  std::vector<std::string> stops;  // texts that end it; empty ones are ignored
  bool include_stop = false;       // the stop text is part of the answer
  bool in_reasoning = false;       // the prompt ends within an open <think>
  bool split_reasoning = true;     // else tags are text like any other
  bool trim =
      false;  // line breaks around the reasoning, and between it and the answer, are left out
};

// Turns the pieces of an answer into what is shown: holds back text that could be the start of a
// stop string or of a tag, cuts at the first stop string, and tells reasoning from the rest:
// <think>…</think> at the beginning, tags left out. What is shown does not depend on how the answer
// is cut into pieces. Not thread-safe.
class AnswerStream {
 public:
  using OnText = std::function<void(std::string_view text, bool reasoning)>;

  AnswerStream(AnswerForm form, OnText on_text);

  // Returns false when a stop string was met: nothing after it counts. may_stop: stop strings that
  // end within this piece count.
  bool append(std::string_view text, bool may_stop = true);
  // Shows what was held back.
  void finish();

  // The answer so far as the model wrote it, tags included, as far as it counts.
  const std::string& raw() const { return raw_; }
  // The stop string that was met.
  const std::optional<std::string>& stop() const { return stop_; }
  bool is_reasoning() const { return phase_ == Phase::kReasoning; }

 private:
  enum class Phase { kBeginning, kReasoning, kAnswer };

  bool meets_stop();
  void show(bool is_end);
  bool show_beginning(std::size_t certain, bool is_end);
  bool show_reasoning(std::size_t certain, bool is_end);
  void emit(std::string_view text, bool reasoning);
  std::size_t held_for_stops(std::string_view text) const;
  std::string_view rest() const { return std::string_view(raw_).substr(shown_); }

  AnswerForm form_;
  OnText on_text_;
  Phase phase_;
  bool at_start_ = false;  // of the reasoning, or of the answer after it: line breaks are left out
  std::string raw_;
  std::size_t shown_ = 0;        // bytes of raw_ that are done with
  std::size_t search_from_ = 0;  // stop strings that begin before here do not count
  std::optional<std::string> stop_;
};

}  // namespace sampan
