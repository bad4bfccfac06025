#pragma once

#include <fmt/core.h>

#include <chrono>
#include <string>
#include <utility>

namespace sampan {

// One line on standard error that is written over, ten times a second at most; nothing when that is not a terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  template <typename... Args>
  void show(fmt::format_string<Args...> format, Args&&... args) {
    if (due()) write(fmt::format(format, std::forward<Args>(args)...));
  }
  void clear();

 private:
  bool due();
  void write(const std::string& text);

  bool is_terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace sampan
