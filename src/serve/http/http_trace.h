#pragma once

#include <memory>
#include <string>

#include "serve/http/http_server.h"

namespace sampan {

// The span of a request whose head was read (its method is a known one then), under its method
// until its route is known; null where there is no tracer. Attributes are those of OpenTelemetry's
// HTTP semantic conventions for servers; of the target only the path.
std::shared_ptr<ActiveSpan> begin_http_span(const HttpOptions& options, const HttpRequest& request,
                                            const ListenAddress& local);

// Ends it with what became of the request.
void end_http_span(ActiveSpan& span, const HttpAccess& access);

}  // namespace sampan
