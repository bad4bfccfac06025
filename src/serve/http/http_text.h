#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "serve/http/http_server.h"

namespace sampan {

// Fills path and query from a request target in origin, absolute or asterisk form. Throws HttpError
// 400.
void parse_target(std::string_view target, HttpRequest& request);

// A to Z as small letters, all other bytes as they are.
std::string lower_ascii(std::string_view text);

std::string fmt_body_limit(std::uint64_t limit);

// A client's request id that may be repeated in a header and a log line, or else a new one of 128
// random bits.
std::string request_id(const HttpRequest& request);

// "HTTP/1.1 200 OK" and the fields, up to the empty line. Control characters in values become '?'.
std::string response_head(int status, const HttpFields& fields);

std::string http_date(std::chrono::system_clock::time_point time);

std::string chunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// What CORS adds to an answer; nothing where the request's origin is not among those allowed.
HttpFields cors_fields(const HttpRequest& request, const std::vector<std::string>& origins);
bool is_preflight(const HttpRequest& request);

}  // namespace sampan
