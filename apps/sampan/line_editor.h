#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace sampan {

// Lines from a terminal with editing and a history that lasts between runs.
class LineEditor {
 public:
  // history: the file it is kept in; its folder is made. A history that cannot be kept is no error.
  explicit LineEditor(std::filesystem::path history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // The next line without its newline; nothing at the end of input (Ctrl-D). Ctrl-C gives an empty line.
  std::optional<std::string> read(const std::string& prompt);

 private:
  std::filesystem::path history_;
};

// $XDG_STATE_HOME/sampan/history or ~/.local/state/sampan/history.
std::filesystem::path default_history_file();

}  // namespace sampan
