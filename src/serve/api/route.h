#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/api_server.h"
#include "serve/api/dialect.h"
#include "serve/api/fields.h"

namespace sampan {

// What every handler works with.
struct ApiContext {
  InferenceService& service;
  Metrics& metrics;
  const ApiOptions options;
};

// Tells the log of a failure that is answered with 500: a bug of ours, or what the machine did
// wrong. Nothing of the request but its id and path. Returns what the client is told.
ApiError log_failure(const ApiContext& context, const HttpRequest& request,
                     const std::exception_ptr& caught);
ApiError log_failure(const ApiContext& context, const HttpRequest& request, const Error& error);

struct Route;

// One request on its way through its handler.
struct Call {
  std::shared_ptr<const ApiContext> context;  // kept by what still runs when the server goes
  std::shared_ptr<Exchange> exchange;
  const Route& route;
  Dialect dialect;
  std::string parameter;  // what {…} of the route's path is
  Caller caller;
  std::vector<std::string> ignored;  // fields that changed nothing
  const ApiContext& api = *context;

  const HttpRequest& request() const { return exchange->request(); }
  // The body as JSON, checked against the route's fields; `ignored` collects. Both throw ApiError.
  Json parse() const;
  Body check(const Json& json);
  // What every answer of the dialect carries.
  HttpFields headers() const;
  void respond(HttpResponse response) const;
  void respond(const Json& body, int status = 200) const { respond(json_response(body, status)); }
  std::chrono::steady_clock::time_point deadline() const;
};

// An endpoint. One table of them serves routing, authorization and the reference page.
struct Route {
  enum class Status { kServed, kNotThere, kRefused };

  std::string_view method = {};  // GET routes answer HEAD as well
  std::string_view path = {};    // may end in {…}, which takes the rest, slashes included
  Dialect dialect = Dialect::kOpenAi;
  void (*handler)(Call call) = nullptr;  // answers, or throws before it has; null: 501
  std::string_view summary = {};         // for the reference page
  const FieldTable& (*fields)() = nullptr;
  std::string_view operation = {};  // of GenAI spans: "chat", …; "" = nothing is inferred
  bool wants_json = false;          // 415 for a body of another content type
  bool needs_key = true;
  Status status = Status::kServed;
};

const std::vector<Route>& routes();

struct RouteMatch {
  const Route* route = nullptr;  // null: no such path, or not with this method
  std::string parameter;
  std::string allowed;  // methods of the path
};
RouteMatch find_route(std::string_view method, std::string_view path);

// The dialect of a path's errors, whether or not there is a route.
Dialect dialect_of(const HttpRequest& request, const Route* route);

}  // namespace sampan
