#include <gtest/gtest.h>

#include <algorithm>

#include "api/fake_service.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

Json message(Json more = Json::object()) {
  Json body = {{"model", "fake-1b"},
               {"max_tokens", 100},
               {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  body.update(more);
  return body;
}

class Anthropic : public ::testing::Test {
 protected:
  void expect_error(const Json& body, int status, const std::string& type,
                    const std::string& word) {
    const auto reply = server.post("/v1/messages", body);
    ASSERT_EQ(reply->status, status) << body.dump() << " gave " << reply->body;
    const Json json = reply->json();
    EXPECT_EQ(json["type"], "error");
    EXPECT_EQ(json["error"]["type"], type);
    EXPECT_EQ(json["request_id"], "req-1");
    EXPECT_EQ(reply->header("request-id"), "req-1");
    EXPECT_NE(json["error"]["message"].get<std::string>().find(word), std::string::npos)
        << reply->body;
  }
  const ChatPrompt& prompt() { return std::get<ChatPrompt>(service.requests.back().prompt); }

  FakeService service;
  TestServer server{service};
};

TEST_F(Anthropic, AMessage) {
  service.script.pieces = {{"hm", true}, {"Hello"}, {" there"}};
  service.script.cached = 5;
  const auto reply = server.post("/v1/messages", message());
  ASSERT_EQ(reply->status, 200) << reply->body;
  const Json json = reply->json();
  EXPECT_EQ(json["type"], "message");
  EXPECT_EQ(json["role"], "assistant");
  EXPECT_EQ(json["content"][0],
            Json({{"type", "thinking"}, {"thinking", "hm"}, {"signature", ""}}));
  EXPECT_EQ(json["content"][1], Json({{"type", "text"}, {"text", "Hello there"}}));
  EXPECT_EQ(json["stop_reason"], "end_turn");
  EXPECT_TRUE(json["stop_sequence"].is_null());
  EXPECT_EQ(json["usage"]["cache_read_input_tokens"], 5);
  EXPECT_EQ(json["usage"]["input_tokens"].get<std::size_t>() + 5, prompt().messages.size());
  EXPECT_EQ(json["usage"]["output_tokens"], 13);
  EXPECT_EQ(reply->header("request-id"), "req-1");
}

TEST_F(Anthropic, StreamedAndWholeAgree) {
  service.script.pieces = {{"one", true}, {" two", true}, {"Hello"}, {" there"}};
  service.script.reason = StopReason::kStopSequence;
  service.script.stop_sequence = "END";
  const Json whole = server.post("/v1/messages", message())->json();
  const auto stream = server.post("/v1/messages", message({{"stream", true}}));
  EXPECT_EQ(stream->heartbeat, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
  Json content = Json::array(), final_message;
  std::vector<std::string> names;
  for (const Json& event : sse_events(stream->body)) {
    EXPECT_EQ(event["event"], event["type"]);
    names.push_back(event["type"]);
    if (event["type"] == "message_start") final_message = event["message"];
    if (event["type"] == "content_block_start") {
      EXPECT_EQ(event["index"], content.size());
      content.push_back(event["content_block"]);
    }
    if (event["type"] == "content_block_delta") {
      const std::string key = event["delta"]["type"] == "text_delta" ? "text" : "thinking";
      std::string& text =
          content.at(event["index"].get<std::size_t>())[key].get_ref<std::string&>();
      text += event["delta"][key].get<std::string>();
    }
    if (event["type"] == "message_delta") {
      final_message.update(event["delta"]);
      final_message["usage"].update(event["usage"]);
    }
  }
  final_message["content"] = content;
  final_message["id"] = whole["id"];
  EXPECT_EQ(final_message, whole);
  EXPECT_EQ(whole["stop_sequence"], "END");
  EXPECT_EQ(names.front(), "message_start");
  EXPECT_EQ(names.back(), "message_stop");
  EXPECT_EQ(std::count(names.begin(), names.end(), "content_block_stop"), 2);
}

TEST_F(Anthropic, BlocksBecomeTheTemplatesMessages) {
  // Sent as text: the order of keys must survive, and nlohmann::json would sort them.
  const auto reply = server.send("POST", "/v1/messages", R"({"max_tokens": 5, "system": [
      {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
      {"type": "text", "text": "b"}],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "messages": [
      {"role": "user", "content": "one"},
      {"role": "user", "content": [{"type": "text", "text": "two"}]},
      {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "text", "text": "calling"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 1, "a": 2}}]},
      {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "42"}]},
        {"type": "text", "text": "and?"}]}]})",
                                 {{"content-type", "application/json"}});
  ASSERT_EQ(reply->status, 200) << reply->body;
  EXPECT_EQ(
      prompt().messages,
      R"([{"role":"system","content":"a\nb"},{"role":"user","content":"one\ntwo"},)"
      R"({"role":"assistant","content":"calling","reasoning_content":"hm","tool_calls":)"
      R"([{"type":"function","function":{"name":"f","arguments":{"b":1,"a":2}},"id":"t1"}]},)"
      R"({"role":"tool","content":"42","tool_call_id":"t1"},{"role":"user","content":"and?"}])");
  EXPECT_EQ(prompt().tools, R"([{"type":"function","function":{"name":"f","description":"d",)"
                            R"("parameters":{"type":"object"}}}])");
  EXPECT_TRUE(prompt().add_generation_prompt);
  EXPECT_EQ(Json::parse(prompt().variables)["enable_thinking"], false);
}

