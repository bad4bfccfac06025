// Routing, keys, the reference page, and the routes that belong to no dialect.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "api/fake_service.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

TEST(KeyRing, KnowsItsKeys) {
  KeyRing ring({{"alice", "sk-alice"}, {"", "sk-bob"}});
  EXPECT_FALSE(ring.is_open());
  EXPECT_EQ(ring.find("sk-alice"), "alice");
  EXPECT_TRUE(ring.find("sk-bob")->starts_with("key-"));
  EXPECT_FALSE(ring.find(""));
  EXPECT_FALSE(ring.find("sk-alic"));
  EXPECT_FALSE(ring.find("sk-alicee"));
  EXPECT_FALSE(ring.find(std::string(5000, 'x')));
  EXPECT_THROW(ring.replace({{"a", ""}}), Error);
  EXPECT_THROW(ring.replace({{"a", "x"}, {"b", "x"}}), Error);
  EXPECT_EQ(ring.find("sk-alice"), "alice");
  ring.replace({{"carol", "sk-carol"}});
  EXPECT_FALSE(ring.find("sk-alice"));
  EXPECT_EQ(ring.find("sk-carol"), "carol");
  ring.replace({});
  EXPECT_TRUE(ring.is_open());
}

TEST(ApiServer, EveryRouteButHealthNeedsAKey) {
  FakeService service;
  TestServer server(service, TestServer::on_this_thread(), {{"alice", "sk-alice"}});
  for (const char* const path : {"/v1/models", "/", "/api/tags", "/metrics", "/version", "/nowhere",
                                 "/v1/messages", "/tokenizer_info"}) {
    const auto reply = server.send("GET", path);
    EXPECT_EQ(reply->status, 401) << path;
    EXPECT_TRUE(reply->json().contains("error")) << path;
  }
  EXPECT_EQ(server.send("GET", "/health")->status, 200);
  EXPECT_EQ(server.send("GET", "/v1/messages")->json()["error"]["type"], "authentication_error");
  EXPECT_TRUE(server.send("GET", "/api/tags")->json()["error"].is_string());
  EXPECT_EQ(server.send("GET", "/v1/models")->json()["error"]["code"], "invalid_api_key");
  for (const HttpFields& headers :
       {HttpFields{{"authorization", "Bearer sk-alice"}}, HttpFields{{"x-api-key", "sk-alice"}},
        HttpFields{{"authorization", "bearer  sk-alice "}, {"x-api-key", "wrong"}}})
    EXPECT_EQ(server.send("GET", "/v1/models", "", headers)->status, 200);
  for (const HttpFields& headers :
       {HttpFields{{"authorization", "sk-alice"}}, HttpFields{{"x-api-key", "sk-alic"}},
        HttpFields{{"authorization", "Bearer "}}})
    EXPECT_EQ(server.send("GET", "/v1/models", "", headers)->status, 401);
  server.send("POST", "/v1/completions", R"({"prompt": "a"})",
              {{"content-type", "application/json"}, {"x-api-key", "sk-alice"}});
  EXPECT_EQ(service.requests.at(0).caller.key_id, "alice");
}

// Or it could keep all others waiting.
TEST(ApiServer, NoKeyPutsItselfBeforeTheOthers) {
  FakeService service;
  TestServer server(service, TestServer::on_this_thread(), {{"alice", "sk-alice"}});
  const HttpFields headers = {{"content-type", "application/json"}, {"x-api-key", "sk-alice"}};
  const auto refused =
      server.send("POST", "/v1/completions", R"({"prompt": "a", "priority": -1})", headers);
  EXPECT_EQ(refused->status, 400);
  EXPECT_EQ(refused->json()["error"]["param"], "priority");
  EXPECT_EQ(
      server.send("POST", "/v1/completions", R"({"prompt": "a", "priority": 1})", headers)->status,
      200);
}

