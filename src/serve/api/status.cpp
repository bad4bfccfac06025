#include "serve/api/status.h"

namespace sampan {

void health(Call call) { call.respond(Json{{"status", "ok"}}); }

void version(Call call) {
  Json body = Json::object();
  body["version"] = call.api.options.version;
  call.respond(body);
}

void metrics_text(Call call) {
  call.respond(text_response(call.api.metrics.text(), "text/plain; version=0.0.4; charset=utf-8"));
}

}  // namespace sampan
