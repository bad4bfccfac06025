// Traces from a client's header to a collector: the real transport and API over a scripted model.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/fake_service.h"
#include "serve/trace/otlp_http.h"
#include "trace/fake_collector.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

constexpr const char* kParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
constexpr const char* kSecret = "where is 48213";

std::unique_ptr<SpanTransport> transport_to(const FakeCollector& collector) {
  OtlpHttpOptions options;
  options.url = collector.url();
  return std::make_unique<OtlpHttp>(options);
}

class Traces : public ::testing::Test {
 protected:
  // Sends a request and reads the answer to its end.
  std::string ask(const std::string& method, const std::string& target, const Json& body = nullptr,
                  const std::string& headers = "") {
    const int client = send(method, target, body, headers);
    std::string reply;
    char bytes[4096];
    for (ssize_t count; (count = ::recv(client, bytes, sizeof(bytes), 0)) > 0;)
      reply.append(bytes, static_cast<std::size_t>(count));
    ::close(client);
    return reply;
  }
  int send(const std::string& method, const std::string& target, const Json& body,
           const std::string& headers) {
    const int client = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const std::string text = body.is_null() ? "" : body.dump();
    const std::string bytes = method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
                              "Connection: close\r\nContent-Type: application/json\r\n" +
                              "Content-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text;
    EXPECT_EQ(::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    return client;
  }
  // What the last request gave, by name; there are `count` of them.
  std::map<std::string, Json> spans(std::size_t count) {
    for (int i = 0; i < 2000; ++i) {  // a span ends a moment after its answer
      tracer.flush(std::chrono::seconds(20));
      if (tracer.counts().exported >= exported + static_cast<std::int64_t>(count)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    std::map<std::string, Json> found;
    for (const Json& span : collector.wait_for_spans(count))
      found[span["name"].get<std::string>()] = span;
    EXPECT_EQ(found.size(), count);
    for (const HttpRequest& request : collector.requests())
      EXPECT_EQ(request.body.find("48213"), std::string::npos) << request.body;
    exported = tracer.counts().exported;
    collector.forget();
    return found;
  }

  FakeCollector collector;
  Tracer tracer{{}, {}, transport_to(collector)};
  FakeService service;
  KeyRing keys;
  Metrics metrics{nullptr, [this] { return tracer.counts(); }};
  ApiServer api{service, keys, {}, metrics};
  std::mutex log_mutex;
  std::vector<HttpAccess> log;
  HttpOptions http_options() {
    HttpOptions options;
    options.tracer = &tracer;
    options.log = [this](const HttpAccess& access) {
      const std::lock_guard lock(log_mutex);
      log.push_back(access);
    };
    return options;
  }
  HttpServer server{http_options(), api};
  std::uint16_t port = server.listen({"127.0.0.1", 0, ""});
  std::int64_t exported = 0;
};

const Json kMessages = {{{"role", "user"}, {"content", kSecret}}};

TEST_F(Traces, AChatIsASpanWithinTheRequests) {
  service.script.cached = 3;
  service.script.pieces = {{"think", true}, {"Hello"}};
  ask("POST", "/v1/chat/completions?q=48213",
      {{"messages", kMessages},
       {"model", "fake-1b"},
       {"temperature", 0.5},
       {"max_tokens", 90},
       {"stop", {"48213"}}},
      std::string("traceparent: ") + kParent + "\r\ntracestate: a=b\r\ntracestate: c=d\r\n");
  auto found = spans(2);
  const Json& request = found["POST /v1/chat/completions"];
  const Json& chat = found["chat fake-1b"];
  ASSERT_FALSE(request.is_null() || chat.is_null());
  EXPECT_EQ(request["traceId"], "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(request["parentSpanId"], "b7ad6b7169203331");
  EXPECT_EQ(request["traceState"], "a=b,c=d");
  EXPECT_EQ(request["kind"], 2);
  EXPECT_TRUE(request["status"].empty());
  EXPECT_EQ(attribute(request, "http.request.method"), "POST");
  EXPECT_EQ(attribute(request, "http.route"), "/v1/chat/completions");
  EXPECT_EQ(attribute(request, "url.path"), "/v1/chat/completions");
  EXPECT_EQ(attribute(request, "url.scheme"), "http");
  EXPECT_EQ(attribute(request, "http.response.status_code"), "200");
  EXPECT_EQ(attribute(request, "server.address"), "127.0.0.1");
  EXPECT_EQ(attribute(request, "server.port"), std::to_string(port));
  EXPECT_EQ(chat["traceId"], request["traceId"]);
  EXPECT_EQ(chat["parentSpanId"], request["spanId"]);
  EXPECT_EQ(chat["kind"], 1);
  EXPECT_EQ(attribute(chat, "gen_ai.operation.name"), "chat");
  EXPECT_EQ(attribute(chat, "gen_ai.provider.name"), "sampan");
  EXPECT_EQ(attribute(chat, "gen_ai.request.model"), "fake-1b");
  EXPECT_EQ(attribute(chat, "gen_ai.request.temperature"), 0.5);
  EXPECT_EQ(attribute(chat, "gen_ai.request.max_tokens"), "90");
  EXPECT_EQ(attribute(chat, "gen_ai.request.top_p"), nullptr);
  EXPECT_EQ(attribute(chat, "gen_ai.request.stream"), nullptr);
  EXPECT_EQ(attribute(chat, "gen_ai.response.model"), "fake-1b");
  EXPECT_TRUE(attribute(chat, "gen_ai.response.id").get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(attribute(chat, "gen_ai.response.finish_reasons")["values"][0]["stringValue"], "stop");
  EXPECT_EQ(attribute(chat, "gen_ai.usage.cache_read.input_tokens"), "3");
  EXPECT_EQ(attribute(chat, "gen_ai.usage.output_tokens"), "10");
  EXPECT_EQ(attribute(chat, "gen_ai.usage.reasoning.output_tokens"), "5");
  EXPECT_EQ(attribute(chat, "sampan.prefill_seconds"), 0.25);
  EXPECT_EQ(chat["events"][0]["name"], "sampan.first_token");
  const std::lock_guard lock(log_mutex);
  EXPECT_EQ(log.at(0).trace_id, "0af7651916cd43dd8448eb211c80319c");
}

TEST_F(Traces, EveryDialectHasItsSpans) {
  const Json ollama = {{"model", "fake-1b"}, {"messages", kMessages}};
  const Json openai = {{"messages", kMessages}, {"stream", true}};
  const Json anthropic = {
      {"messages", kMessages}, {"model", "fake-1b"}, {"max_tokens", 5}, {"stream", true}};
  struct Case {
    const char* path;
    Json body;
    const char* operation;
    bool is_stream;
  };
  for (const auto& [path, body, operation, is_stream] :
       {Case{"/v1/chat/completions", openai, "chat", true},
        Case{"/v1/messages", anthropic, "chat", true}, Case{"/api/chat", ollama, "chat", true},
        Case{"/api/generate", {{"model", "fake-1b"}, {"prompt", kSecret}}, "text_completion", true},
        Case{"/v1/completions",
             {{"prompt", {kSecret, kSecret}}, {"n", 2}},
             "text_completion",
             false},
        Case{"/v1/embeddings", {{"input", kSecret}}, "embeddings", false},
        Case{"/api/embed", {{"model", "fake-1b"}, {"input", kSecret}}, "embeddings", false},
        Case{"/v1/rerank", {{"query", kSecret}, {"documents", {kSecret}}}, "rerank", false}}) {
    const std::string reply = ask("POST", path, body);
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 200 ")) << path << reply;
    auto found = spans(2);
    const Json& request = found["POST " + std::string(path)];
    const Json& inference = found[std::string(operation) + " fake-1b"];
    ASSERT_FALSE(request.is_null() || inference.is_null()) << path;
    EXPECT_FALSE(request.contains("parentSpanId"));
    EXPECT_EQ(inference["parentSpanId"], request["spanId"]);
    EXPECT_TRUE(inference["status"].empty());
    EXPECT_GT(std::stoi(attribute(inference, "gen_ai.usage.input_tokens").get<std::string>()), 0);
    EXPECT_EQ(attribute(inference, "gen_ai.request.stream"), is_stream ? Json(true) : Json())
        << path;
    EXPECT_EQ(attribute(inference, "gen_ai.response.time_to_first_chunk").is_null(), !is_stream);
  }
}

TEST_F(Traces, FailuresSayWhich) {
  ask("POST", "/v1/chat/completions", {{"messages", kMessages}, {"model", "made-up"}});
  auto found = spans(2);
  EXPECT_EQ(attribute(found["chat"], "error.type"), "model_not_found");
  EXPECT_EQ(found["chat"]["status"]["code"], 2);
  EXPECT_TRUE(found["POST /v1/chat/completions"]["status"].empty());  // the client's own
  EXPECT_EQ(attribute(found["POST /v1/chat/completions"], "http.response.status_code"), "404");

  service.script.error_at_start = std::make_shared<OverloadedError>("full");
  ask("POST", "/v1/chat/completions", {{"messages", kMessages}});
  found = spans(2);
  EXPECT_EQ(attribute(found["chat fake-1b"], "error.type"), "overloaded");
  EXPECT_EQ(attribute(found["POST /v1/chat/completions"], "error.type"), "503");
  EXPECT_EQ(found["POST /v1/chat/completions"]["status"]["code"], 2);

  service.script.error_at_start = nullptr;
  service.script.error_after_first = std::make_shared<Error>(ErrorCode::kIo, "the disk is gone");
  ask("POST", "/v1/chat/completions", {{"messages", kMessages}, {"stream", true}});
  EXPECT_EQ(attribute(spans(2)["chat fake-1b"], "error.type"), "500");

  ask("GET", "/nowhere");
  EXPECT_EQ(attribute(spans(1)["GET"], "http.response.status_code"), "404");
  ask("DELETE", "/v1/models/x");
  EXPECT_EQ(attribute(spans(1)["DELETE"], "http.response.status_code"), "405");
  EXPECT_TRUE(ask("BREW", "/v1/models").starts_with("HTTP/1.1 501 "));  // no request of ours
  ask("POST", "/v1/chat/completions", "no object", "traceparent: 00-junk\r\n");
  found = spans(1);
  EXPECT_EQ(attribute(found["POST /v1/chat/completions"], "http.response.status_code"), "400");
  EXPECT_FALSE(found["POST /v1/chat/completions"].contains("parentSpanId"));
}

TEST_F(Traces, AClientThatLeavesEndsItsSpans) {
  service.script.hangs = true;
  const int client =
      send("POST", "/v1/chat/completions", {{"messages", kMessages}, {"stream", true}}, "");
  std::string reply;
  char bytes[4096];
  while (reply.find("Hello") == std::string::npos) {
    const ssize_t count = ::recv(client, bytes, sizeof(bytes), 0);
    ASSERT_GT(count, 0);
    reply.append(bytes, static_cast<std::size_t>(count));
  }
  ::close(client);
  auto found = spans(2);
  EXPECT_EQ(attribute(found["chat fake-1b"], "error.type"), "cancelled");
  EXPECT_EQ(attribute(found["POST /v1/chat/completions"], "error.type"), "aborted");
}

TEST_F(Traces, WhatTheCallerDoesNotRecordIsNotSent) {
  std::string off = kParent;
  off.back() = '0';
  ask("POST", "/v1/chat/completions", {{"messages", kMessages}}, "traceparent: " + off + "\r\n");
  ask("GET", "/health");
  EXPECT_EQ(spans(1).count("GET /health"), 1u);
  const std::lock_guard lock(log_mutex);
  EXPECT_EQ(log.at(0).trace_id, "0af7651916cd43dd8448eb211c80319c");
}

TEST_F(Traces, AreCounted) {
  ask("GET", "/health");
  spans(1);
  const std::string text = ask("GET", "/metrics");
  EXPECT_NE(text.find("sampan:trace_spans_exported_total 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("sampan:trace_spans_failed_total 0\n"), std::string::npos);
  EXPECT_NE(text.find("sampan:trace_spans_dropped_total 0\n"), std::string::npos);
}

}  // namespace
}  // namespace sampan
