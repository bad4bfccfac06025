#pragma once

#include <memory>
#include <optional>

#include "serve/trace/otlp_http.h"
#include "serve/trace/tracer.h"
#include "serve_settings.h"

namespace sampan {

// The traces that `sampan serve` was told to send.
struct TracePlan {
  Sampling sampling;
  OtlpHttpOptions collector;
  SpanAttributes resource;
};

// Nothing where no collector is named or traces are switched off: the other settings are not looked at then. Throws Error kInvalidArgument
// naming the setting.
std::optional<TracePlan> trace_plan(const TraceSettings& settings);

// Null for no plan.
std::unique_ptr<Tracer> make_tracer(const std::optional<TracePlan>& plan, const LogWriter& log);

}  // namespace sampan