TEST_F(Anthropic, ToolChoiceNoneShowsNoTools) {
  const Json tools = Json::array({{{"name", "f"}, {"input_schema", {{"type", "object"}}}}});
  for (const char* const type : {"auto", "none"}) {
    const auto reply =
        server.post("/v1/messages", message({{"tools", tools}, {"tool_choice", {{"type", type}}}}));
    ASSERT_EQ(reply->status, 200) << reply->body;
    EXPECT_EQ(std::get<ChatPrompt>(service.requests.back().prompt).tools.empty(),
              type == std::string("none"));
  }
}

TEST_F(Anthropic, AnEmptySystemIsNone) {
  for (const Json& system :
       {Json(""), Json::array(), Json::array({{{"type", "text"}, {"text", ""}}})}) {
    ASSERT_EQ(server.post("/v1/messages", message({{"system", system}}))->status, 200);
    EXPECT_EQ(std::get<ChatPrompt>(service.requests.back().prompt).messages.find("system"),
              std::string::npos);
  }
}

TEST_F(Anthropic, ALastMessageOfTheAssistantIsContinued) {
  server.post("/v1/messages", message({{"messages",
                                        {{{"role", "user"}, {"content", "hi"}},
                                         {{"role", "assistant"}, {"content", "The answer is"}}}},
                                       {"thinking", {{"type", "enabled"}, {"budget_tokens", 1024}}},
                                       {"max_tokens", 2000}}));
  EXPECT_TRUE(prompt().continue_final_message);
  EXPECT_FALSE(prompt().add_generation_prompt);
  EXPECT_EQ(Json::parse(prompt().variables)["enable_thinking"], true);
}

TEST_F(Anthropic, WrongRequestsAreNamed) {
  const std::string wrong = "invalid_request_error";
  Json without = message();
  without.erase("max_tokens");
  expect_error(without, 400, wrong, "max_tokens");
  expect_error(message({{"temperature", 1.5}}), 400, wrong, "temperature");
  expect_error(message({{"thinking", {{"type", "enabled"}, {"budget_tokens", 1000}}}}), 400, wrong,
               "thinking.budget_tokens");
  expect_error(message({{"thinking", {{"type", "enabled"}}}}), 400, wrong, "budget_tokens");
  expect_error(message({{"thinking", {{"type", "enabled"}, {"budget_tokens", 2000}}}}), 400, wrong,
               "max_tokens");
  expect_error(message({{"tool_choice", {{"type", "any"}}}}), 400, wrong, "tool_choice");
  expect_error(message({{"tools", {{{"type", "web_search_20250305"}, {"name", "web_search"}}}}}),
               400, wrong, "tools.0");
  expect_error(message({{"messages", {{{"role", "system"}, {"content", "x"}}}}}), 400, wrong,
               "messages.0.role");
  expect_error(message({{"messages", {{{"role", "user"}, {"content", {{{"type", "image"}}}}}}}}),
               400, wrong, "messages.0.content.0");
  expect_error(message({{"messages", {{{"role", "user"}, {"content", Json::array()}}}}}), 400,
               wrong, "messages");
  expect_error(message({{"model", "claude"}}), 404, "not_found_error", "claude");
  service.script.error_at_start = std::make_shared<OverloadedError>("full");
  expect_error(message(), 529, "overloaded_error", "full");
}

TEST_F(Anthropic, AnErrorInTheMiddleIsAnEvent) {
  service.script.error_after_first = std::make_shared<Error>(ErrorCode::kIo, "gone");
  const auto reply = server.post("/v1/messages", message({{"stream", true}}));
  const Json last = sse_events(reply->body).back();
  EXPECT_EQ(last["event"], "error");
  EXPECT_EQ(last["error"]["type"], "api_error");
}

TEST_F(Anthropic, CountsTokens) {
  Json body = message();
  body.erase("max_tokens");
  const Json json = server.post("/v1/messages/count_tokens", body)->json();
  server.post("/v1/messages", message());
  EXPECT_EQ(json["input_tokens"], prompt().messages.size());
}

TEST_F(Anthropic, ModelsInItsShape) {
  const auto reply = server.send("GET", "/v1/models", "", {{"anthropic-version", "2023-06-01"}});
  const Json json = reply->json();
  EXPECT_EQ(json["data"][0]["type"], "model");
  EXPECT_EQ(json["data"][0]["id"], "fake-1b");
  EXPECT_EQ(json["data"][0]["created_at"], "2023-11-14T22:13:20.000000Z");
  EXPECT_EQ(json["has_more"], false);
  EXPECT_EQ(json["first_id"], "fake-1b");
  const auto missing =
      server.send("GET", "/v1/models/none", "", {{"anthropic-version", "2023-06-01"}});
  EXPECT_EQ(missing->json()["error"]["type"], "not_found_error");
}

}  // namespace
}  // namespace sampan
