#include "line_editor.h"

#include <editline/readline.h>

#include <clocale>
#include <cstdlib>

#include "options.h"

namespace sampan {
namespace {

constexpr int kHistoryLines = 1000;

}  // namespace

LineEditor::LineEditor(std::filesystem::path history) : history_(std::move(history)) {
  std::setlocale(LC_CTYPE, "");
  if (std::setlocale(LC_CTYPE, nullptr) == std::string("C")) std::setlocale(LC_CTYPE, "C.UTF-8");
  rl_initialize();
  using_history();
  stifle_history(kHistoryLines);
  std::error_code ignored;
  std::filesystem::create_directories(history_.parent_path(), ignored);
  read_history(history_.c_str());
}

LineEditor::~LineEditor() { write_history(history_.c_str()); }

std::optional<std::string> LineEditor::read(const std::string& prompt) {
  char* line = ::readline(prompt.c_str());
  if (line == nullptr) {
    // readline gives nothing both at the end of input and when a signal broke the read.
    if (!interrupted()) return std::nullopt;
    clear_interrupt();
    return std::string();
  }
  std::string text(line);
  std::free(line);
  clear_interrupt();
  if (!text.empty()) add_history(text.c_str());
  return text;
}

std::filesystem::path default_history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state != nullptr && *state != '\0') return std::filesystem::path(state) / "sampan/history";
  return std::filesystem::path(home != nullptr ? home : "/tmp") / ".local/state/sampan/history";
}

}  // namespace sampan
