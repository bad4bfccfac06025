// Spans on their way to a collector: encoding, batches, retries, a full queue, the end.
#include "serve/trace/span_exporter.h"

#include <gtest/gtest.h>

#include "serve/trace/otlp_http.h"
#include "serve/trace/otlp_json.h"
#include "serve/trace/tracer.h"
#include "trace/fake_collector.h"

namespace sampan {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kLong{20000};

Span span_of(const std::string& name) {
  Span span;
  span.trace_id = {1, 2};
  span.id = new_span_id();
  span.name = name;
  return span;
}

// Answers as it is told, and can be held up.
class ScriptedTransport : public SpanTransport {
 public:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<SendResult> results;  // then kTaken
    std::vector<std::size_t> batches;
    bool is_held = false, is_ending = false;

    void wait_for_sends(std::size_t count) {
      std::unique_lock lock(mutex);
      EXPECT_TRUE(changed.wait_for(lock, kLong, [&] { return batches.size() >= count; }));
    }
    void release() {
      const std::lock_guard lock(mutex);
      is_held = false;
      changed.notify_all();
    }
  };
  explicit ScriptedTransport(std::shared_ptr<State> state) : state_(std::move(state)) {}

  SendResult send(const std::string& body) override {
    std::unique_lock lock(state_->mutex);
    const Json json = Json::parse(body);
    state_->batches.push_back(json["resourceSpans"][0]["scopeSpans"][0]["spans"].size());
    state_->changed.notify_all();
    state_->changed.wait(lock, [&] { return !state_->is_held || state_->is_ending; });
    if (state_->results.empty()) return {};
    SendResult result = state_->results.front();
    state_->results.pop_front();
    return result;
  }
  void set_deadline(std::chrono::steady_clock::time_point) override {
    const std::lock_guard lock(state_->mutex);
    state_->is_ending = true;
    state_->changed.notify_all();
  }

 private:
  std::shared_ptr<State> state_;
};

using State = ScriptedTransport::State;

SpanExporterOptions quick() {
  SpanExporterOptions options;
  options.first_retry = milliseconds(1);
  options.last_flush = milliseconds(2000);
  return options;
}

SendResult retry(std::optional<milliseconds> after = {}) {
  SendResult result;
  result.kind = SendResult::Kind::kRetry;
  result.retry_after = after;
  return result;
}

TEST(OtlpJson, IsWhatTheProtocolWants) {
  Span span = span_of("chat \"m\"\xFF");
  span.id = 0xABC;
  span.parent_id = 0x1234567890ABCDEF;
  span.has_remote_parent = true;
  span.trace_state = "a=b";
  span.kind = SpanKind::kServer;
  span.start = 1700000000123456789;
  span.end = 1700000001123456789;
  span.attributes = {{"text", "x"},
                     {"number", std::int64_t{1} << 53},
                     {"ratio", 0.5},
                     {"flag", true},
                     {"list", std::vector<std::string>{"stop", "length"}}};
  span.events = {{"first", 1700000000500000000}};
  span.has_failed = true;
  const Json json = Json::parse(otlp_json({{"service.name", "s"}}, "1.2.3", std::span(&span, 1)));
  const Json expected = Json::parse(R"({"resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]},
    "scopeSpans": [{"scope": {"name": "sampan", "version": "1.2.3"}, "spans": [{
      "traceId": "00000000000000010000000000000002", "spanId": "0000000000000abc",
      "traceState": "a=b", "parentSpanId": "1234567890abcdef", "flags": 769,
      "name": "chat \"m\"\ufffd", "kind": 2,
      "startTimeUnixNano": "1700000000123456789", "endTimeUnixNano": "1700000001123456789",
      "attributes": [
        {"key": "text", "value": {"stringValue": "x"}},
        {"key": "number", "value": {"intValue": "9007199254740992"}},
        {"key": "ratio", "value": {"doubleValue": 0.5}},
        {"key": "flag", "value": {"boolValue": true}},
        {"key": "list", "value": {"arrayValue": {"values": [
          {"stringValue": "stop"}, {"stringValue": "length"}]}}}],
      "events": [{"timeUnixNano": "1700000000500000000", "name": "first"}],
      "status": {"code": 2}}]}]}]})");
  EXPECT_EQ(json, expected) << json.dump(1);
  const Span root = span_of("r");
  const Json plain = Json::parse(otlp_json({}, "", std::span(&root, 1)));
  EXPECT_FALSE(plain["resourceSpans"][0]["scopeSpans"][0]["spans"][0].contains("parentSpanId"));
}

