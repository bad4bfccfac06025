#pragma once

#include <cstdint>
#include <string>

#include "serve/api/api_error.h"
#include "serve/api/json.h"
#include "serve/http/http_server.h"

namespace sampan {

// Whose conventions a route follows: the shape of its errors, its events, its headers.
enum class Dialect : std::uint8_t { kOpenAi, kAnthropic, kOllama };

// The error as the dialect words it, with its status (Anthropic tells overload as 529).
HttpResponse error_response(Dialect dialect, const ApiError& error, const std::string& request_id);
// The object that an error in the middle of a stream is told with.
Json error_object(Dialect dialect, const ApiError& error, const std::string& request_id);

HttpResponse json_response(const Json& body, int status = 200);
HttpResponse text_response(std::string body,
                           std::string content_type = "text/plain; charset=utf-8");

// "prefix" and 24 random hexadecimal digits.
std::string new_id(const char* prefix);
std::int64_t unix_seconds();
// "2026-11-25T09:12:33.123456Z"
std::string utc_time(std::int64_t microseconds);

}  // namespace sampan
