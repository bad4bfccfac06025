#include <gtest/gtest.h>

#include <set>

#include "api/fake_service.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

Json chat(Json more = Json::object()) {
  Json body = {{"model", "fake-1b"}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  body.update(more);
  return body;
}

// The texts of a streamed chat's choices.
std::vector<std::string> streamed(const std::string& body, const std::string& field,
                                  int choices = 1) {
  std::vector<std::string> texts(static_cast<std::size_t>(choices));
  for (const Json& event : sse_events(body)) {
    for (const Json& choice : event["choices"]) {
      const Json& delta = choice["delta"];
      if (delta.contains(field) && delta[field].is_string())
        texts[choice["index"].get<std::size_t>()] += delta[field].get<std::string>();
    }
  }
  return texts;
}

class OpenAi : public ::testing::Test {
 protected:
  // The answer to a request that must be wrong.
  void expect_error(const std::string& path, const Json& body, int status, const Json& param,
                    const std::string& code = "") {
    const auto reply = server.post(path, body);
    ASSERT_EQ(reply->status, status) << body.dump() << " gave " << reply->body;
    const Json error = reply->json()["error"];
    EXPECT_EQ(error["param"], param) << reply->body;
    EXPECT_TRUE(error["message"].is_string() && error["type"].is_string()) << reply->body;
    if (!code.empty()) {
      EXPECT_EQ(error["code"], code) << reply->body;
    }
  }

  FakeService service;
  TestServer server{service};
};

TEST_F(OpenAi, ChatGivesAnAnswer) {
  service.script.pieces = {{"because", true}, {"Hello"}, {" you"}};
  service.script.cached = 3;
  const auto reply = server.post("/v1/chat/completions", chat());
  ASSERT_EQ(reply->status, 200) << reply->body;
  const Json json = reply->json();
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "fake-1b");
  EXPECT_TRUE(json["id"].get<std::string>().starts_with("chatcmpl-"));
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["message"]["role"], "assistant");
  EXPECT_EQ(choice["message"]["content"], "Hello you");
  EXPECT_EQ(choice["message"]["reasoning_content"], "because");
  EXPECT_EQ(choice["message"]["reasoning"], "because");
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_EQ(json["usage"]["completion_tokens"], 16);
  EXPECT_EQ(json["usage"]["completion_tokens_details"]["reasoning_tokens"], 7);
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
  EXPECT_EQ(json["usage"]["total_tokens"].get<int>(),
            json["usage"]["prompt_tokens"].get<int>() + 16);
  EXPECT_FALSE(reply->header("openai-processing-ms").empty());
  EXPECT_EQ(reply->header("x-sampan-ignored"), "");
}

TEST_F(OpenAi, StreamedAndWholeAgree) {
  service.script.pieces = {{"first", true}, {" thought", true}, {"H\xC3\xA9llo"}, {" world"}};
  for (const int n : {1, 3}) {
    const Json whole = server.post("/v1/chat/completions", chat({{"n", n}}))->json();
    const auto stream = server.post(
        "/v1/chat/completions",
        chat({{"n", n}, {"stream", true}, {"stream_options", {{"include_usage", true}}}}));
    EXPECT_EQ(stream->header("content-type"), "text/event-stream; charset=utf-8");
    EXPECT_EQ(stream->heartbeat, ": ping\n\n");
    EXPECT_TRUE(stream->body.ends_with("data: [DONE]\n\n"));
    const auto content = streamed(stream->body, "content", n);
    const auto reasoning = streamed(stream->body, "reasoning_content", n);
    for (std::size_t i = 0; i < content.size(); ++i) {
      EXPECT_EQ(content[i], whole["choices"][i]["message"]["content"]);
      EXPECT_EQ(reasoning[i], whole["choices"][i]["message"]["reasoning_content"]);
    }
    const auto events = sse_events(stream->body);
    EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
    EXPECT_TRUE(events[0]["usage"].is_null());
    EXPECT_EQ(events.back()["choices"], Json::array());
    EXPECT_EQ(events.back()["usage"], whole["usage"]);
    for (const Json& event : events) EXPECT_EQ(event["id"], events[0]["id"]);
    int finished = 0;
    for (const Json& event : events)
      for (const Json& choice : event["choices"]) finished += choice["finish_reason"] == "stop";
    EXPECT_EQ(finished, n);
  }
}

