#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "serve/trace/trace_context.h"

namespace sampan {

using SpanValue = std::variant<std::string, std::int64_t, double, bool, std::vector<std::string>>;
using SpanAttributes = std::vector<std::pair<std::string, SpanValue>>;

// Numbers as OTLP has them.
enum class SpanKind : std::uint8_t { kInternal = 1, kServer = 2 };

struct SpanEvent {
  std::string name;
  std::int64_t time = 0;  // Unix nanoseconds
};

// Something that was done, from when to when, within a trace.
struct Span {
  TraceId trace_id;
  std::uint64_t id = 0;
  std::uint64_t parent_id = 0;     // 0: the trace's root
  bool has_remote_parent = false;  // in another process
  std::string trace_state;
  std::string name;
  SpanKind kind = SpanKind::kInternal;
  std::int64_t start = 0, end = 0;  // Unix nanoseconds
  SpanAttributes attributes;
  std::vector<SpanEvent> events;
  bool has_failed = false;
};

}  // namespace sampan
