#include "serve/api/route.h"

#include <algorithm>
#include <typeinfo>

#include "base/error.h"

namespace sampan {
namespace {

// A header's value for names that a client chose: few, printable, without what separates them.
std::string header_list(const std::vector<std::string>& names) {
  constexpr std::size_t kLongest = 1024;
  std::string list;
  for (const std::string& name : names) {
    std::string word = printable(name);
    for (char& c : word) {
      if (c == ',' || static_cast<unsigned char>(c) < 0x21 || static_cast<unsigned char>(c) > 0x7E)
        c = '?';
    }
    if (list.size() + word.size() > kLongest) return list + ", ...";
    list += list.empty() ? word : ", " + word;
  }
  return list;
}

// Whether the path is the route's; `parameter` is what {…} stands for.
bool matches(std::string_view pattern, std::string_view path, std::string& parameter) {
  const std::size_t brace = pattern.find('{');
  if (brace == std::string_view::npos) return pattern == path;
  if (path.size() <= brace || path.substr(0, brace) != pattern.substr(0, brace)) return false;
  parameter = path.substr(brace);
  return true;
}

void log_error(const ApiContext& context, const HttpRequest& request, const ApiError& told,
               const std::string& what) {
  if (told.status != 500) return;
  write_log(context.options.log, LogLevel::kError, "request failed",
            {{"request_id", request.request_id}, {"path", request.path}, {"error", what}});
}

}  // namespace

ApiError log_failure(const ApiContext& context, const HttpRequest& request,
                     const std::exception_ptr& caught) {
  std::string what;
  try {
    std::rethrow_exception(caught);
  } catch (const ApiError& error) {
    return error;  // whoever threw it has decided, and logged
  } catch (const Error& error) {
    return log_failure(context, request, error);
  } catch (const InternalError& error) {
    what = error.what();
  } catch (const std::exception& error) {
    what = typeid(error).name();  // a library's words may quote the request
  }
  ApiError told = to_api_error(caught);
  log_error(context, request, told, what);
  return told;
}

ApiError log_failure(const ApiContext& context, const HttpRequest& request, const Error& error) {
  ApiError told = to_api_error(error);
  log_error(context, request, told, error.what());
  return told;
}

Json Call::parse() const { return parse_json(request().body); }

Body Call::check(const Json& json) {
  SAMPAN_CHECK(route.fields != nullptr);
  return Body(json, route.fields(), &ignored);
}

HttpFields Call::headers() const {
  HttpFields fields;
  if (!ignored.empty()) fields.emplace_back("x-sampan-ignored", header_list(ignored));
  if (dialect == Dialect::kAnthropic) fields.emplace_back("request-id", request().request_id);
  if (dialect == Dialect::kOpenAi) {
    const auto taken = std::chrono::steady_clock::now() - request().arrival;
    fields.emplace_back(
        "openai-processing-ms",
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(taken).count()));
  }
  return fields;
}

void Call::respond(HttpResponse response) const {
  for (auto& field : headers()) {
    const bool is_there =
        std::any_of(response.headers.begin(), response.headers.end(),
                    [&](const auto& other) { return other.first == field.first; });
    if (!is_there) response.headers.push_back(std::move(field));
  }
  exchange->respond(std::move(response));
}

std::chrono::steady_clock::time_point Call::deadline() const {
  if (api.options.deadline.count() <= 0) return std::chrono::steady_clock::time_point::max();
  return request().arrival + api.options.deadline;
}

RouteMatch find_route(std::string_view method, std::string_view path) {
  RouteMatch match;
  for (const Route& route : routes()) {
    std::string parameter;
    if (!matches(route.path, path, parameter)) continue;
    if (route.method == method || (route.method == "GET" && method == "HEAD")) {
      match.route = &route;
      match.parameter = std::move(parameter);
      return match;
    }
    if (!match.allowed.empty()) match.allowed += ", ";
    match.allowed += route.method == "GET" ? "GET, HEAD" : route.method;
  }
  return match;
}

Dialect dialect_of(const HttpRequest& request, const Route* route) {
  if (request.path.starts_with("/v1/models") && request.header("anthropic-version"))
    return Dialect::kAnthropic;
  if (route != nullptr) return route->dialect;
  if (request.path.starts_with("/api/")) return Dialect::kOllama;
  if (request.path.starts_with("/v1/messages")) return Dialect::kAnthropic;
  return Dialect::kOpenAi;
}

}  // namespace sampan
