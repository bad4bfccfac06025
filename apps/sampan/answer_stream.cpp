#include "answer_stream.h"

#include <algorithm>

namespace sampan {
namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";

// Length of the longest end of text that begins `marker` without being all of it.
std::size_t partial_match(std::string_view text, std::string_view marker) {
  for (std::size_t length = std::min(text.size(), marker.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == marker.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

AnswerStream::AnswerStream(std::vector<std::string> stop_strings, bool in_reasoning, OnText on_text)
    : stops_(std::move(stop_strings)), in_reasoning_(in_reasoning), on_text_(std::move(on_text)) {
  std::erase(stops_, std::string());
}

bool AnswerStream::append(std::string_view text) {
  raw_ += text;
  const bool stopped = stop_met();
  show_certain(stopped);
  return !stopped;
}

void AnswerStream::finish() { show_certain(true); }

// Cuts raw_ at the first stop string. One that began in shown text cannot be: possible beginnings are held back.
bool AnswerStream::stop_met() {
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, raw_.find(stop, shown_));
  if (first == std::string::npos) return false;
  raw_.resize(first);
  return true;
}

void AnswerStream::show_certain(bool is_end) {
  while (shown_ < raw_.size()) {
    const std::string_view rest = std::string_view(raw_).substr(shown_);
    const std::string_view tag = in_reasoning_ ? kClose : kOpen;
    const std::size_t at = rest.find(tag);
    if (at != std::string_view::npos) {
      if (at > 0) on_text_(rest.substr(0, at), in_reasoning_);
      shown_ += at + tag.size();
      in_reasoning_ = !in_reasoning_;
      continue;
    }
    const std::size_t length = is_end ? rest.size() : certain_length(rest);
    if (length > 0) on_text_(rest.substr(0, length), in_reasoning_);
    shown_ += length;
    return;
  }
}

std::size_t AnswerStream::certain_length(std::string_view text) const {
  std::size_t held = partial_match(text, in_reasoning_ ? kClose : kOpen);
  for (const std::string& stop : stops_) held = std::max(held, partial_match(text, stop));
  return text.size() - held;
}

}  // namespace sampan