TEST(OtlpJson, ReadsWhatACollectorRejects) {
  const auto rejected = [](const char* value) {
    return parse_otlp_reply(std::string(R"({"partialSuccess":{"rejectedSpans":)") + value + "}}")
        .rejected;
  };
  EXPECT_EQ(rejected("\"3\""), 3);
  EXPECT_EQ(rejected("3"), 3);
  for (const char* const nothing : {"-4", "\"-4\"", "1.5", "null", "\"x\"", "[]"})
    EXPECT_EQ(rejected(nothing), 0) << nothing;
  for (const char* const nothing : {"", "{}", "[]", "nonsense", R"({"partialSuccess":5})"})
    EXPECT_EQ(parse_otlp_reply(nothing).rejected, 0) << nothing;
}

TEST(SpanExporter, SendsInBatches) {
  const auto state = std::make_shared<State>();
  SpanExporterOptions options = quick();
  options.batch = 10;
  options.delay = std::chrono::hours(1);
  SpanExporter exporter(options, std::make_unique<ScriptedTransport>(state));
  for (int i = 0; i < 25; ++i) exporter.add(span_of("s"));
  state->wait_for_sends(2);  // full ones go at once
  EXPECT_TRUE(exporter.flush(kLong));
  EXPECT_EQ(exporter.counts().exported, 25);
  std::size_t sum = 0;
  for (const std::size_t size : state->batches) {
    EXPECT_LE(size, 10u);
    sum += size;
  }
  EXPECT_EQ(sum, 25u);
  EXPECT_TRUE(exporter.flush(milliseconds(0)));  // nothing to do
}

TEST(SpanExporter, SendsAFewAfterAWhile) {
  const auto state = std::make_shared<State>();
  SpanExporterOptions options = quick();
  options.delay = milliseconds(30);
  SpanExporter exporter(options, std::make_unique<ScriptedTransport>(state));
  exporter.add(span_of("s"));
  state->wait_for_sends(1);
  exporter.add(span_of("s"));
  state->wait_for_sends(2);
}

TEST(SpanExporter, AFullQueueDropsAndCounts) {
  const auto state = std::make_shared<State>();
  state->is_held = true;
  SpanExporterOptions options = quick();
  options.queue = 8;
  options.batch = 4;
  SpanExporter exporter(options, std::make_unique<ScriptedTransport>(state));
  for (int i = 0; i < 4; ++i) exporter.add(span_of("s"));
  state->wait_for_sends(1);  // these are out of the queue
  for (int i = 0; i < 20; ++i) exporter.add(span_of("s"));
  EXPECT_EQ(exporter.counts().dropped, 12);
  EXPECT_FALSE(exporter.flush(milliseconds(10)));
  state->release();
  EXPECT_TRUE(exporter.flush(kLong));
  EXPECT_EQ(exporter.counts().exported, 12);
  EXPECT_EQ(exporter.counts().failed, 0);
}

