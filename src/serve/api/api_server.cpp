#include "serve/api/api_server.h"

#include <malloc.h>

#include <algorithm>

#include "base/text.h"
#include "serve/api/origin.h"
#include "serve/api/route.h"
#include "serve/api/workers.h"
#include "serve/http/http_text.h"

namespace sampan {
namespace {

bool is_json_type(const HttpRequest& head) {
  const std::string type = lower_ascii(trimmed(head.header("content-type").value_or("")));
  return trimmed(std::string_view(type).substr(0, type.find(';'))) == "application/json";
}

// "Bearer KEY" or x-api-key.
std::vector<std::string_view> presented_keys(const HttpRequest& head) {
  std::vector<std::string_view> keys;
  if (const auto value = head.header("authorization")) {
    const std::string_view text = trimmed(*value);
    if (text.size() > 7 && lower_ascii(text.substr(0, 7)) == "bearer ")
      keys.push_back(trimmed(text.substr(7)));
  }
  if (const auto value = head.header("x-api-key")) keys.push_back(trimmed(*value));
  return keys;
}

// A large body's values are many small pieces that glibc would keep for the thread that read them,
// ten times the body's size and more.
void give_back_memory([[maybe_unused]] std::size_t body_bytes) {
#ifdef __GLIBC__
  constexpr std::size_t kLarge = 4 << 20;
  if (body_bytes >= kLarge) ::malloc_trim(0);
#endif
}

}  // namespace

struct ApiServer::Parts {
  const KeyRing& keys;
  std::shared_ptr<const ApiContext> context;
  Workers workers;  // the last member: its threads use the others

  Parts(const KeyRing& key_ring, ApiContext parts)
      : keys(key_ring),
        context(std::make_shared<const ApiContext>(std::move(parts))),
        workers(context->options.threads) {}

  // Nothing when the request may not come in.
  std::optional<Caller> caller(const HttpRequest& head) const {
    if (keys.is_open()) return Caller{};
    for (const std::string_view key : presented_keys(head)) {
      if (auto id = keys.find(key)) return Caller{std::move(*id)};
    }
    return std::nullopt;
  }

  // The error that the head alone is refused with.
  std::optional<ApiError> refusal(const HttpRequest& head, const RouteMatch& match) const;

  void handle(const std::shared_ptr<Exchange>& exchange) const;
};

std::optional<ApiError> ApiServer::Parts::refusal(const HttpRequest& head,
                                                  const RouteMatch& match) const {
  if (keys.is_open()) {
    if (const auto reason = foreign_page(head, context->options.origins))
      return ApiError(403, *reason, "", "origin_not_allowed");
  }
  const bool is_public = match.route != nullptr && !match.route->needs_key;
  if (!is_public && !caller(head)) {
    const bool has_key = !presented_keys(head).empty();
    return ApiError(401, has_key ? "Incorrect API key provided."
                                 : "You didn't provide an API key. Send it in an Authorization "
                                   "header (\"Bearer KEY\") or as x-api-key.");
  }
  if (match.route == nullptr && match.allowed.empty()) {
    return ApiError(404, "There is no route " + head.method + " " + printable(head.path, 200) + ".",
                    "", "unknown_url");
  }
  if (match.route == nullptr) {
    return ApiError(405, "Not allowed: " + printable(head.method) + " " +
                             printable(head.path, 200) + ". Allowed: " + match.allowed + ".");
  }
  if (match.route->status != Route::Status::kServed) {
    return ApiError(501, "This server does not offer " + std::string(match.route->path) +
                             (match.route->status == Route::Status::kNotThere ? " yet." : "."));
  }
  const std::string coding =
      lower_ascii(trimmed(head.header("content-encoding").value_or("identity")));
  if (coding != "identity") {
    return ApiError(415, "Bodies in the content coding " + printable(coding) + " are not read.", "",
                    "unsupported_content_encoding");
  }
  if (match.route->wants_json && !is_json_type(head)) {
    return ApiError(415, "The content type must be application/json.", "",
                    "unsupported_content_type");
  }
  return std::nullopt;
}

ApiServer::ApiServer(InferenceService& service, const KeyRing& keys, ApiOptions options,
                     Metrics& metrics)
    : parts_(std::make_unique<Parts>(keys, ApiContext{service, metrics, std::move(options)})) {}

ApiServer::~ApiServer() = default;

std::optional<HttpResponse> ApiServer::authorize(const HttpRequest& head,
                                                 std::uint64_t& body_limit) {
  const RouteMatch match = find_route(head.method, head.path);
  if (head.span && match.route != nullptr) {
    head.span->set("http.route", std::string(match.route->path));
    head.span->rename(head.method + " " + std::string(match.route->path));
  }
  if (const auto error = parts_->refusal(head, match)) {
    HttpResponse response = error_response(dialect_of(head, match.route), *error, head.request_id);
    if (error->status == 405) response.headers.emplace_back("allow", match.allowed);
    return response;
  }
  body_limit = std::min(body_limit, parts_->context->options.body_limit);
  return std::nullopt;
}

void ApiServer::Parts::handle(const std::shared_ptr<Exchange>& exchange) const {
  const HttpRequest& request = exchange->request();
  const RouteMatch match = find_route(request.method, request.path);
  const Dialect dialect = dialect_of(request, match.route);
  try {
    // Keys may have changed since the head came.
    if (const auto error = refusal(request, match)) throw ApiError(*error);
    match.route->handler({context,
                          exchange,
                          *match.route,
                          dialect,
                          match.parameter,
                          caller(request).value_or(Caller{}),
                          {}});
  } catch (...) {
    const ApiError error = log_failure(*context, request, std::current_exception());
    exchange->respond(error_response(dialect, error, request.request_id));
  }
}

void ApiServer::handle(std::shared_ptr<Exchange> exchange) {
  if (parts_->context->options.threads == 0 || exchange->request().method != "POST")
    return parts_->handle(exchange);
  parts_->workers.run([this, exchange = std::move(exchange)] {
    const std::size_t size = exchange->request().body.size();
    parts_->handle(exchange);
    give_back_memory(size);
  });
}

HttpResponse ApiServer::error(const HttpRequest* head, int status, std::string_view message) {
  const std::string text(message);
  if (head == nullptr) return error_response(Dialect::kOpenAi, ApiError(status, text), "");
  return error_response(dialect_of(*head, nullptr), ApiError(status, text), head->request_id);
}

}  // namespace sampan
