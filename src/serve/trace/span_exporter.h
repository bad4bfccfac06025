#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "serve/trace/span.h"

namespace sampan {

// How a collector took a request.
struct SendResult {
  enum class Kind : std::uint8_t {
    kTaken,
    kRetry,    // it may take the same request later
    kRefused,  // it never will
  };
  Kind kind = Kind::kTaken;
  std::int64_t rejected = 0;                             // spans of a request that was taken
  std::optional<std::chrono::milliseconds> retry_after;  // as the collector asked
  std::string detail;                                    // for the log; "" = nothing to say
};

// The way to a collector.
class SpanTransport {
 public:
  virtual ~SpanTransport() = default;
  // Blocks, until `deadline` at the latest, which may come to be earlier meanwhile. Must not throw.
  virtual SendResult send(const std::string& body) = 0;
  // Has send() give up at that time. From any thread.
  virtual void set_deadline(std::chrono::steady_clock::time_point deadline) = 0;
};

struct SpanExporterOptions {
  // What the OpenTelemetry SDKs do unless told otherwise.
  std::size_t queue = 2048;
  std::size_t batch = 512;
  std::chrono::milliseconds delay{5000};  // that a span waits for others
  int attempts = 5;
  std::chrono::milliseconds first_retry{1000};     // doubles, ±25 %
  std::chrono::milliseconds longest_retry{30000};  // a collector that asks for more is given up on
  std::chrono::milliseconds last_flush{5000};      // that the end of the exporter takes at most
  SpanAttributes resource;                         // what sends the spans
  std::string version;                             // of the program
  LogWriter log;                                   // is told of failures, once a minute at most
};

struct SpanCounts {
  std::int64_t exported = 0;
  std::int64_t failed = 0;   // not taken by the collector
  std::int64_t dropped = 0;  // the queue was full, or there was no time left at the end
};

// Sends spans to a collector in batches, from a thread of its own that sleeps while there is
// nothing to send. Thread-safe.
class SpanExporter {
 public:
  SpanExporter(SpanExporterOptions options, std::unique_ptr<SpanTransport> transport);
  ~SpanExporter();  // sends what is left, for last_flush at most

  // Never blocks on the network; drops the span where the queue is full.
  void add(Span span);
  // Sends what has been added so far. False when that took longer.
  bool flush(std::chrono::milliseconds longest);
  SpanCounts counts() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;

  void work();
  void send(const std::vector<Span>& batch, Lock& lock);
  bool wait_to_retry(const SendResult& result, int failures, Lock& lock);
  void report(const SendResult& result, std::size_t spans, Lock& lock);

  const SpanExporterOptions options_;
  const std::unique_ptr<SpanTransport> transport_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_, sent_;
  std::deque<Span> queue_;
  Clock::time_point oldest_{};  // when the queue's first span came
  SpanCounts counts_;
  std::int64_t added_ = 0, done_ = 0;  // spans that came into the queue, and that left it for good
  int flushing_ = 0;
  std::optional<Clock::time_point> last_report_, end_;
  std::minstd_rand random_{std::random_device{}()};

  std::thread thread_;  // the last member: it uses all others
};

}  // namespace sampan
