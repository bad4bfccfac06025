#pragma once

#include <string>
#include <string_view>

#include "chat_session.h"

namespace sampan {

// The commands of a conversation in the terminal: lines that begin with "/".
class ChatCommands {
 public:
  ChatCommands(ChatSession& session, bool show_stats) : session_(session), show_stats_(show_stats) {}

  // True when the line was a command (an unknown one too: it says so). Throws Error for one that failed.
  bool handle(const std::string& line);
  bool is_done() const { return is_done_; }
  bool shows_stats() const { return show_stats_; }

 private:
  void set(std::string_view arguments);
  void show_settings() const;
  void save(const std::string& path) const;

  ChatSession& session_;
  bool show_stats_;
  bool is_done_ = false;
};

}  // namespace sampan
