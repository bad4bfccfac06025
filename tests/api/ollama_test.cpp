#include <gtest/gtest.h>

#include "api/fake_service.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

class Ollama : public ::testing::Test {
 protected:
  // Ollama's clients send no content type, or another.
  std::shared_ptr<FakeExchange> post(const std::string& path, const Json& body) {
    return server.send("POST", path, body.dump());
  }
  void expect_error(const std::string& path, const Json& body, int status,
                    const std::string& word) {
    const auto reply = post(path, body);
    ASSERT_EQ(reply->status, status) << body.dump() << " gave " << reply->body;
    EXPECT_NE(reply->json()["error"].get<std::string>().find(word), std::string::npos)
        << reply->body;
  }
  FakeService service;
  TestServer server{service};
};

TEST_F(Ollama, StreamedAndWholeAgree) {
  service.script.pieces = {{"hm", true}, {"Hello"}, {" there"}};
  for (const bool is_chat : {false, true}) {
    const std::string path = is_chat ? "/api/chat" : "/api/generate";
    Json body = {{"model", "fake-1b"}};
    if (is_chat) {
      body["messages"] = {{{"role", "user"}, {"content", "hi"}}};
    } else {
      body["prompt"] = "hi";
    }
    const auto stream = post(path, body);
    EXPECT_EQ(stream->header("content-type"), "application/x-ndjson");
    body["stream"] = false;
    const Json whole = post(path, body)->json();
    std::string text, thinking;
    const auto text_in = [&](const Json& object) {
      return is_chat ? object["message"]["content"] : object["response"];
    };
    const auto thinking_in = [&](const Json& object) {
      return (is_chat ? object["message"] : object).value("thinking", "");
    };
    const auto lines = ndjson(stream->body);
    for (const Json& line : lines) {
      text += text_in(line).get<std::string>();
      thinking += thinking_in(line);
      EXPECT_EQ(line["done"], &line == &lines.back());
      EXPECT_EQ(line["model"], "fake-1b");
    }
    EXPECT_EQ(text, "Hello there");
    EXPECT_EQ(text_in(whole), text);
    EXPECT_EQ(thinking_in(whole), thinking);
    for (const char* const key : {"done_reason", "prompt_eval_count", "eval_count",
                                  "prompt_eval_duration", "eval_duration", "load_duration"})
      EXPECT_EQ(lines.back()[key], whole[key]) << key;
    EXPECT_EQ(whole["done_reason"], "stop");
    EXPECT_EQ(whole["eval_count"], 13);
    EXPECT_EQ(whole["eval_duration"], 500000000);
    EXPECT_GE(whole["total_duration"].get<std::int64_t>(), 0);
  }
}

TEST_F(Ollama, OptionsReachTheEngine) {
  const auto reply = post("/api/generate", {{"model", "fake-1b:latest"},
                                            {"prompt", "x"},
                                            {"raw", true},
                                            {"options",
                                             {{"temperature", 0},
                                              {"top_k", 5},
                                              {"seed", 9},
                                              {"num_predict", 7},
                                              {"stop", "a"},
                                              {"repeat_penalty", 1.2},
                                              {"num_ctx", 4096}}},
                                            {"keep_alive", "1m30s"}});
  ASSERT_EQ(reply->status, 200) << reply->body;
  const InferenceRequest& request = service.requests.at(0);
  EXPECT_EQ(request.sampling.temperature, 0);
  EXPECT_EQ(request.sampling.top_k, 5);
  EXPECT_EQ(request.sampling.seed, 9u);
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.stop, std::vector<std::string>{"a"});
  EXPECT_EQ(std::get<TextPrompt>(request.prompt).text, "x");
  EXPECT_EQ(reply->header("x-sampan-ignored"), "options.num_ctx");
  EXPECT_EQ(service.kept_alive.at(0).second, std::chrono::seconds(90));
  EXPECT_EQ(ndjson(reply->body).back()["model"], "fake-1b:latest");
}

TEST_F(Ollama, KeepAliveForms) {
  const auto kept = [&](const Json& value) {
    post("/api/generate", {{"model", "fake-1b"}, {"prompt", "x"}, {"keep_alive", value}});
    return service.kept_alive.back().second.count();
  };
  EXPECT_EQ(kept(10), 10000);
  EXPECT_EQ(kept(-1), -1);
  EXPECT_EQ(kept("5m"), 300000);
  EXPECT_EQ(kept("1.5h"), 5400000);
  EXPECT_EQ(kept("-1m"), -1);
  EXPECT_EQ(kept("250ms"), 250);
  for (const char* const wrong : {"", "5x", "m", "5m-", "nan"})
    expect_error("/api/generate", {{"model", "fake-1b"}, {"prompt", "x"}, {"keep_alive", wrong}},
                 400, "keep_alive");
}

TEST_F(Ollama, NoPromptLoadsOrUnloads) {
  const Json loaded = post("/api/generate", {{"model", "fake-1b"}})->json();
  EXPECT_EQ(loaded["done_reason"], "load");
  EXPECT_EQ(loaded["response"], "");
  EXPECT_EQ(service.requests.size(), 1u);
  const Json gone = post("/api/chat", {{"model", "fake-1b"}, {"keep_alive", 0}})->json();
  EXPECT_EQ(gone["done_reason"], "unload");
  EXPECT_EQ(gone["message"]["content"], "");
  EXPECT_EQ(service.requests.size(), 1u);
  expect_error("/api/generate", {{"model", "none"}}, 404, "none");
}

