#include "serve/trace/tracer.h"

#include <charconv>
#include <cmath>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxText = 1024;

std::int64_t nanoseconds(std::chrono::nanoseconds time) { return time.count(); }

// Not within a character.
void cut(std::string& text) {
  if (text.size() <= kMaxText) return;
  std::size_t size = kMaxText;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  text.resize(size);
}

double parse_ratio(const std::string& text) {
  if (text.empty()) return 1;
  double ratio = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ratio);
  if (error != std::errc() || end != text.data() + text.size() || !(ratio >= 0 && ratio <= 1))
    fail(ErrorCode::kInvalidArgument, "the sampler's argument \"{}\" is not a number from 0 to 1",
         printable(text));
  return ratio;
}

}  // namespace

Sampling parse_sampling(const std::string& name, const std::string& argument) {
  constexpr std::string_view kByParent = "parentbased_";
  Sampling sampling;
  sampling.follows_parent = name.starts_with(kByParent);
  const std::string rest = sampling.follows_parent ? name.substr(kByParent.size()) : name;
  if (rest == "always_on") {
    sampling.ratio = 1;
  } else if (rest == "always_off") {
    sampling.ratio = 0;
  } else if (rest == "traceidratio") {
    sampling.ratio = parse_ratio(argument);
  } else {
    fail(ErrorCode::kInvalidArgument,
         "there is no sampler \"{}\": always_on, always_off, traceidratio, or one of them with "
         "parentbased_ before it",
         printable(name));
  }
  return sampling;
}

ActiveSpan::ActiveSpan(SpanExporter* exporter, Span span, std::int64_t unix_offset)
    : exporter_(exporter),
      trace_id_(span.trace_id),
      unix_offset_(unix_offset),
      span_(std::move(span)) {}

std::int64_t ActiveSpan::unix_time(Clock::time_point time) const {
  return nanoseconds(time.time_since_epoch()) + unix_offset_;
}

void ActiveSpan::rename(std::string name) {
  if (!is_recorded()) return;
  cut(name);
  const std::lock_guard lock(mutex_);
  span_.name = std::move(name);
}

void ActiveSpan::set(std::string name, SpanValue value) {
  if (!is_recorded()) return;
  if (auto* const text = std::get_if<std::string>(&value)) cut(*text);
  const std::lock_guard lock(mutex_);
  span_.attributes.emplace_back(std::move(name), std::move(value));
}

void ActiveSpan::add_event(std::string name) {
  if (!is_recorded()) return;
  const std::int64_t now = unix_time(Clock::now());
  const std::lock_guard lock(mutex_);
  span_.events.push_back({std::move(name), now});
}

void ActiveSpan::fail(std::string error_type) {
  set("error.type", std::move(error_type));
  const std::lock_guard lock(mutex_);
  span_.has_failed = true;
}

void ActiveSpan::end() {
  if (!is_recorded()) return;
  const std::int64_t now = unix_time(Clock::now());
  Span done;
  {
    const std::lock_guard lock(mutex_);
    if (is_over_) return;
    is_over_ = true;
    span_.end = now;
    done = std::move(span_);
  }
  exporter_->add(std::move(done));
}

std::shared_ptr<ActiveSpan> ActiveSpan::child(std::string name, Clock::time_point start) const {
  if (!is_recorded()) return nullptr;
  Span span;
  {
    const std::lock_guard lock(mutex_);
    span.parent_id = span_.id;
    span.trace_state = span_.trace_state;
  }
  span.trace_id = trace_id_;
  span.id = new_span_id();
  span.name = std::move(name);
  span.start = unix_time(start);
  return std::make_shared<ActiveSpan>(exporter_, std::move(span), unix_offset_);
}

Tracer::Tracer(const Sampling& sampling, SpanExporterOptions options,
               std::unique_ptr<SpanTransport> transport)
    : sampling_(sampling), exporter_(std::move(options), std::move(transport)) {}

bool Tracer::is_sampled(const TraceId& id, const std::optional<TraceContext>& parent) const {
  if (parent && sampling_.follows_parent) return parent->is_sampled;
  if (sampling_.ratio >= 1) return true;
  // The lower half of the id as a fraction of its range, as the OpenTelemetry SDKs compare it, so
  // that all parts of a system choose the same traces.
  return static_cast<double>(id.low >> 1) < std::ldexp(sampling_.ratio, 63);
}

std::shared_ptr<ActiveSpan> Tracer::begin(std::string name, ActiveSpan::Clock::time_point start,
                                          std::string_view traceparent,
                                          std::string_view tracestate) {
  using std::chrono::system_clock;
  const std::int64_t offset = nanoseconds(system_clock::now().time_since_epoch()) -
                              nanoseconds(ActiveSpan::Clock::now().time_since_epoch());
  const std::optional<TraceContext> parent = parse_traceparent(traceparent);
  Span span;
  span.trace_id = parent ? parent->trace_id : new_trace_id();
  span.id = new_span_id();
  if (parent) {
    span.parent_id = parent->span_id;
    span.has_remote_parent = true;
    span.trace_state = parse_tracestate(tracestate);
  }
  span.name = std::move(name);
  span.kind = SpanKind::kServer;
  span.start = nanoseconds(start.time_since_epoch()) + offset;
  SpanExporter* const exporter = is_sampled(span.trace_id, parent) ? &exporter_ : nullptr;
  return std::make_shared<ActiveSpan>(exporter, std::move(span), offset);
}

}  // namespace sampan