TEST(SpanExporter, TriesAgainAndGivesUp) {
  const auto state = std::make_shared<State>();
  SpanExporterOptions options = quick();
  options.attempts = 3;
  int reports = 0;
  options.log = [&](LogLevel level, std::string_view, const LogFields& fields) {
    EXPECT_EQ(level, LogLevel::kWarning);
    EXPECT_EQ(std::get<std::int64_t>(fields.at(0).second), 1);
    ++reports;
  };
  SpanExporter exporter(options, std::make_unique<ScriptedTransport>(state));
  const auto sends = [&](std::deque<SendResult> results) {
    {
      const std::lock_guard lock(state->mutex);
      state->results = std::move(results);
      state->batches.clear();
    }
    exporter.add(span_of("s"));
    EXPECT_TRUE(exporter.flush(kLong));
    const std::lock_guard lock(state->mutex);
    return state->batches.size();
  };
  EXPECT_EQ(sends({retry(), retry()}), 3u);
  EXPECT_EQ(exporter.counts().exported, 1);
  EXPECT_EQ(sends({retry(), retry(), retry()}), 3u);
  EXPECT_EQ(exporter.counts().failed, 1);
  SendResult refused;
  refused.kind = SendResult::Kind::kRefused;
  EXPECT_EQ(sends({refused}), 1u);
  EXPECT_EQ(exporter.counts().failed, 2);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(sends({retry(milliseconds(50))}), 2u);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(50));
  EXPECT_EQ(sends({retry(std::chrono::hours(1))}), 1u);  // nobody waits that long
  EXPECT_EQ(exporter.counts().failed, 3);
  SendResult partly;
  partly.rejected = 5;  // more than there were
  EXPECT_EQ(sends({partly}), 1u);
  EXPECT_EQ(exporter.counts().failed, 4);
  EXPECT_EQ(exporter.counts().exported, 2);
  EXPECT_EQ(reports, 1);  // once a minute
}

TEST(SpanExporter, TheEndSendsWhatIsLeftInLimitedTime) {
  const auto state = std::make_shared<State>();
  {
    SpanExporter exporter(quick(), std::make_unique<ScriptedTransport>(state));
    for (int i = 0; i < 5; ++i) exporter.add(span_of("s"));
  }
  EXPECT_EQ(state->batches, (std::vector<std::size_t>{5}));
  // A collector that never answers, and one that says later.
  for (const bool is_held : {true, false}) {
    const auto slow = std::make_shared<State>();
    slow->is_held = is_held;
    slow->results = {retry(kLong), retry(kLong), retry(), retry()};
    const auto begin = std::chrono::steady_clock::now();
    {
      SpanExporter exporter(quick(), std::make_unique<ScriptedTransport>(slow));
      exporter.add(span_of("s"));
      exporter.flush(milliseconds(20));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(10000));
  }
}

TEST(OtlpHttp, PostsJsonToACollector) {
  FakeCollector collector;
  OtlpHttpOptions options;
  options.url = collector.url();
  options.headers = {{"x-token", "s3cret"}, {"x-empty", ""}};
  options.user_agent = "sampan/test";
  OtlpHttp http(options);
  const Span span = span_of("s");
  const std::string body = otlp_json({}, "1", std::span(&span, 1));
  using Kind = SendResult::Kind;
  EXPECT_EQ(http.send(body).kind, Kind::kTaken);
  const HttpRequest request = collector.requests().at(0);
  EXPECT_EQ(request.method + " " + request.path, "POST /v1/traces");
  EXPECT_EQ(request.header("content-type"), "application/json");
  EXPECT_EQ(request.header("x-token"), "s3cret");
  EXPECT_EQ(request.header("x-empty"), "");
  EXPECT_EQ(request.header("user-agent"), "sampan/test");
  EXPECT_FALSE(request.header("expect"));
  EXPECT_EQ(request.body, body);

  collector.will_answer({{503, {{"retry-after", "7"}}, "s"},
                         {429, {}, ""},
                         {400, {}, "no"},
                         {302, {{"location", collector.url()}}, ""},
                         {500, {}, ""},
                         {200, {}, R"({"partialSuccess":{"rejectedSpans":"1"}})"},
                         {200, {}, std::string(1 << 20, 'x')}});
  const SendResult busy = http.send(body);
  EXPECT_EQ(busy.kind, Kind::kRetry);
  EXPECT_EQ(busy.retry_after, std::chrono::seconds(7));
  EXPECT_NE(busy.detail.find("503"), std::string::npos);
  EXPECT_EQ(http.send(body).kind, Kind::kRetry);
  EXPECT_EQ(http.send(body).kind, Kind::kRefused);
  EXPECT_EQ(http.send(body).kind, Kind::kRefused);
  EXPECT_EQ(http.send(body).kind, Kind::kRefused);
  EXPECT_EQ(http.send(body).rejected, 1);
  EXPECT_EQ(http.send(body).kind, Kind::kRefused);  // a reply without end
}

