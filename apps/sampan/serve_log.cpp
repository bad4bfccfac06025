#include "serve_log.h"

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace sampan {

void log_line(LogLevel level, std::string_view message, const LogFields& fields) {
  constexpr const char* kLevels[] = {"info", "warning", "error"};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  nlohmann::ordered_json line = {
      {"level", kLevels[static_cast<std::size_t>(level)]}, {"time", std::chrono::duration<double>(now).count()}, {"message", message}};
  for (const auto& [name, value] : fields) std::visit([&, key = name](const auto& v) { line[key] = v; }, value);
  std::fprintf(stderr, "%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

void log_access(const HttpAccess& access) {
  LogFields fields = {{"request_id", access.request_id},
                      {"peer", access.peer},
                      {"method", access.method},
                      {"path", access.path},
                      {"status", access.status},
                      {"request_bytes", static_cast<std::int64_t>(access.request_bytes)},
                      {"response_bytes", static_cast<std::int64_t>(access.response_bytes)},
                      {"seconds", access.seconds}};
  if (!access.trace_id.empty()) fields.emplace_back("trace_id", access.trace_id);
  if (!access.is_whole) fields.emplace_back("aborted", true);
  log_line(LogLevel::kInfo, "request", fields);
}

}  // namespace sampan