// A page of anybody's, in a browser on this machine.
TEST(ApiServer, WithoutKeysForeignPagesAreRefused) {
  FakeService service;
  ApiOptions options = TestServer::on_this_thread();
  options.origins = {"https://app.example"};
  TestServer server(service, options);
  const auto status = [&](HttpFields headers) {
    return server.send("POST", "/api/show", R"({"model": "fake-1b"})", std::move(headers))->status;
  };
  for (const char* const host : {"localhost", "LocalHost:8080", "127.0.0.1:8080", "[::1]:8080",
                                 "10.0.0.7", "chat.localhost", "app.example", ""})
    EXPECT_EQ(status({{"host", host}}), 200) << host;
  for (const char* const host :
       {"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
        "[::1", "a b", "notlocalhost", "[evil.example]"})
    EXPECT_EQ(status({{"host", host}}), 403) << host;
  for (const char* const origin :
       {"http://127.0.0.1:8080", "https://app.example", "HTTP://127.0.0.1:8080"})
    EXPECT_EQ(status({{"host", "127.0.0.1:8080"}, {"origin", origin}}), 200) << origin;
  for (const char* const origin : {"https://evil.example", "null", "http://127.0.0.1:9090", "",
                                   "https://app.example.evil", "127.0.0.1:8080"})
    EXPECT_EQ(status({{"host", "127.0.0.1:8080"}, {"origin", origin}}), 403) << origin;
  EXPECT_EQ(server.send("GET", "/metrics", "", {{"host", "evil.example"}})->status, 403);
  EXPECT_TRUE(service.requests.empty());

  options.origins = {"*"};
  TestServer open(service, options);
  EXPECT_EQ(open.send("GET", "/v1/models", "", {{"host", "a"}, {"origin", "b"}})->status, 200);
  TestServer locked(service, TestServer::on_this_thread(), {{"alice", "sk-alice"}});
  EXPECT_EQ(locked
                .send("GET", "/v1/models", "",
                      {{"host", "a"}, {"origin", "b"}, {"x-api-key", "sk-alice"}})
                ->status,
            200);
}

TEST(ApiServer, RefusesByTheHeadAlone) {
  FakeService service;
  TestServer server(service);
  const auto wrong_method = server.send("GET", "/v1/chat/completions");
  EXPECT_EQ(wrong_method->status, 405);
  EXPECT_EQ(wrong_method->header("allow"), "POST");
  EXPECT_EQ(server.send("POST", "/v1/models", "{}")->header("allow"), "GET, HEAD");
  EXPECT_EQ(server.send("GET", "/v1/nothing")->status, 404);
  EXPECT_EQ(server.send("GET", "/v1/models/")->status, 404);
  EXPECT_EQ(server.send("POST", "/v1/completions", R"({"prompt":"a"})")->status, 415);
  EXPECT_EQ(server.send("POST", "/v1/messages", "{}", {{"content-type", "text/plain"}})->status,
            415);
  EXPECT_EQ(server
                .send("POST", "/v1/completions", R"({"prompt":"a"})",
                      {{"content-type", "Application/JSON; charset=utf-8"}})
                ->status,
            200);
  EXPECT_EQ(server
                .send("POST", "/v1/completions", R"({"prompt":"a"})",
                      {{"content-type", "application/json"}, {"content-encoding", "gzip"}})
                ->status,
            415);
  // Errors that the transport finds are worded by the route.
  HttpRequest head;
  head.path = "/v1/messages";
  head.request_id = "r";
  EXPECT_NE(server.server.error(&head, 413, "too large").body.find("request_too_large"),
            std::string::npos);
  head.path = "/api/chat";
  EXPECT_EQ(server.server.error(&head, 413, "too large").body, R"({"error":"too large"})");
  EXPECT_EQ(server.server.error(nullptr, 400, "bad").status, 400);
}

TEST(ApiServer, TokenizeRoutes) {
  FakeService service;
  service.served[0].vocabulary = 1000;
  TestServer server(service);
  const Json ids =
      server.post("/tokenize", {{"prompt", "hi"}, {"return_token_strs", true}})->json();
  EXPECT_EQ(ids["tokens"], Json({'h', 'i'}));
  EXPECT_EQ(ids["token_strs"], Json({"h", "i"}));
  EXPECT_EQ(ids["count"], 2);
  EXPECT_EQ(ids["max_model_len"], 4096);
  const Json chat =
      server.post("/tokenize", {{"messages", {{{"role", "user"}, {"content", "a"}}}}})->json();
  EXPECT_GT(chat["count"], 2);
  EXPECT_EQ(server.post("/tokenize", Json::object())->status, 400);
  EXPECT_EQ(server.post("/detokenize", {{"tokens", {104, 105}}})->json()["prompt"], "hi");
  EXPECT_EQ(server.post("/detokenize", {{"tokens", {104, 1000}}})->status, 400);
  EXPECT_EQ(server.send("GET", "/tokenizer_info")->json()["vocab_size"], 1000);
}

