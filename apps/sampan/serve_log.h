#pragma once

#include "base/log.h"
#include "serve/http/http_server.h"

namespace sampan {

// The log of `sampan serve` on standard error: a JSON object a line, with level, time (Unix seconds), message and fields. Thread-safe.
void log_line(LogLevel level, std::string_view message, const LogFields& fields);
// A line a request, for machines; never what was asked or answered.
void log_access(const HttpAccess& access);

}  // namespace sampan
