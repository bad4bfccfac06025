#include "serve/http/http_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <random>

#include "serve/http/request_reader.h"

namespace sampan {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text, bool plus_is_space) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0 || high * 16 + low == 0)
        throw HttpError(400, "the target has a broken % escape");
      result += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      result += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return result;
}

void check_path(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t end = std::min(path.size(), path.find('/'));
    if (path.substr(0, end) == "." || path.substr(0, end) == "..")
      throw HttpError(400, "the path has a part . or ..");
    path.remove_prefix(end);
  }
}

std::string random_id() {
  thread_local std::mt19937_64 random{std::random_device{}() ^
                                      (std::uint64_t{std::random_device{}()} << 32)};
  return fmt::format("{:016x}{:016x}", random(), random());
}

}  // namespace

std::optional<std::string_view> HttpRequest::header(std::string_view name) const {
  for (const auto& [field, value] : headers) {
    if (field == name) return value;
  }
  return std::nullopt;
}

void parse_target(std::string_view target, HttpRequest& request) {
  if (target == "*" && request.method == "OPTIONS") {
    request.path = "/";
    return;
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    const std::size_t path = target.find_first_of("/?");
    target = path == std::string_view::npos ? "/" : target.substr(path);
    break;
  }
  if (!target.starts_with('/')) throw HttpError(400, "the target does not begin with /");
  target = target.substr(0, target.find('#'));
  const std::size_t question = target.find('?');
  request.path = percent_decoded(target.substr(0, question), false);
  check_path(request.path);
  if (question == std::string_view::npos) return;
  std::string_view query = target.substr(question + 1);
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    request.query.emplace_back(
        percent_decoded(pair.substr(0, equals), true),
        equals == std::string_view::npos ? "" : percent_decoded(pair.substr(equals + 1), true));
  }
}

std::string lower_ascii(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string fmt_body_limit(std::uint64_t limit) {
  return fmt::format("the request's body is larger than {} bytes", limit);
}

std::string request_id(const HttpRequest& request) {
  const auto given = request.header("x-request-id");
  const auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  if (given && !given->empty() && given->size() <= 128 &&
      std::all_of(given->begin(), given->end(), is_plain))
    return std::string(*given);
  return random_id();
}

std::string response_head(int status, const HttpFields& fields) {
  const auto reason =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\n", status, std::string_view(reason.data(), reason.size()));
  for (const auto& [name, value] : fields) {
    head += name;
    head += ": ";
    for (const char c : value) head += static_cast<unsigned char>(c) < ' ' || c == 0x7F ? '?' : c;
    head += "\r\n";
  }
  return head + "\r\n";
}

std::string http_date(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[parts.tm_wday], parts.tm_mday,
                     kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
                     parts.tm_sec);
}

std::string chunk(std::string_view bytes) {
  std::string text = fmt::format("{:x}\r\n", bytes.size());
  text += bytes;
  text += "\r\n";
  return text;
}

HttpFields cors_fields(const HttpRequest& request, const std::vector<std::string>& origins) {
  const auto origin = request.header("origin");
  if (!origin) return {};
  const bool any = std::find(origins.begin(), origins.end(), "*") != origins.end();
  if (!any && std::find(origins.begin(), origins.end(), *origin) == origins.end()) return {};
  HttpFields fields = {
      {"access-control-allow-origin", any ? "*" : std::string(*origin)},
      {"access-control-expose-headers",
       "x-request-id, request-id, x-sampan-ignored, openai-processing-ms, retry-after"}};
  if (!any) fields.emplace_back("vary", "origin");
  if (is_preflight(request)) {
    fields.emplace_back("access-control-allow-methods", "GET, POST, DELETE, OPTIONS");
    fields.emplace_back("access-control-allow-headers",
                        std::string(request.header("access-control-request-headers")
                                        .value_or("authorization, content-type")));
    fields.emplace_back("access-control-max-age", "600");
  }
  return fields;
}

bool is_preflight(const HttpRequest& request) {
  return request.method == "OPTIONS" && request.header("origin") &&
         request.header("access-control-request-method");
}

}  // namespace sampan