TEST_F(OpenAi, ChunksArePaddedUnlessToldOtherwise) {
  service.script.pieces = {{"a"}, {"four"}, {"thirteen chars"}};
  const auto padded = server.post("/v1/chat/completions", chat({{"stream", true}}));
  std::set<std::size_t> sizes;
  for (const Json& event : sse_events(padded->body)) {
    if (event["choices"][0]["delta"].contains("content")) sizes.insert(event.dump().size() % 32);
    EXPECT_TRUE(event.contains("obfuscation"));
  }
  EXPECT_EQ(sizes.size(), 1u);
  const auto plain =
      server.post("/v1/chat/completions",
                  chat({{"stream", true}, {"stream_options", {{"include_obfuscation", false}}}}));
  EXPECT_EQ(plain->body.find("obfuscation"), std::string::npos);
}

TEST_F(OpenAi, FieldsReachTheEngine) {
  const auto reply =
      server.post("/v1/chat/completions", chat({{"temperature", 0.5},
                                                {"top_p", 0.9},
                                                {"top_k", -1},
                                                {"min_p", 0.1},
                                                {"seed", -5},
                                                {"stop", {"a", "b"}},
                                                {"max_tokens", 9},
                                                {"max_completion_tokens", 7},
                                                {"presence_penalty", 1},
                                                {"frequency_penalty", -1},
                                                {"repetition_penalty", 1.1},
                                                {"logit_bias", {{"12", -100}, {"15", 3.5}}},
                                                {"n", 2},
                                                {"stop_token_ids", {4, 5}},
                                                {"ignore_eos", true},
                                                {"min_tokens", 2},
                                                {"priority", -3},
                                                {"logprobs", true},
                                                {"top_logprobs", 4},
                                                {"skip_special_tokens", false},
                                                {"include_stop_str_in_output", true}}));
  ASSERT_EQ(reply->status, 200) << reply->body;
  const InferenceRequest& request = service.requests.at(0);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_p, 0.9);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_EQ(request.sampling.min_p, 0.1);
  EXPECT_EQ(request.sampling.seed, static_cast<std::uint64_t>(-5));
  EXPECT_EQ(request.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.1);
  EXPECT_EQ(request.sampling.logit_bias.size(), 2u);
  EXPECT_EQ(request.choices, 2);
  EXPECT_EQ(request.stop_token_ids, (std::vector<std::int32_t>{4, 5}));
  EXPECT_TRUE(request.ignore_eos && request.include_stop && !request.skip_special_tokens);
  EXPECT_EQ(request.min_tokens, 2);
  EXPECT_EQ(request.priority, -3);
  EXPECT_EQ(request.logprobs, 4);
}

TEST_F(OpenAi, WhatIsLeftOutIsTheModelsDefault) {
  server.post("/v1/chat/completions", chat({{"temperature", nullptr}}));
  EXPECT_FALSE(service.requests.at(0).sampling.temperature);
  EXPECT_FALSE(service.requests.at(0).max_tokens);
  ApiOptions options;
  options.api_sampling_defaults = true;
  TestServer strict(service, options);
  strict.post("/v1/chat/completions", chat());
  EXPECT_EQ(service.requests.at(1).sampling.temperature, 1);
  EXPECT_EQ(service.requests.at(1).sampling.top_k, 0);
}

TEST_F(OpenAi, WrongFieldsAreNamed) {
  const std::string path = "/v1/chat/completions";
  expect_error(path, Json::array(), 400, nullptr);
  expect_error(path, {{"model", "fake-1b"}}, 400, "messages", "missing_required_parameter");
  expect_error(path, chat({{"temperature", 2.1}}), 400, "temperature");
  expect_error(path, chat({{"temperature", "hot"}}), 400, "temperature", "invalid_type");
  expect_error(path, chat({{"top_p", 1.5}}), 400, "top_p");
  expect_error(path, chat({{"n", 0}}), 400, "n");
  expect_error(path, chat({{"n", 1.5}}), 400, "n");
  expect_error(path, chat({{"stop", {"1", "2", "3", "4", "5"}}}), 400, "stop");
  expect_error(path, chat({{"stop", {"1", 2}}}), 400, "stop");
  expect_error(path, chat({{"max_tokens", 0}}), 400, "max_tokens");
  expect_error(path, chat({{"seed", 1e300}}), 400, "seed");
  expect_error(path, chat({{"seed", 18446744073709551615u}}), 400, "seed");
  expect_error(path, chat({{"logit_bias", {{"x", 1}}}}), 400, "logit_bias");
  expect_error(path, chat({{"logit_bias", {{"1", 101}}}}), 400, "logit_bias");
  expect_error(path, chat({{"top_logprobs", 2}}), 400, "top_logprobs");
  expect_error(path, chat({{"logprobs", true}, {"top_logprobs", 21}}), 400, "top_logprobs");
  expect_error(path, chat({{"stream_options", {{"include_usage", 3}}}}), 400,
               "stream_options.include_usage");
  expect_error(path, chat({{"stop_token_ids", {-1}}}), 400, "stop_token_ids");
  expect_error(path, chat({{"reasoning_effort", "extreme"}}), 400, "reasoning_effort");
}