TEST(ApiServer, RerankByCosineSaysSo) {
  FakeService service;
  TestServer server(service);
  service.pool_one = [](const PoolingRequest& request) {
    PoolingResult result;
    const std::string& text = std::get<TextPrompt>(request.prompt).text;
    EXPECT_FALSE(std::get<TextPrompt>(request.prompt).parse_special_tokens);
    result.embedding = text == "query"  ? std::vector<float>{2, 0}
                       : text == "near" ? std::vector<float>{3, 4}
                                        : std::vector<float>{0, 1};
    result.prompt_tokens = 2;
    return result;
  };
  const Json body = {{"query", "query"}, {"documents", {"far", {{"text", "near"}}}}};
  const Json json = server.post("/v1/rerank", body)->json();
  ASSERT_EQ(json["results"].size(), 2u) << json.dump();
  EXPECT_EQ(json["results"][0]["index"], 1);
  EXPECT_NEAR(json["results"][0]["relevance_score"], 0.6, 1e-6);
  EXPECT_EQ(json["results"][0]["document"]["text"], "near");
  EXPECT_EQ(json["usage"]["total_tokens"], 6);
  EXPECT_NE(json["meta"]["warnings"][0].get<std::string>().find("cosine"), std::string::npos);
  const Json cohere = server.post("/v2/rerank", body)->json();
  EXPECT_FALSE(cohere["results"][0].contains("document"));
  Json top = body;
  top["top_n"] = 1;
  EXPECT_EQ(server.post("/rerank", top)->json()["results"].size(), 1u);
  EXPECT_EQ(server.post("/rerank", {{"query", "q"}, {"documents", Json::array()}})->status, 400);
  EXPECT_EQ(server.post("/rerank", {{"query", "q"}, {"documents", {1}}})->json()["error"]["param"],
            "documents");
}

TEST(ApiServer, RerankByARerankersWords) {
  FakeService service;
  service.served[0].name = "Qwen3-Reranker-0.6B";
  TestServer server(service);
  service.pool_one = [](const PoolingRequest& request) {
    EXPECT_EQ(request.probe_ids, (std::vector<std::int32_t>{300, 301}));
    const std::vector<std::int32_t>& ids = std::get<TokenPrompt>(request.prompt).ids;
    const std::string text(ids.begin(), ids.end());
    EXPECT_NE(text.find("<Query>: what?\\n<Document>: "), std::string::npos) << text;
    PoolingResult result;
    result.probe_logits = {text.find("good") != std::string::npos ? 2.f : -1.f, 0.f};
    return result;
  };
  const Json json =
      server.post("/v1/rerank", {{"query", "what?"}, {"documents", {"bad", "good"}}})->json();
  EXPECT_EQ(json["results"][0]["index"], 1) << json.dump();
  EXPECT_NEAR(json["results"][0]["relevance_score"], 1 / (1 + std::exp(-2.0)), 1e-9);
  EXPECT_NEAR(json["results"][1]["relevance_score"], 1 / (1 + std::exp(1.0)), 1e-9);
  EXPECT_FALSE(json["meta"].contains("warnings"));
}

TEST(ApiServer, LongListsOfTextsGoInParts) {
  FakeService service;
  TestServer server(service);
  const Json json =
      server.post("/v1/embeddings", {{"input", std::vector<std::string>(1300, "abc")}})->json();
  EXPECT_EQ(json["data"].size(), 1300u);
  EXPECT_EQ(json["data"][1299]["index"], 1299);
}

TEST(ApiServer, StatusRoutes) {
  FakeService service;
  TestServer server(service);
  EXPECT_EQ(server.send("GET", "/version")->json()["version"], "0.1.0");
  server.post("/v1/completions", {{"prompt", "abc"}});
  const auto metrics = server.send("GET", "/metrics");
  EXPECT_EQ(metrics->header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* const line :
       {"vllm:prompt_tokens_total{model_name=\"fake-1b\"} 3\n",
        "vllm:generation_tokens_total{model_name=\"fake-1b\"} 12\n",
        "vllm:request_success_total{model_name=\"fake-1b\",finished_reason=\"stop\"} 1\n",
        "vllm:time_to_first_token_seconds_count{model_name=\"fake-1b\"} 1\n",
        "vllm:request_decode_time_seconds_sum{model_name=\"fake-1b\"} 0.5\n",
        "vllm:request_prompt_tokens_bucket{model_name=\"fake-1b\",le=\"5\"} 1\n"})
    EXPECT_NE(metrics->body.find(line), std::string::npos) << line << metrics->body;
}

