#include "serve/api/metrics.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <mutex>
#include <span>

#include "base/clock.h"

namespace sampan {
namespace {

// Bounds as vLLM has them, so that its dashboards' quantiles stay comparable.
constexpr double kFirstTokenBounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                        0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                        20,    40,    80,   160,  640,  2560};
constexpr double kInterTokenBounds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                        0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
constexpr double kLatencyBounds[] = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                     30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
constexpr double kTokenBounds[] = {1,     2,      5,      10,     20,   50,    100,
                                   200,   500,    1000,   2000,   5000, 10000, 20000,
                                   50000, 100000, 200000, 500000, 1e6};

struct HistogramName {
  const char* name;
  const char* help;
  std::span<const double> bounds;
};

constexpr HistogramName kHistograms[] = {
    {"vllm:time_to_first_token_seconds", "From a request's arrival to its first token.",
     kFirstTokenBounds},
    {"vllm:inter_token_latency_seconds", "Between two tokens of an answer.", kInterTokenBounds},
    {"vllm:e2e_request_latency_seconds", "From a request's arrival to its end.", kLatencyBounds},
    {"vllm:request_queue_time_seconds", "Until a request's first computation.", kLatencyBounds},
    {"vllm:request_prefill_time_seconds", "From there to the first token.", kLatencyBounds},
    {"vllm:request_decode_time_seconds", "From the first token to the last.", kLatencyBounds},
    {"vllm:request_prompt_tokens", "Tokens of a request's prompt.", kTokenBounds},
    {"vllm:request_generation_tokens", "Tokens of a request's answers.", kTokenBounds},
    {"vllm:request_max_num_generation_tokens", "max_tokens of requests that set it.", kTokenBounds},
};

std::string label_value(const std::string& text) {
  std::string value;
  for (const char c : text) {
    if (c == '\\' || c == '"') value += '\\';
    if (c == '\n') {
      value += "\\n";
    } else {
      value += c;
    }
  }
  return value;
}

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void head(std::string& out, const char* name, const char* type, const char* help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void span_counters(std::string& out, const SpanCounts& counts) {
  const auto counter = [&](const char* name, const char* help, std::int64_t value) {
    head(out, name, "counter", help);
    out += fmt::format("{} {}\n", name, value);
  };
  counter("sampan:trace_spans_exported_total", "Spans that the collector took.", counts.exported);
  counter("sampan:trace_spans_failed_total", "Spans that it did not take.", counts.failed);
  counter("sampan:trace_spans_dropped_total", "Spans that found the queue full.", counts.dropped);
}

const char* finished_name(StopReason reason) {
  return reason == StopReason::kLength ? "length" : "stop";
}

}  // namespace

struct Metrics::State {
  enum Kind {
    kFirstToken,
    kInterToken,
    kWhole,
    kQueue,
    kPrefill,
    kDecode,
    kPromptTokens,
    kGenerationTokens,
    kMaxTokens,
    kKinds
  };
  struct Histogram {
    std::vector<std::int64_t> counts;  // one a bound, and one for what is above all
    double sum = 0;
    std::int64_t total = 0;
  };
  struct Model {
    std::array<Histogram, kKinds> histograms;
    std::int64_t prompt_tokens = 0, generation_tokens = 0;
    std::map<std::string, std::int64_t> finished;  // by reason

    void observe(Kind kind, double value, std::int64_t times = 1);
  };

  std::function<std::vector<EngineGauges>()> read_engines;
  std::function<SpanCounts()> read_spans;
  std::mutex mutex;  // guards models
  std::map<std::string, Model> models;
};

class Metrics::Sink : public InferenceSink {
 public:
  Sink(std::shared_ptr<State> state, const InferenceRequest& request, std::string model,
       std::shared_ptr<InferenceSink> next)
      : state_(std::move(state)),
        next_(std::move(next)),
        model_(std::move(model)),
        arrival_(request.arrival),
        max_tokens_(request.max_tokens) {
    last_.resize(static_cast<std::size_t>(std::max(1, request.choices)));
  }
  ~Sink() override {
    if (!is_over_) finish("abort");
  }