TEST_F(OpenAi, WhatCannotBeHonouredIsRefusedByName) {
  const std::string path = "/v1/chat/completions";
  expect_error(path, chat({{"response_format", {{"type", "json_object"}}}}), 400,
               "response_format");
  expect_error(path, chat({{"guided_json", {{"type", "object"}}}}), 400, "guided_json");
  expect_error(path, chat({{"tool_choice", "required"}}), 400, "tool_choice");
  expect_error(path, chat({{"chat_template", "{{ x }}"}}), 400, "chat_template");
  expect_error(path, chat({{"store", true}}), 400, "store");
  expect_error(path, chat({{"chat_template_kwargs", {{"messages", {1}}}}}), 400,
               "chat_template_kwargs");
  expect_error("/v1/completions", {{"prompt", "a"}, {"suffix", "b"}}, 400, "suffix");
  expect_error("/v1/completions", {{"prompt", "a"}, {"best_of", 3}}, 400, "best_of");
  // What says nothing is fine.
  const auto fine = server.post(path, chat({{"response_format", {{"type", "text"}}},
                                            {"store", false},
                                            {"tools", nullptr},
                                            {"parallel_tool_calls", true},
                                            {"modalities", {"text"}},
                                            {"functions", nullptr},
                                            {"tool_choice", "none"},
                                            {"guided_json", nullptr},
                                            {"length_penalty", 1.0}}));
  EXPECT_EQ(fine->status, 200) << fine->body;
}

TEST_F(OpenAi, UnknownFieldsAreNamedInAHeader) {
  const auto reply = server.post(
      "/v1/chat/completions",
      chat({{"frobnicate", 1}, {"user", "me"}, {"evil\r\nname,", 1}, {"nothing", nullptr}}));
  EXPECT_EQ(reply->status, 200);
  const std::string header = reply->header("x-sampan-ignored");
  EXPECT_NE(header.find("frobnicate"), std::string::npos);
  EXPECT_NE(header.find("user"), std::string::npos);
  EXPECT_EQ(header.find('\n'), std::string::npos);
  EXPECT_EQ(header.find("nothing"), std::string::npos);
}

TEST_F(OpenAi, BodiesThatAreNoJson) {
  const auto post = [&](const std::string& body) {
    return server.send("POST", "/v1/chat/completions", body,
                       {{"content-type", "application/json"}});
  };
  const std::string open = R"({"messages":[{"role":"user","content":"hi"}],)";
  EXPECT_EQ(post(open + R"("user":"a"})")->status, 200);
  for (const std::string& end :
       {std::string(R"("n":1,"n":2})"), std::string(R"("user":"\ud800"})"),
        std::string("\"user\":\"\xff\"}"), std::string("\"user\":\"\xed\xa0\x80\"}"),
        std::string(R"("seed":1e999})"), std::string("\"user\":\"a\""), std::string("\"a\":01}"),
        std::string("\"x\":") + std::string(200, '[') + std::string(200, ']') + "}"}) {
    const auto reply = post(open + end);
    EXPECT_EQ(reply->status, 400) << end;
    EXPECT_EQ(reply->json()["error"]["code"], "invalid_json") << end;
  }
  EXPECT_EQ(post(open + "\"x\":" + std::string(120, '[') + std::string(120, ']') + "}")->status,
            200);
  EXPECT_EQ(post("")->status, 400);
  std::string many = "\"x\":{";
  for (int i = 0; i < 40; ++i)
    many += "\"k" + std::to_string(i) + "\":[" + std::to_string(i) + "],";
  EXPECT_EQ(post(open + many + "\"k\":1}}")->status, 200);
  EXPECT_EQ(post(open + many + "\"k7\":1}}")->status, 400);
}

