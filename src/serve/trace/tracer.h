#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "serve/trace/span_exporter.h"

namespace sampan {

// Which traces are recorded: `ratio` of those that begin here, chosen by their ids, and of those
// that a caller began the ones that it records itself, or `ratio` too.
struct Sampling {
  bool follows_parent = true;
  double ratio = 1;

  bool is_never() const { return !follows_parent && ratio <= 0; }
};

// OTEL_TRACES_SAMPLER and its argument ("" = 1): always_on, always_off, traceidratio, and each with
// parentbased_ before it. Throws Error kInvalidArgument.
Sampling parse_sampling(const std::string& name, const std::string& argument);

// A span that is under way, or, in a trace that is not recorded, the mere ids of one, whose calls
// do nothing. What is let go of without an end was never there. Thread-safe.
class ActiveSpan {
 public:
  using Clock = std::chrono::steady_clock;

  // exporter: null where the trace is not recorded; outlives the span. unix_offset: nanoseconds
  // from the steady clock's to the Unix epoch, one for a whole trace, so that its times agree.
  ActiveSpan(SpanExporter* exporter, Span span, std::int64_t unix_offset);

  bool is_recorded() const { return exporter_ != nullptr; }
  std::string trace_id() const { return trace_id_.hex(); }

  void rename(std::string name);
  // Texts are cut to 1 KiB. Each name once.
  void set(std::string name, SpanValue value);
  void add_event(std::string name);
  // What was done failed: error.type, and the status of the span.
  void fail(std::string error_type);
  // The first call counts; calls of the others do nothing after it.
  void end();
  // A span within this one. Null where the trace is not recorded.
  std::shared_ptr<ActiveSpan> child(std::string name, Clock::time_point start) const;

 private:
  std::int64_t unix_time(Clock::time_point time) const;

  SpanExporter* const exporter_;
  const TraceId trace_id_;
  const std::int64_t unix_offset_;
  mutable std::mutex mutex_;  // guards what follows
  Span span_;
  bool is_over_ = false;
};

// Begins the spans of requests and sends them when they end. Thread-safe.
class Tracer {
 public:
  Tracer(const Sampling& sampling, SpanExporterOptions options,
         std::unique_ptr<SpanTransport> transport);
  // Spans are let go of before. Sends what is left, for the options' last_flush at most.
  ~Tracer() = default;

  // The span of a request that began at `start`. traceparent, tracestate: the headers' values, ""
  // for none; what is malformed counts as none.
  std::shared_ptr<ActiveSpan> begin(std::string name, ActiveSpan::Clock::time_point start,
                                    std::string_view traceparent, std::string_view tracestate);
  bool flush(std::chrono::milliseconds longest) { return exporter_.flush(longest); }
  SpanCounts counts() const { return exporter_.counts(); }

 private:
  bool is_sampled(const TraceId& id, const std::optional<TraceContext>& parent) const;

  const Sampling sampling_;
  SpanExporter exporter_;
};

}  // namespace sampan
