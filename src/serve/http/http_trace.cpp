#include "serve/http/http_trace.h"

namespace sampan {
namespace {

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
  auto span =
      options.tracer->begin(request.method, request.arrival, only_header(request, "traceparent"),
                            joined_headers(request, "tracestate"));
  if (!span->is_recorded()) return span;
  span->set("http.request.method", request.method);
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