TEST_F(Ollama, PromptsAndThinking) {
  post("/api/generate",
       {{"model", "fake-1b"}, {"prompt", "hi"}, {"system", "be"}, {"think", "low"}});
  const auto& prompt = std::get<ChatPrompt>(service.requests.at(0).prompt);
  EXPECT_EQ(prompt.messages,
            R"([{"role":"system","content":"be"},{"role":"user","content":"hi"}])");
  EXPECT_EQ(Json::parse(prompt.variables)["reasoning_effort"], "low");
  const auto reply = server.send("POST", "/api/chat", R"({"model": "fake-1b", "think": false,
    "messages": [{"role": "assistant", "content": "", "thinking": "hm",
                  "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
                 {"role": "tool", "tool_name": "f", "content": "42"}]})");
  ASSERT_EQ(reply->status, 200) << reply->body;
  const auto& chat = std::get<ChatPrompt>(service.requests.at(1).prompt);
  EXPECT_EQ(chat.messages,
            R"([{"role":"assistant","content":"","reasoning_content":"hm","tool_calls":)"
            R"([{"type":"function","function":{"name":"f","arguments":{"a":1}}}]},)"
            R"({"role":"tool","content":"42","name":"f"}])");
  EXPECT_EQ(Json::parse(chat.variables)["enable_thinking"], false);
}

TEST_F(Ollama, WhatCannotBeHonouredIsRefused) {
  const auto with = [](const char* name, const Json& value) {
    return Json{{"model", "fake-1b"}, {"prompt", "hi"}, {name, value}};
  };
  expect_error("/api/generate", with("template", "{{ x }}"), 400, "template");
  expect_error("/api/generate", with("suffix", "x"), 400, "suffix");
  expect_error("/api/generate", with("format", "json"), 400, "format");
  expect_error("/api/generate",
               {{"model", "fake-1b"}, {"prompt", "hi"}, {"raw", true}, {"system", "be"}}, 400,
               "system");
  expect_error("/api/generate", with("images", {"x"}), 400, "images");
  expect_error("/api/generate", with("options", {{"mirostat", 1}}), 400, "mirostat");
  expect_error("/api/generate", with("think", "extreme"), 400, "think");
  expect_error("/api/generate", {{"prompt", "x"}}, 400, "model");
  EXPECT_EQ(post("/api/generate", with("format", ""))->status, 200);
  for (const char* const path : {"/api/pull", "/api/push", "/api/create", "/api/copy"})
    EXPECT_EQ(post(path, Json::object())->status, 501) << path;
  EXPECT_EQ(server.send("DELETE", "/api/delete")->status, 501);
}

TEST_F(Ollama, ErrorsInTheMiddleAreLines) {
  service.script.error_after_first = std::make_shared<Error>(ErrorCode::kIo, "gone");
  const auto reply = post("/api/generate", {{"model", "fake-1b"}, {"prompt", "hi"}});
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(ndjson(reply->body).back(), Json({{"error", "gone"}}));
}

TEST_F(Ollama, ItsListings) {
  EXPECT_EQ(server.send("GET", "/")->body, "Ollama is running");
  EXPECT_EQ(server.send("HEAD", "/")->status, 200);
  EXPECT_TRUE(server.send("GET", "/api/version")->json()["version"].is_string());
  const Json tags = server.send("GET", "/api/tags")->json()["models"];
  EXPECT_EQ(tags[0]["model"], "fake-1b");
  EXPECT_EQ(tags[0]["details"]["parameter_size"], "1.2B");
  EXPECT_EQ(server.send("GET", "/api/ps")->json()["models"], Json::array());
  service.served[0].is_loaded = true;
  const Json ps = server.send("GET", "/api/ps")->json()["models"];
  EXPECT_EQ(ps[0]["expires_at"], "2318-01-01T00:00:00.000000Z");
  service.served[0].chat_template = "{% if tools %}<think>";
  const Json shown = post("/api/show", {{"name", "fake-1b"}})->json();
  EXPECT_EQ(shown["capabilities"], Json({"completion", "tools", "thinking"}));
  EXPECT_EQ(shown["model_info"]["qwen3.context_length"], 4096);
  expect_error("/api/show", {{"model", "x"}}, 404, "x");
  expect_error("/api/chat", {{"model", "x"}}, 404, "model 'x' not found");
}

TEST_F(Ollama, Vectors) {
  EXPECT_EQ(post("/api/embed", {{"model", "fake-1b"}, {"input", ""}})->json()["embeddings"],
            Json::array());
  const Json json = post("/api/embed", {{"model", "fake-1b"}, {"input", {"abcde", "b"}}})->json();
  ASSERT_EQ(json["embeddings"].size(), 2u) << json.dump();
  EXPECT_FLOAT_EQ(json["embeddings"][0][1], 0.8f);
  EXPECT_EQ(json["prompt_eval_count"], 6);
  EXPECT_EQ(service.pooled.at(0).truncate_tokens, 4096);
  const Json old = post("/api/embeddings", {{"model", "fake-1b"}, {"prompt", "abcde"}})->json();
  EXPECT_EQ(old["embedding"][1], 4);
  EXPECT_EQ(
      post("/api/embed", {{"model", "fake-1b"}, {"input", Json::array()}})->json()["embeddings"],
      Json::array());
}

}  // namespace
}  // namespace sampan
