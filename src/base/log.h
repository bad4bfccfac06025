#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sampan {

enum class LogLevel : std::uint8_t { kInfo, kWarning, kError };

using LogValue = std::variant<std::string, std::int64_t, double, bool>;
using LogFields = std::vector<std::pair<std::string, LogValue>>;

// Where a part of the program tells those who run it what it does: a message that is always the
// same words, and what differs in fields. Never what users ask or are answered. Called from any
// thread, must not throw. Empty: nobody listens.
using LogWriter =
    std::function<void(LogLevel level, std::string_view message, const LogFields& fields)>;

inline void write_log(const LogWriter& log, LogLevel level, std::string_view message,
                      const LogFields& fields = {}) {
  if (log) log(level, message, fields);
}

}  // namespace sampan