// What fails before a model has begun is counted under the model that it asked for, if there is
// one; what clients make up is one series.
TEST(ApiServer, FailuresAreCountedUnderServedNamesOnly) {
  FakeService service;
  TestServer server(service);
  for (const char* const name : {"made-up-1", "made-up-2"})
    server.post("/v1/completions", {{"prompt", "a"}, {"model", name}});
  service.script.error_at_start = std::make_shared<OverloadedError>("full");
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", "a"}})->status, 503);
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", "a"}, {"model", "fake-1b:latest"}})->status,
            503);
  const std::string text = server.send("GET", "/metrics")->body;
  EXPECT_NE(
      text.find("vllm:request_success_total{model_name=\"unknown\",finished_reason=\"error\"} 2"),
      std::string::npos)
      << text;
  EXPECT_NE(
      text.find("vllm:request_success_total{model_name=\"fake-1b\",finished_reason=\"error\"} 2"),
      std::string::npos)
      << text;
  EXPECT_EQ(text.find("made-up"), std::string::npos);
  EXPECT_EQ(text.find("model_name=\"\""), std::string::npos);
}

TEST(ApiServer, FailuresOfOurOwnAreLoggedWithoutTheRequest) {
  FakeService service;
  ApiOptions options = TestServer::on_this_thread();
  std::vector<std::string> lines;
  options.log = [&](LogLevel level, std::string_view message, const LogFields& fields) {
    EXPECT_EQ(level, LogLevel::kError);
    lines.emplace_back(message);
    for (const auto& [name, value] : fields) lines.back() += " " + std::get<std::string>(value);
  };
  TestServer server(service, options);
  const Json body = {{"prompt", "a secret"}};
  service.script.error_at_start = std::make_shared<OverloadedError>("full");
  EXPECT_EQ(server.post("/v1/completions", body)->status, 503);
  EXPECT_EQ(server.post("/v1/completions", {{"prompt", 1.5}})->status, 400);
  EXPECT_TRUE(lines.empty());
  service.script.error_at_start = std::make_shared<Error>(ErrorCode::kIo, "the disk is gone");
  EXPECT_EQ(server.post("/v1/completions", body)->status, 500);
  service.pool_one = [](const PoolingRequest&) -> PoolingResult {
    fail(ErrorCode::kIo, "the disk is gone");
  };
  EXPECT_EQ(server.post("/v1/embeddings", {{"input", "a secret"}})->status, 500);
  EXPECT_EQ(lines,
            (std::vector<std::string>{"request failed req-1 /v1/completions the disk is gone",
                                      "request failed req-1 /v1/embeddings the disk is gone"}));
}

TEST(ApiServer, WorksOnThreadsOfItsOwn) {
  FakeService service;
  std::vector<std::shared_ptr<FakeExchange>> sent;
  {
    TestServer server(service, ApiOptions{});
    sent.push_back(server.post("/v1/completions", {{"prompt", "abc"}}));
    sent.push_back(server.post("/v1/completions", {{"prompt", 5}}));
    sent.push_back(server.post("/v1/completions", {{"prompt", "abc"}, {"stream", true}}));
  }
  EXPECT_EQ(sent[0]->status, 200);
  EXPECT_EQ(sent[1]->status, 400);
  EXPECT_TRUE(sent[2]->is_stream);
}

TEST(ApiServer, APageForBrowsers) {
  FakeService service;
  ApiOptions options;
  options.page = "<html>";
  TestServer server(service, options);
  EXPECT_EQ(server.send("GET", "/", "", {{"accept", "text/html,*/*"}})->body, "<html>");
  EXPECT_EQ(server.send("GET", "/")->body, "Ollama is running");
}

TEST(ApiReference, IsWhatTheTablesSay) {
  std::ifstream file(std::string(SAMPAN_SOURCE_DIR) + "/docs/reference/api.md");
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(text.str() == api_reference())
      << "docs/reference/api.md is not what the routes say: "
         "sampan serve --api-reference > docs/reference/api.md";
}

}  // namespace
}  // namespace sampan
