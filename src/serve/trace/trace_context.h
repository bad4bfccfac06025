#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sampan {

struct TraceId {
  std::uint64_t high = 0, low = 0;
  bool operator==(const TraceId&) const = default;
  std::string hex() const;  // 32 lower-case digits
};

// Where a request stands in a trace that began elsewhere: what the headers traceparent and
// tracestate say (W3C Trace Context, https://www.w3.org/TR/trace-context/).
struct TraceContext {
  TraceId trace_id;
  std::uint64_t span_id = 0;  // of the caller's span
  bool is_sampled = false;    // the caller records the trace
  std::string state;          // tracestate, to be carried on; "" = none
};

// Nothing for what is malformed in any way: the trace begins anew, as the standard asks. A header
// of a later version is read as far as this one's. state stays empty.
std::optional<TraceContext> parse_traceparent(std::string_view text);

// A tracestate without white space and empty entries; "" for one that is malformed or longer than
// 512 bytes.
std::string parse_tracestate(std::string_view text);

std::string span_id_hex(std::uint64_t id);  // 16 lower-case digits

// Random, never 0. Thread-safe.
TraceId new_trace_id();
std::uint64_t new_span_id();

}  // namespace sampan