  void on_start(const PromptInfo& info) override { next_->on_start(info); }
  void on_prompt(const PromptReport& report) override { next_->on_prompt(report); }
  void on_delta(const AnswerDelta& delta) override {
    count(delta);
    next_->on_delta(delta);
  }
  void on_answer_end(const AnswerEnd& end) override {
    finish(finished_name(end.reason));
    next_->on_answer_end(end);
  }
  void on_end(const Usage& usage) override {
    is_over_ = true;
    {
      const std::lock_guard lock(state_->mutex);
      State::Model& model = state_->models[model_];
      model.prompt_tokens += usage.prompt_tokens;
      model.observe(State::kWhole, seconds_between(arrival_, Clock::now()));
      model.observe(State::kQueue, usage.queue_seconds);
      model.observe(State::kPrefill, usage.prefill_seconds);
      model.observe(State::kDecode, usage.decode_seconds);
      model.observe(State::kPromptTokens, static_cast<double>(usage.prompt_tokens));
      model.observe(State::kGenerationTokens, static_cast<double>(usage.completion_tokens));
      if (max_tokens_) model.observe(State::kMaxTokens, static_cast<double>(*max_tokens_));
    }
    next_->on_end(usage);
  }
  void on_error(const Error& error) override {
    is_over_ = true;
    finish("error");
    next_->on_error(error);
  }

 private:
  void finish(const char* reason) {
    const std::lock_guard lock(state_->mutex);
    state_->models[model_].finished[reason] += 1;
  }
  void count(const AnswerDelta& delta) {
    const auto tokens = static_cast<std::int64_t>(delta.tokens.size());
    if (tokens == 0) return;
    const Clock::time_point now = Clock::now();
    Clock::time_point& last = last_.at(static_cast<std::size_t>(delta.choice));
    const std::lock_guard lock(state_->mutex);
    State::Model& model = state_->models[model_];
    model.generation_tokens += tokens;
    if (!has_first_) model.observe(State::kFirstToken, seconds_between(arrival_, now));
    has_first_ = true;
    if (last != Clock::time_point()) {
      model.observe(State::kInterToken, seconds_between(last, now) / static_cast<double>(tokens),
                    tokens);
    }
    last = now;
  }