TEST(OtlpHttp, ACollectorThatIsNotThereIsTriedAgain) {
  OtlpHttpOptions options;
  options.url = "http://127.0.0.1:1/v1/traces";
  OtlpHttp http(options);
  const SendResult result = http.send("{}");
  EXPECT_EQ(result.kind, SendResult::Kind::kRetry);
  EXPECT_NE(result.detail.find("http://127.0.0.1:1/v1/traces: "), std::string::npos);
}

TEST(Tracer, SpansOfATraceBelongTogether) {
  FakeCollector collector;
  OtlpHttpOptions http;
  http.url = collector.url();
  Tracer tracer({}, quick(), std::make_unique<OtlpHttp>(http));
  const auto start = ActiveSpan::Clock::now();
  const auto root =
      tracer.begin("GET", start, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b");
  ASSERT_TRUE(root->is_recorded());
  EXPECT_EQ(root->trace_id(), "0af7651916cd43dd8448eb211c80319c");
  root->rename("GET /x");
  root->set("long", std::string(5000, 'x') + "\xC3\xA9");
  const auto child = root->child("chat", start);
  child->fail("timeout");
  child->add_event("e");
  child->end();
  child->end();
  child->set("late", true);
  root->child("never ended", start);
  root->end();
  tracer.flush(kLong);
  const std::vector<Json> spans = collector.wait_for_spans(2);
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0]["name"], "chat");
  EXPECT_EQ(spans[0]["kind"], 1);
  EXPECT_EQ(spans[0]["status"]["code"], 2);
  EXPECT_EQ(attribute(spans[0], "error.type"), "timeout");
  EXPECT_EQ(attribute(spans[0], "late"), nullptr);
  EXPECT_EQ(spans[1]["name"], "GET /x");
  EXPECT_EQ(spans[1]["kind"], 2);
  EXPECT_EQ(spans[1]["parentSpanId"], "b7ad6b7169203331");
  EXPECT_EQ(spans[0]["parentSpanId"], spans[1]["spanId"]);
  EXPECT_EQ(attribute(spans[1], "long").get<std::string>().size(), 1024u);
  const auto time_of = [](const Json& span, const char* which) {
    return std::stoll(span[which].get<std::string>());
  };
  for (const Json& span : spans) {
    EXPECT_EQ(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
    EXPECT_EQ(span["traceState"], "a=b");
    EXPECT_LE(time_of(span, "startTimeUnixNano"), time_of(span, "endTimeUnixNano"));
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  EXPECT_NEAR(static_cast<double>(time_of(spans[1], "startTimeUnixNano")) * 1e-9,
              std::chrono::duration<double>(now).count(), 60);
}

TEST(Tracer, RecordsWhatTheSamplerChooses) {
  const auto state = std::make_shared<State>();
  const auto recorded = [&](const Sampling& sampling, const std::string& parent) {
    Tracer tracer(sampling, quick(), std::make_unique<ScriptedTransport>(state));
    int count = 0;
    for (int i = 0; i < 1000; ++i) {
      const auto span = tracer.begin("s", ActiveSpan::Clock::now(), parent, "");
      count += span->is_recorded() ? 1 : 0;
      if (span->is_recorded()) continue;
      EXPECT_EQ(span->child("c", ActiveSpan::Clock::now()), nullptr);
      span->set("a", true);
      span->fail("x");
      span->end();
    }
    EXPECT_EQ(tracer.counts().dropped + tracer.counts().exported, 0);
    return count;
  };
  const std::string on = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const std::string off = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
  EXPECT_EQ(recorded({true, 1}, ""), 1000);
  EXPECT_EQ(recorded({true, 1}, off), 0);
  EXPECT_EQ(recorded({true, 0}, on), 1000);
  EXPECT_EQ(recorded({true, 0}, "nonsense"), 0);
  EXPECT_EQ(recorded({false, 1}, off), 1000);
  EXPECT_NEAR(recorded({true, 0.25}, ""), 250, 90);
  // The id decides, in every process alike: 0x8448… is 0.517 of the range.
  EXPECT_EQ(recorded({false, 0.51}, on), 0);
  EXPECT_EQ(recorded({false, 0.52}, on), 1000);
  EXPECT_TRUE(state->batches.empty());
}

}  // namespace
}  // namespace sampan
