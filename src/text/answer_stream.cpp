#include "text/answer_stream.h"

#include <algorithm>

namespace sampan {
namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";
constexpr std::string_view kWhitespace = " \t\r\n";

// Length of the longest end of text that begins `marker` without being all of it.
std::size_t partial_match(std::string_view text, std::string_view marker) {
  for (std::size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == marker.substr(0, length)) return length;
  }
  return 0;
}

std::string_view without_last_breaks(std::string_view text) {
  const std::size_t last = text.find_last_not_of('\n');
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

}  // namespace

AnswerStream::AnswerStream(AnswerForm form, OnText on_text)
    : form_(std::move(form)),
      on_text_(std::move(on_text)),
      phase_(!form_.split_reasoning ? Phase::kAnswer
             : form_.in_reasoning   ? Phase::kReasoning
                                    : Phase::kBeginning),
      at_start_(form_.in_reasoning) {
  std::erase(form_.stops, std::string());
}

bool AnswerStream::append(std::string_view text, bool may_stop) {
  raw_ += text;
  if (!may_stop) search_from_ = raw_.size();
  const bool stopped = meets_stop();
  show(stopped);
  return !stopped;
}

void AnswerStream::finish() { show(true); }

// Cuts raw_ at the first stop string. One that began in shown text cannot be: possible beginnings
// are held back.
bool AnswerStream::meets_stop() {
  std::size_t first = std::string::npos;
  for (const std::string& stop : form_.stops) {
    const std::size_t at = raw_.find(stop, std::max(shown_, search_from_));
    if (at < first) {
      first = at;
      stop_ = stop;
    }
  }
  if (first == std::string::npos) return false;
  raw_.resize(first + (form_.include_stop ? stop_->size() : 0));
  return true;
}

void AnswerStream::show(bool is_end) {
  for (bool goes_on = true; goes_on && shown_ < raw_.size();) {
    const std::size_t certain = rest().size() - (is_end ? 0 : held_for_stops(rest()));
    switch (phase_) {
      case Phase::kBeginning:
        goes_on = show_beginning(certain, is_end);
        break;
      case Phase::kReasoning:
        goes_on = show_reasoning(certain, is_end);
        break;
      case Phase::kAnswer:
        emit(rest().substr(0, certain), false);
        goes_on = false;
        break;
    }
  }
}

// White space, up to what tells whether the answer begins with reasoning. True when it is known.
bool AnswerStream::show_beginning(std::size_t certain, bool is_end) {
  emit(rest().substr(0, std::min(certain, rest().find_first_not_of(kWhitespace))), false);
  const std::string_view text = rest();
  if (text.starts_with(kOpen)) {
    shown_ += kOpen.size();
    phase_ = Phase::kReasoning;
    at_start_ = true;
    return true;
  }
  if (!is_end && (kOpen.starts_with(text) || text.find_first_of(kWhitespace) == 0)) return false;
  phase_ = Phase::kAnswer;
  return true;
}

// True when the reasoning has ended.
bool AnswerStream::show_reasoning(std::size_t certain, bool is_end) {
  const std::size_t end = rest().find(kClose);
  const bool is_closed = end != std::string_view::npos;
  if (!is_closed && !is_end) {
    certain = std::min(certain, rest().size() - partial_match(rest(), kClose));
  }
  std::string_view text = rest().substr(0, is_closed ? end : certain);
  if (form_.trim) text = without_last_breaks(text);
  emit(text, true);
  if (!is_closed) {
    if (is_end) shown_ = raw_.size();
    return false;
  }
  shown_ += rest().find(kClose) + kClose.size();
  phase_ = Phase::kAnswer;
  at_start_ = true;
  return true;
}

void AnswerStream::emit(std::string_view text, bool reasoning) {
  shown_ += text.size();
  if (form_.trim && at_start_) {
    text.remove_prefix(std::min(text.size(), text.find_first_not_of('\n')));
  }
  if (text.empty()) return;
  at_start_ = false;
  on_text_(text, reasoning);
}

std::size_t AnswerStream::held_for_stops(std::string_view text) const {
  const std::size_t searched = std::min(text.size(), raw_.size() - search_from_);
  std::size_t held = 0;
  for (const std::string& stop : form_.stops) {
    held = std::max(held, partial_match(text.substr(text.size() - searched), stop));
  }
  return held;
}

}  // namespace sampan