TEST_F(OpenAi, MessagesBecomeTheTemplates) {
  const Json messages = Json::parse(R"([
    {"role": "developer", "content": "be kind"},
    {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    {"role": "assistant", "content": null, "reasoning": "hm",
     "tool_calls": [{"id": "c1", "type": "function",
                     "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "done"}])");
  const auto reply = server.post(
      "/v1/chat/completions",
      {{"messages", messages}, {"reasoning_effort", "none"}, {"chat_template_kwargs", {{"x", 1}}}});
  ASSERT_EQ(reply->status, 200) << reply->body;
  const auto& prompt = std::get<ChatPrompt>(service.requests.at(0).prompt);
  EXPECT_EQ(prompt.messages,
            R"([{"role":"system","content":"be kind"},{"role":"user","content":"one\ntwo"},)"
            R"({"role":"assistant","content":"","tool_calls":[{"type":"function","function":)"
            R"({"name":"f","arguments":{"b":1,"a":2}},"id":"c1"}],"reasoning_content":"hm"},)"
            R"({"role":"tool","content":"done","tool_call_id":"c1"}])");
  const Json variables = Json::parse(prompt.variables);
  EXPECT_EQ(variables["enable_thinking"], false);
  EXPECT_EQ(variables["thinking"], false);
  EXPECT_EQ(variables["x"], 1);
}

TEST_F(OpenAi, ToolChoiceNoneShowsNoTools) {
  const Json tools = Json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  for (const char* const choice : {"auto", "none"}) {
    const auto reply =
        server.post("/v1/chat/completions", chat({{"tools", tools}, {"tool_choice", choice}}));
    ASSERT_EQ(reply->status, 200) << reply->body;
    const auto& prompt = std::get<ChatPrompt>(service.requests.back().prompt);
    EXPECT_EQ(prompt.tools.empty(), choice == std::string("none"));
  }
  expect_error("/v1/chat/completions",
               chat({{"tools", {{{"type", "x"}}}}, {"tool_choice", "none"}}), 400, "tools[0].type");
}

TEST_F(OpenAi, WrongMessagesAreNamed) {
  const auto with = [](const Json& message) {
    return Json{{"messages", {{{"role", "user"}, {"content", "a"}}, message}}};
  };
  const std::string path = "/v1/chat/completions";
  expect_error(path, {{"messages", Json::array()}}, 400, "messages");
  EXPECT_EQ(server.post(path, {{"messages", Json::array()}})->json()["error"]["message"],
            "'messages' has 0 entries; it must have at least 1.");
  expect_error(path, with({{"role", "user"}}), 400, "messages[1].content");
  expect_error(path, with({{"role", "king"}, {"content", "a"}}), 400, "messages[1].role");
  expect_error(path, with({{"role", "user"}, {"content", 5}}), 400, "messages[1].content");
  expect_error(path, with({{"role", "user"}, {"content", {{{"type", "image_url"}}}}}), 400,
               "messages[1].content");
  expect_error(path, with("text"), 400, "messages[1]");
  expect_error(path, with({{"role", "assistant"}, {"tool_calls", {1}}}), 400,
               "messages[1].tool_calls");
}

TEST_F(OpenAi, MinTokensFitsIntoTheLimit) {
  expect_error("/v1/chat/completions", chat({{"min_tokens", 4}, {"max_tokens", 3}}), 400,
               "min_tokens");
  expect_error("/v1/completions", {{"prompt", "a"}, {"min_tokens", 17}}, 400, "min_tokens");
  EXPECT_EQ(
      server.post("/v1/chat/completions", chat({{"min_tokens", 3}, {"max_tokens", 3}}))->status,
      200);
  EXPECT_EQ(server.post("/v1/chat/completions", chat({{"min_tokens", 5000}}))->status, 200);
}

TEST_F(OpenAi, ChatLogprobs) {
  service.script.pieces = {{"\xC3"}, {"\xA9!"}};
  service.script.pieces = {{"\xC3\xA9!"}};
  const Json body = chat({{"logprobs", true}, {"top_logprobs", 2}});
  const Json content =
      server.post("/v1/chat/completions", body)->json()["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 3u);
  EXPECT_EQ(content[0]["bytes"], Json::array({0xC3}));
  EXPECT_EQ(content[2]["token"], "!");
  EXPECT_EQ(content[2]["top_logprobs"].size(), 2u);
  EXPECT_EQ(content[2]["top_logprobs"][0]["logprob"], content[2]["logprob"]);
  Json stream_body = body;
  stream_body["stream"] = true;
  Json streamed_content = Json::array();
  for (const Json& event : sse_events(server.post("/v1/chat/completions", stream_body)->body)) {
    if (event["choices"][0]["logprobs"].is_null()) continue;
    for (const Json& token : event["choices"][0]["logprobs"]["content"])
      streamed_content.push_back(token);
  }
  EXPECT_EQ(streamed_content, content);
}

TEST_F(OpenAi, CompletionsEchoWithLogprobs) {
  const Json body = {{"model", "fake-1b"}, {"prompt", {"ab\xC3\xA9", "q"}},
                     {"max_tokens", 1},    {"logprobs", 1},
                     {"echo", true},       {"temperature", 0},
                     {"seed", 1234}};
  const Json json = server.post("/v1/completions", body)->json();
  ASSERT_EQ(json["choices"].size(), 2u) << json.dump();
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["text"], "ab\xC3\xA9H");
  EXPECT_EQ(json["choices"][1]["text"], "qH");
  EXPECT_EQ(json["choices"][1]["index"], 1);
  EXPECT_EQ(choice["finish_reason"], "length");
  const Json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"a", "b", "bytes:\\xc3", "bytes:\\xa9", "H"}));
  EXPECT_EQ(logprobs["text_offset"], Json({0, 1, 2, 3, 3}));
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  // lm-eval's test for a greedy token.
  for (std::size_t i = 1; i < 5; ++i) {
    double best = -1e9;
    for (const auto& [name, value] : logprobs["top_logprobs"][i].items())
      best = std::max(best, value.get<double>());
    EXPECT_EQ(logprobs["token_logprobs"][i], best);
  }
  EXPECT_EQ(json["usage"]["prompt_tokens"], 5);
  EXPECT_EQ(json["usage"]["completion_tokens"], 2);
}

TEST_F(OpenAi, CompletionsStreamedAndWholeAgree) {
  const Json body = {{"prompt", {"ab", "cd"}},
                     {"n", 2},
                     {"logprobs", 2},
                     {"echo", true},
                     {"return_token_ids", true}};
  const Json whole = server.post("/v1/completions", body)->json();
  Json stream_body = body;
  stream_body["stream"] = true;
  std::vector<Json> choices(
      4, Json{{"text", ""}, {"tokens", Json::array()}, {"offsets", Json::array()}});
  for (const Json& event : sse_events(server.post("/v1/completions", stream_body)->body)) {
    for (const Json& choice : event["choices"]) {
      Json& sum = choices.at(choice["index"]);
      sum["text"] = sum["text"].get<std::string>() + choice["text"].get<std::string>();
      if (choice["logprobs"].is_null()) continue;
      for (const Json& token : choice["logprobs"]["tokens"]) sum["tokens"].push_back(token);
      for (const Json& offset : choice["logprobs"]["text_offset"]) sum["offsets"].push_back(offset);
    }
  }
  ASSERT_EQ(whole["choices"].size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(choices[i]["text"], whole["choices"][i]["text"]);
    EXPECT_EQ(choices[i]["tokens"], whole["choices"][i]["logprobs"]["tokens"]);
    EXPECT_EQ(choices[i]["offsets"], whole["choices"][i]["logprobs"]["text_offset"]);
  }
  EXPECT_EQ(whole["choices"][0]["prompt_token_ids"], Json({'a', 'b'}));
}

TEST_F(OpenAi, CompletionsTakeIds) {
  const Json one =
      server.post("/v1/completions", {{"prompt", {104, 105}}, {"echo", true}, {"max_tokens", 0}})
          ->json();
  EXPECT_EQ(one["choices"][0]["text"], "hi");
  const Json many = server
                        .post("/v1/completions", {{"prompt", {{104}, {105}}},
                                                  {"echo", true},
                                                  {"max_tokens", 0},
                                                  {"prompt_logprobs", 1}})
                        ->json();
  EXPECT_EQ(many["choices"][1]["text"], "i");
  EXPECT_EQ(many["choices"][1]["prompt_logprobs"], Json({nullptr}));
  expect_error("/v1/completions", {{"prompt", Json::array()}}, 400, "prompt");
  expect_error("/v1/completions", {{"prompt", {1, "a"}}}, 400, "prompt");
  expect_error("/v1/completions", {{"prompt", {1.5}}}, 400, "prompt");
  expect_error("/v1/completions", {{"prompt", {"a", 1}}}, 400, "prompt");
  EXPECT_EQ(service.requests.at(0).max_tokens, 0);
  server.post("/v1/completions", {{"prompt", "x"}});
  EXPECT_EQ(service.requests.back().max_tokens, 16);
  EXPECT_FALSE(service.requests.back().split_reasoning);
}

TEST_F(OpenAi, ErrorsOfTheEngine) {
  const std::string path = "/v1/chat/completions";
  expect_error(path, chat({{"model", "gpt-4"}}), 404, "model", "model_not_found");
  expect_error("/v1/completions", {{"prompt", std::string(5000, 'x')}}, 400, nullptr,
               "context_length_exceeded");
  service.script.error_at_start = std::make_shared<OverloadedError>("full");
  const auto full = server.post(path, chat({{"stream", true}}));
  EXPECT_EQ(full->status, 503);
  EXPECT_EQ(full->header("retry-after"), "1");
  EXPECT_FALSE(full->is_stream);
}

TEST_F(OpenAi, AnErrorInTheMiddleOfAStreamIsAnEvent) {
  service.script.error_after_first = std::make_shared<Error>(ErrorCode::kIo, "the disk is gone");
  const auto reply = server.post("/v1/chat/completions", chat({{"stream", true}}));
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(sse_events(reply->body).back()["error"]["message"], "the disk is gone");
  EXPECT_EQ(reply->answers, 1);
}

TEST_F(OpenAi, AClientThatGoesEndsItsRequest) {
  service.script.hangs = true;
  const auto exchange = server.post("/v1/chat/completions", chat({{"stream", true}}), false);
  EXPECT_FALSE(exchange->is_done);
  exchange->leave();
  EXPECT_EQ(service.cancelled, 1);
  EXPECT_NE(server.metrics.text().find("finished_reason=\"abort\"} 1"), std::string::npos);
}

TEST_F(OpenAi, Models) {
  const Json list = server.send("GET", "/v1/models")->json();
  EXPECT_EQ(list["object"], "list");
  EXPECT_EQ(list["data"][0]["id"], "fake-1b");
  EXPECT_EQ(list["data"][0]["object"], "model");
  EXPECT_EQ(server.send("GET", "/v1/models/fake-1b")->json()["id"], "fake-1b");
  EXPECT_EQ(server.send("GET", "/v1/models/org/other")->status, 404);
}

TEST_F(OpenAi, Embeddings) {
  const Json json =
      server.post("/v1/embeddings", {{"model", "fake-1b"}, {"input", {"abcde", "f"}}})->json();
  ASSERT_EQ(json["data"].size(), 2u) << json.dump();
  EXPECT_FLOAT_EQ(json["data"][0]["embedding"][0], 0.6f);
  EXPECT_FLOAT_EQ(json["data"][0]["embedding"][1], 0.8f);
  EXPECT_EQ(json["data"][1]["index"], 1);
  EXPECT_EQ(json["usage"]["prompt_tokens"], 6);
  EXPECT_EQ(service.pooled.at(0).pooling, Pooling::kMean);
  const Json cut = server
                       .post("/v1/embeddings",
                             {{"input", "abcde"}, {"dimensions", 1}, {"encoding_format", "base64"}})
                       ->json();
  EXPECT_EQ(cut["data"][0]["embedding"], "AACAPw==");  // 1.0f
  const Json two = server
                       .post("/v1/embeddings",
                             {{"input", "abcde"}, {"dimensions", 2}, {"encoding_format", "base64"}})
                       ->json();
  EXPECT_EQ(two["data"][0]["embedding"], "mpkZP83MTD8=");
  expect_error("/v1/embeddings", {{"input", "a"}, {"dimensions", 5}}, 400, "dimensions");
  expect_error("/v1/embeddings", {{"input", ""}}, 400, "input");
  expect_error("/v1/embeddings", {{"input", Json::array()}}, 400, "input");
  expect_error("/v1/embeddings", {{"input", std::vector<std::string>(2049, "a")}}, 400, "input");
  expect_error("/v1/embeddings", {{"input", "a"}, {"model", "x"}}, 404, "model", "model_not_found");
  service.served[0].name = "Qwen3-Embedding-0.6B";
  server.post("/v1/embeddings", {{"input", "a"}});
  EXPECT_EQ(service.pooled.back().pooling, Pooling::kLastToken);
}

TEST(OpenAiCompletions, TooManyTextsAreRefusedWhole) {
  FakeService service;
  TestServer server(service);
  const Json body = {{"prompt", std::vector<std::string>(1025, "a")}, {"n", 2}};
  const auto refused = server.post("/v1/completions", body);
  EXPECT_EQ(refused->status, 400);
  EXPECT_EQ(refused->json()["error"]["param"], "prompt");
  EXPECT_TRUE(service.requests.empty());
}

}  // namespace
}  // namespace sampan
