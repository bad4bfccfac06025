#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/host/inference.h"
#include "serve/trace/span_exporter.h"

namespace sampan {

// What the engine of a model counts; see EngineMetrics.
struct EngineGauges {
  std::string model;
  std::int64_t running = 0, waiting = 0;
  double kv_usage = 0;                               // 0 to 1
  std::int64_t prefix_queries = 0, prefix_hits = 0;  // tokens, since the start
  std::int64_t preemptions = 0;
};

// What the server counts, under the names that vLLM's dashboards know. Thread-safe.
class Metrics {
 public:
  // Both are called for each text(); what has no reader is left out.
  explicit Metrics(std::function<std::vector<EngineGauges>()> read_engines = nullptr,
                   std::function<SpanCounts()> read_spans = nullptr);
  ~Metrics();

  // A sink that counts what passes on its way to `next`, under the name of a served model; nothing
  // where the request names none: clients' words make no series. A request whose sink is let go of
  // before its end was aborted.
  std::shared_ptr<InferenceSink> watch(const InferenceRequest& request,
                                       const std::optional<std::string>& served_name,
                                       std::shared_ptr<InferenceSink> next);
  // Texts that were read for vectors or logits.
  void count_pooling(const std::string& model, std::int64_t prompt_tokens, double seconds);

  // Prometheus' text format 0.0.4.
  std::string text() const;

 private:
  class Sink;
  struct State;  // shared with the sinks: requests may outlive this

  std::shared_ptr<State> state_;
};

}  // namespace sampan
