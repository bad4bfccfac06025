#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "serve/trace/span.h"

namespace sampan {

// The body of an OTLP/HTTP request: ExportTraceServiceRequest in the protocol's JSON (ids as
// hexadecimal digits, 64-bit integers as strings, field names in lowerCamelCase;
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding). Bytes that are no UTF-8 become
// U+FFFD.
std::string otlp_json(const SpanAttributes& resource, std::string_view version,
                      std::span<const Span> spans);

// What a collector that took a request says about it: how many spans it rejected all the same, and
// why. Whatever else a reply holds counts as nothing.
struct OtlpReply {
  std::int64_t rejected = 0;
  std::string message;
};
OtlpReply parse_otlp_reply(std::string_view body);

}  // namespace sampan
