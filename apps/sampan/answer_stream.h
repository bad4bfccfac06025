#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// Turns the pieces of an answer into what is shown: holds back text that could be the start of a stop string or of a reasoning
// tag, cuts at the first stop string, and tells reasoning (between <think> and </think>, tags left out) from the rest.
class AnswerStream {
 public:
  using OnText = std::function<void(std::string_view text, bool reasoning)>;

  AnswerStream(std::vector<std::string> stop_strings, bool in_reasoning, OnText on_text);

  // Returns false when a stop string was met: nothing after it counts.
  bool append(std::string_view text);
  // Shows what was held back.
  void finish();

  // The answer so far as the model wrote it, tags included, stop string left out.
  const std::string& raw() const { return raw_; }

 private:
  bool stop_met();
  void show_certain(bool is_end);
  std::size_t certain_length(std::string_view text) const;

  std::vector<std::string> stops_;
  bool in_reasoning_;
  OnText on_text_;
  std::string raw_;
  std::size_t shown_ = 0;  // bytes of raw_ that are done with
};

}  // namespace sampan