  std::shared_ptr<State> state_;
  std::shared_ptr<InferenceSink> next_;
  const std::string model_;
  Clock::time_point arrival_;
  std::optional<std::int64_t> max_tokens_;
  std::vector<Clock::time_point> last_;  // of each choice's tokens
  bool has_first_ = false;
  bool is_over_ = false;
};

Metrics::Metrics(std::function<std::vector<EngineGauges>()> read_engines,
                 std::function<SpanCounts()> read_spans)
    : state_(std::make_shared<State>()) {
  state_->read_engines = std::move(read_engines);
  state_->read_spans = std::move(read_spans);
}

Metrics::~Metrics() = default;

std::shared_ptr<InferenceSink> Metrics::watch(const InferenceRequest& request,
                                              const std::optional<std::string>& served_name,
                                              std::shared_ptr<InferenceSink> next) {
  return std::make_shared<Sink>(state_, request, served_name.value_or("unknown"), std::move(next));
}

void Metrics::count_pooling(const std::string& model, std::int64_t prompt_tokens, double seconds) {
  const std::lock_guard lock(state_->mutex);
  State::Model& counted = state_->models[model];
  counted.prompt_tokens += prompt_tokens;
  counted.finished["stop"] += 1;
  counted.observe(State::kPromptTokens, static_cast<double>(prompt_tokens));
  counted.observe(State::kWhole, seconds);
}

void Metrics::State::Model::observe(Kind kind, double value, std::int64_t times) {
  const std::span<const double> bounds = kHistograms[kind].bounds;
  Histogram& histogram = histograms[kind];
  histogram.counts.resize(bounds.size() + 1);
  const auto bound = std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin();
  histogram.counts[static_cast<std::size_t>(bound)] += times;
  histogram.sum += value * static_cast<double>(times);
  histogram.total += times;
}

std::string Metrics::text() const {
  const std::vector<EngineGauges> engines =
      state_->read_engines ? state_->read_engines() : std::vector<EngineGauges>();
  std::string out;
  const auto gauge = [&](const char* name, const char* type, const char* help, auto value) {
    head(out, name, type, help);
    for (const EngineGauges& engine : engines)
      out += fmt::format("{}{{model_name=\"{}\"}} {}\n", name, label_value(engine.model),
                         value(engine));
  };
  gauge("vllm:num_requests_running", "gauge", "Sequences that are being computed.",
        [](const EngineGauges& e) { return e.running; });
  gauge("vllm:num_requests_waiting", "gauge", "Sequences that wait for their turn.",
        [](const EngineGauges& e) { return e.waiting; });
  gauge("vllm:kv_cache_usage_perc", "gauge", "Part of the cache in use, 0 to 1.",
        [](const EngineGauges& e) { return e.kv_usage; });
  gauge("vllm:prefix_cache_queries", "counter", "Prompt tokens looked up in the prefix cache.",
        [](const EngineGauges& e) { return e.prefix_queries; });
  gauge("vllm:prefix_cache_hits", "counter", "Prompt tokens found there.",
        [](const EngineGauges& e) { return e.prefix_hits; });
  // As vLLM's client library writes them.
  gauge("vllm:prefix_cache_queries_total", "counter", "The same as vllm:prefix_cache_queries.",
        [](const EngineGauges& e) { return e.prefix_queries; });
  gauge("vllm:prefix_cache_hits_total", "counter", "The same as vllm:prefix_cache_hits.",
        [](const EngineGauges& e) { return e.prefix_hits; });
  gauge("vllm:num_preemptions_total", "counter", "Sequences that gave up their cache for others.",
        [](const EngineGauges& e) { return e.preemptions; });

  if (state_->read_spans) span_counters(out, state_->read_spans());

  const std::lock_guard lock(state_->mutex);
  const auto counter = [&](const char* name, const char* help, auto value) {
    head(out, name, "counter", help);
    for (const auto& [model, counts] : state_->models)
      out += fmt::format("{}{{model_name=\"{}\"}} {}\n", name, label_value(model), value(counts));
  };
  counter("vllm:prompt_tokens_total", "Tokens of prompts.",
          [](const State::Model& m) { return m.prompt_tokens; });
  counter("vllm:generation_tokens_total", "Tokens generated.",
          [](const State::Model& m) { return m.generation_tokens; });
  head(out, "vllm:request_success_total", "counter", "Answers by how they ended.");
  for (const auto& [model, counts] : state_->models) {
    for (const auto& [reason, count] : counts.finished)
      out +=
          fmt::format("vllm:request_success_total{{model_name=\"{}\",finished_reason=\"{}\"}} {}\n",
                      label_value(model), reason, count);
  }
  for (std::size_t kind = 0; kind < State::kKinds; ++kind) {
    const HistogramName& histogram = kHistograms[kind];
    head(out, histogram.name, "histogram", histogram.help);
    for (const auto& [name, model] : state_->models) {
      const State::Histogram& values = model.histograms[kind];
      if (values.total == 0) continue;
      const std::string label = label_value(name);
      std::int64_t below = 0;
      for (std::size_t i = 0; i < histogram.bounds.size(); ++i) {
        below += values.counts[i];
        out += fmt::format("{}_bucket{{model_name=\"{}\",le=\"{}\"}} {}\n", histogram.name, label,
                           histogram.bounds[i], below);
      }
      out += fmt::format("{}_bucket{{model_name=\"{}\",le=\"+Inf\"}} {}\n", histogram.name, label,
                         values.total);
      out += fmt::format("{}_sum{{model_name=\"{}\"}} {}\n", histogram.name, label, values.sum);
      out += fmt::format("{}_count{{model_name=\"{}\"}} {}\n", histogram.name, label, values.total);
    }
  }
  return out;
}

}  // namespace sampan
