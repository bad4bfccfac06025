#include "serve/trace/otlp_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace sampan {
namespace {

using Json = nlohmann::ordered_json;

// Flags of a span: the lowest byte is the W3C one, which says here that it is sampled.
constexpr std::uint32_t kSampled = 0x01, kKnowsRemote = 0x100, kIsRemote = 0x200;
constexpr int kStatusError = 2;

Json value_json(const std::string& value) { return {{"stringValue", value}}; }
Json value_json(std::int64_t value) { return {{"intValue", std::to_string(value)}}; }
Json value_json(bool value) { return {{"boolValue", value}}; }
Json value_json(double value) {
  if (std::isfinite(value)) return {{"doubleValue", value}};
  return {{"doubleValue", std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity"}};
}
Json value_json(const std::vector<std::string>& values) {
  Json list = Json::array();
  for (const std::string& value : values) list.push_back(value_json(value));
  return {{"arrayValue", {{"values", std::move(list)}}}};
}

Json attributes_json(const SpanAttributes& attributes) {
  Json list = Json::array();
  for (const auto& [name, value] : attributes) {
    Json one = Json::object();
    one["key"] = name;
    one["value"] = std::visit([](const auto& v) { return value_json(v); }, value);
    list.push_back(std::move(one));
  }
  return list;
}

Json span_json(const Span& span) {
  Json json = {{"traceId", span.trace_id.hex()}, {"spanId", span_id_hex(span.id)}};
  if (!span.trace_state.empty()) json["traceState"] = span.trace_state;
  if (span.parent_id != 0) json["parentSpanId"] = span_id_hex(span.parent_id);
  json["flags"] = kSampled | kKnowsRemote | (span.has_remote_parent ? kIsRemote : 0);
  json["name"] = span.name;
  json["kind"] = static_cast<int>(span.kind);
  json["startTimeUnixNano"] = std::to_string(span.start);
  json["endTimeUnixNano"] = std::to_string(span.end);
  json["attributes"] = attributes_json(span.attributes);
  if (!span.events.empty()) json["events"] = Json::array();
  for (const SpanEvent& event : span.events)
    json["events"].push_back({{"timeUnixNano", std::to_string(event.time)}, {"name", event.name}});
  json["status"] = Json::object();
  if (span.has_failed) json["status"]["code"] = kStatusError;
  return json;
}

}  // namespace

std::string otlp_json(const SpanAttributes& resource, std::string_view version,
                      std::span<const Span> spans) {
  Json list = Json::array();
  for (const Span& span : spans) list.push_back(span_json(span));
  Json scope = Json::object();
  scope["scope"] = {{"name", "sampan"}, {"version", version}};
  scope["spans"] = std::move(list);
  Json all = Json::object();
  all["resource"]["attributes"] = attributes_json(resource);
  all["scopeSpans"] = Json::array({std::move(scope)});
  Json request = Json::object();
  request["resourceSpans"] = Json::array({std::move(all)});
  return request.dump(-1, ' ', false, Json::error_handler_t::replace);
}

OtlpReply parse_otlp_reply(std::string_view body) {
  OtlpReply reply;
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return reply;
  const auto partial = json.find("partialSuccess");
  if (partial == json.end() || !partial->is_object()) return reply;
  if (const auto count = partial->find("rejectedSpans"); count != partial->end()) {
    if (count->is_number_unsigned()) {
      const auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      reply.rejected = static_cast<std::int64_t>(std::min(count->get<std::uint64_t>(), limit));
    } else if (count->is_string()) {
      const auto& text = count->get_ref<const std::string&>();
      std::from_chars(text.data(), text.data() + text.size(), reply.rejected);
    }
  }
  reply.rejected = std::max<std::int64_t>(0, reply.rejected);
  if (const auto why = partial->find("errorMessage"); why != partial->end() && why->is_string())
    reply.message = why->get<std::string>();
  return reply;
}

}  // namespace sampan
