#include "serve/api/dialect.h"

#include <fmt/core.h>
#include <openssl/rand.h>

#include <array>
#include <chrono>
#include <ctime>

namespace sampan {
namespace {

std::string openai_type(int status) {
  if (status == 429) return "rate_limit_error";
  if (status == 503) return "overloaded_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json openai_error(const ApiError& error) {
  std::string code = error.code;
  if (code.empty() && error.status == 401) code = "invalid_api_key";
  return {{"error",
           {{"message", error.what()},
            {"type", openai_type(error.status)},
            {"param", text_or_null(error.param)},
            {"code", text_or_null(code)}}}};
}

int anthropic_status(int status) {
  switch (status) {
    case 503:
      return 529;
    case 408:
      return 504;
    default:
      return status;
  }
}

std::string anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 504:
      return "timeout_error";
    case 529:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

// Its clients look for Ollama's words to offer a pull.
std::string ollama_message(const ApiError& error) {
  constexpr std::string_view kBefore = "The model `", kAfter = "` does not exist.";
  const std::string_view text = error.what();
  if (error.code != "model_not_found" || text.size() < kBefore.size() + kAfter.size() ||
      !text.starts_with(kBefore) || !text.ends_with(kAfter))
    return std::string(text);
  const std::size_t length = text.size() - kBefore.size() - kAfter.size();
  return fmt::format("model '{}' not found", text.substr(kBefore.size(), length));
}

Json anthropic_error(const ApiError& error, const std::string& request_id) {
  // Its clients look for the field's name in the message, as there is no param.
  std::string message = error.what();
  if (!error.param.empty() && message.find(error.param) == std::string::npos)
    message = error.param + ": " + message;
  return {
      {"type", "error"},
      {"error", {{"type", anthropic_type(anthropic_status(error.status))}, {"message", message}}},
      {"request_id", request_id}};
}

}  // namespace

Json error_object(Dialect dialect, const ApiError& error, const std::string& request_id) {
  switch (dialect) {
    case Dialect::kAnthropic:
      return anthropic_error(error, request_id);
    case Dialect::kOllama:
      return {{"error", ollama_message(error)}};
    case Dialect::kOpenAi:
      break;
  }
  return openai_error(error);
}

HttpResponse error_response(Dialect dialect, const ApiError& error, const std::string& request_id) {
  const int status = dialect == Dialect::kAnthropic ? anthropic_status(error.status) : error.status;
  HttpResponse response = json_response(error_object(dialect, error, request_id), status);
  if (error.status == 503 || error.status == 429) response.headers.emplace_back("retry-after", "1");
  if (error.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  if (dialect == Dialect::kAnthropic) response.headers.emplace_back("request-id", request_id);
  return response;
}

HttpResponse json_response(const Json& body, int status) {
  return {status, {{"content-type", "application/json"}}, dump(body)};
}

HttpResponse text_response(std::string body, std::string content_type) {
  return {200, {{"content-type", std::move(content_type)}}, std::move(body)};
}

std::string new_id(const char* prefix) {
  std::array<unsigned char, 12> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    fail(ErrorCode::kIo, "the system gives no random bytes");
  std::string id = prefix;
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

std::int64_t unix_seconds() { return static_cast<std::int64_t>(std::time(nullptr)); }

std::string utc_time(std::int64_t microseconds) {
  const auto seconds = static_cast<std::time_t>(microseconds / 1000000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     microseconds % 1000000);
}

}  // namespace sampan
