#include "serve_trace.h"

#include <algorithm>
#include <fstream>

#include "base/error.h"

namespace sampan {
namespace {

// Errors of a setting's value, with its name before them.
template <typename Call>
auto named(const char* setting, Call call) {
  try {
    return call();
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "{}: {}", setting, error.what());
  }
}

SpanAttributes resource_of(const TraceSettings& settings) {
  SpanAttributes resource = {{"service.version", SAMPAN_VERSION},
                             {"service.instance.id", new_trace_id().hex()},
                             {"telemetry.sdk.name", "sampan"},
                             {"telemetry.sdk.language", "cpp"},
                             {"telemetry.sdk.version", SAMPAN_VERSION}};
  const auto put = [&](const std::string& name, const std::string& value) {
    const auto place = std::find_if(resource.begin(), resource.end(), [&](const auto& one) { return one.first == name; });
    if (place == resource.end()) {
      resource.emplace_back(name, value);
    } else {
      place->second = value;
    }
  };
  put("service.name", "sampan");
  for (const auto& [name, value] : named("otel_resource_attributes", [&] { return parse_key_values(settings.resource_attributes); })) put(name, value);
  if (!settings.service_name.empty()) put("service.name", settings.service_name);
  return resource;
}

}  // namespace

std::optional<TracePlan> trace_plan(const TraceSettings& settings) {
  if ((settings.endpoint.empty() && settings.traces_endpoint.empty()) || settings.is_disabled || settings.exporter == "none") return std::nullopt;
  if (settings.exporter != "otlp") fail(ErrorCode::kInvalidArgument, "otel_traces_exporter: \"{}\" is not one of otlp, none", printable(settings.exporter));
  if (settings.protocol != "http/json") {
    fail(ErrorCode::kInvalidArgument, "otlp_protocol: \"{}\" is not supported; traces are sent as http/json, which collectors take on port 4318",
         printable(settings.protocol));
  }
  TracePlan plan;
  plan.sampling = named("otel_traces_sampler", [&] { return parse_sampling(settings.sampler, settings.sampler_argument); });
  if (!settings.traces_endpoint.empty()) {
    plan.collector.url = named("otlp_traces_endpoint", [&] { return checked_url(settings.traces_endpoint); });
  } else {
    plan.collector.url = named("otlp_endpoint", [&] { return traces_url(settings.endpoint); });
  }
  plan.collector.headers = named("otlp_headers", [&] { return parse_header_list(settings.headers); });
  if (settings.timeout.count() < 1) fail(ErrorCode::kInvalidArgument, "otlp_timeout: at least 1ms is needed");
  plan.collector.timeout = settings.timeout;
  plan.collector.ca_file = settings.certificate;
  if (!settings.certificate.empty() && !std::ifstream(settings.certificate))
    fail(ErrorCode::kInvalidArgument, "otlp_certificate: {} cannot be read", printable(settings.certificate, 200));
  plan.collector.user_agent = "sampan/" SAMPAN_VERSION;
  plan.resource = resource_of(settings);
  if (plan.sampling.is_never()) return std::nullopt;  // after all else was looked at
  return plan;
}

std::unique_ptr<Tracer> make_tracer(const std::optional<TracePlan>& plan, const LogWriter& log) {
  if (!plan) return nullptr;
  SpanExporterOptions options;
  options.resource = plan->resource;
  options.version = SAMPAN_VERSION;
  options.log = log;
  return std::make_unique<Tracer>(plan->sampling, std::move(options), std::make_unique<OtlpHttp>(plan->collector));
}

}  // namespace sampan
