#include "serve/http/http_trace.h"

#include <algorithm>
#include <iterator>

namespace sampan {
namespace {

// Methods that are shown as such; what else clients make up has one name.
bool is_known_method(std::string_view method) {
  constexpr std::string_view kMethods[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                           "CONNECT", "OPTIONS", "TRACE", "PATCH"};
  return std::find(std::begin(kMethods), std::end(kMethods), method) != std::end(kMethods);
}

// The value of a header that comes once; two disagree, and count as none.
std::string_view only_header(const HttpRequest& request, std::string_view name) {
  std::string_view found;
  for (const auto& [field, value] : request.headers) {
    if (field != name) continue;
    if (!found.empty()) return {};
    found = value;
  }
  return found;
}

// tracestate may come in several lines, which are one list.
std::string joined_headers(const HttpRequest& request, std::string_view name) {
  std::string joined;
  for (const auto& [field, value] : request.headers) {
    if (field == name) joined += (joined.empty() ? "" : ",") + value;
  }
  return joined;
}

}  // namespace

std::shared_ptr<ActiveSpan> begin_http_span(const HttpOptions& options, const HttpRequest& request,
                                            const ListenAddress& local) {
  if (options.tracer == nullptr) return nullptr;
  const bool is_known = is_known_method(request.method);
  auto span = options.tracer->begin(is_known ? request.method : "HTTP", request.arrival,
                                    only_header(request, "traceparent"),
                                    joined_headers(request, "tracestate"));
  if (!span->is_recorded()) return span;
  span->set("http.request.method", is_known ? request.method : "_OTHER");
  span->set("url.path", request.path);
  span->set("url.scheme", options.tls && local.unix_path.empty() ? "https" : "http");
  if (!local.unix_path.empty()) {
    span->set("server.address", local.unix_path);
  } else if (!local.host.empty()) {
    span->set("server.address", local.host);
    span->set("server.port", std::int64_t{local.port});
  }
  return span;
}

void end_http_span(ActiveSpan& span, const HttpAccess& access) {
  // 499 stands for no answer at all in the log.
  if (access.status != 499) span.set("http.response.status_code", std::int64_t{access.status});
  span.set("sampan.request_id", access.request_id);
  if (access.status >= 500) {
    span.fail(std::to_string(access.status));
  } else if (!access.is_whole) {
    span.fail("aborted");
  }
  span.end();
}

}  // namespace sampan
