// The dialects over a real model.
#include <gtest/gtest.h>

#include <filesystem>

#include "api/fake_service.h"
#include "serve/host/model_host.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

class WithNano : public ::testing::Test {
 protected:
  static std::unique_ptr<ModelHost> make_host(HostOptions options = {}) {
    options.threads = 2;
    options.memory = std::int64_t{512} << 20;
    ModelSpec spec;
    spec.name = "nano";
    spec.path = std::filesystem::path(SAMPAN_SOURCE_DIR) / "models" / "nano";
    return std::make_unique<ModelHost>(options, std::vector<ModelSpec>{spec});
  }
  std::unique_ptr<ModelHost> host = make_host();
  TestServer server{*host};
};

TEST_F(WithNano, AllDialectsGiveTheSameText) {
  const std::string question = "Where is my order 48213?";
  const Json messages = {{{"role", "user"}, {"content", question}}};
  const Json openai = server
                          .post("/v1/chat/completions", {{"messages", messages},
                                                         {"temperature", 0},
                                                         {"max_tokens", 24},
                                                         {"return_token_ids", true}})
                          ->json();
  const std::string text = openai["choices"][0]["message"]["content"];
  EXPECT_FALSE(text.empty());
  const Json anthropic =
      server.post("/v1/messages", {{"messages", messages}, {"temperature", 0}, {"max_tokens", 24}})
          ->json();
  EXPECT_EQ(anthropic["content"][0]["text"], text);
  const Json ollama =
      server
          .post("/api/chat", {{"model", "nano"},
                              {"messages", messages},
                              {"stream", false},
                              {"options", {{"temperature", 0}, {"num_predict", 24}}}})
          ->json();
  EXPECT_EQ(ollama["message"]["content"], text);
  const Json generated =
      server
          .post("/api/generate", {{"model", "nano:latest"},
                                  {"prompt", question},
                                  {"stream", false},
                                  {"options", {{"temperature", 0}, {"num_predict", 24}}}})
          ->json();
  EXPECT_EQ(generated["response"], text);
  // The same ids as a plain completion.
  const Json ids = server.post("/tokenize", {{"messages", messages}})->json()["tokens"];
  EXPECT_EQ(ids, openai["prompt_token_ids"]);
  const Json completion =
      server
          .post(
              "/v1/completions",
              {{"prompt", ids}, {"temperature", 0}, {"max_tokens", 24}, {"return_token_ids", true}})
          ->json();
  EXPECT_EQ(completion["choices"][0]["token_ids"], openai["choices"][0]["token_ids"]);
  EXPECT_EQ(
      server.post("/v1/messages/count_tokens", {{"messages", messages}})->json()["input_tokens"],
      ids.size());
}

TEST_F(WithNano, ScoresAPromptAsLmEvalAsks) {
  const Json json = server
                        .post("/v1/completions", {{"prompt", {"Where is my order", "Thank you"}},
                                                  {"max_tokens", 1},
                                                  {"logprobs", 1},
                                                  {"echo", true},
                                                  {"temperature", 0},
                                                  {"seed", 1234}})
                        ->json();
  ASSERT_EQ(json["choices"].size(), 2u) << json.dump();
  const Json& logprobs = json["choices"][0]["logprobs"];
  const std::size_t count = logprobs["tokens"].size();
  EXPECT_EQ(logprobs["token_logprobs"].size(), count);
  EXPECT_EQ(logprobs["top_logprobs"].size(), count);
  EXPECT_EQ(logprobs["text_offset"].size(), count);
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  std::string text;
  for (const Json& token : logprobs["tokens"]) text += token.get<std::string>();
  EXPECT_EQ(text, json["choices"][0]["text"]);
  for (std::size_t i = 1; i < count; ++i) {
    EXPECT_LE(logprobs["token_logprobs"][i], 0);
    double best = -1e9;
    for (const auto& [name, value] : logprobs["top_logprobs"][i].items())
      best = std::max(best, value.get<double>());
    EXPECT_LE(logprobs["token_logprobs"][i], best);
  }
  // Scored alone and without a token after it: the same numbers.
  const Json alone =
      server
          .post(
              "/v1/completions",
              {{"prompt", "Where is my order"}, {"max_tokens", 0}, {"logprobs", 1}, {"echo", true}})
          ->json();
  Json shorter = logprobs["token_logprobs"];
  shorter.erase(shorter.size() - 1);
  EXPECT_EQ(alone["choices"][0]["logprobs"]["token_logprobs"], shorter);
}

// The parts of one request never meet the queue's limit by themselves.
TEST_F(WithNano, AListOfPromptsIsOneRequest) {
  HostOptions options;
  options.engine.max_running = 1;
  options.engine.max_waiting = 1;
  const auto small = make_host(options);
  TestServer narrow(*small);
  const Json json = narrow
                        .post("/v1/completions", {{"prompt", {"Where", "Thank you", "A parcel"}},
                                                  {"n", 3},
                                                  {"max_tokens", 2},
                                                  {"temperature", 0}})
                        ->json();
  ASSERT_TRUE(json.contains("choices")) << json.dump();
  EXPECT_EQ(json["choices"].size(), 9u);
  EXPECT_EQ(narrow.post("/v1/embeddings", {{"input", {"a", "b", "c", "d", "e"}}})->status, 200);
  // One that cannot be answered refuses all of them, before anything is streamed.
  const auto refused = narrow.post(
      "/v1/completions",
      {{"prompt", {"Where", std::string(1 << 20, 'x')}}, {"max_tokens", 500}, {"stream", true}});
  EXPECT_EQ(refused->status, 400);
  EXPECT_FALSE(refused->is_stream);
  EXPECT_EQ(refused->json()["error"]["code"], "context_length_exceeded");
  const auto bad_id =
      narrow.post("/v1/completions", {{"prompt", {{1, 2}, {1, 1 << 30}}}, {"stream", true}});
  EXPECT_EQ(bad_id->status, 400);
  EXPECT_FALSE(bad_id->is_stream);
  EXPECT_EQ(small->metrics().at(0).engine.waiting, 0);
}

TEST_F(WithNano, EmbedsAndReranks) {
  const Json json = server.post("/v1/embeddings", {{"input", {"a parcel", "a refund"}}})->json();
  ASSERT_EQ(json["data"].size(), 2u) << json.dump();
  double sum = 0;
  for (const Json& value : json["data"][0]["embedding"])
    sum += value.get<double>() * value.get<double>();
  EXPECT_NEAR(sum, 1, 1e-5);
  const Json ranked =
      server.post("/v1/rerank", {{"query", "a parcel"}, {"documents", {"a refund", "a parcel"}}})
          ->json();
  EXPECT_EQ(ranked["results"][0]["index"], 1) << ranked.dump();
  EXPECT_NEAR(ranked["results"][0]["relevance_score"], 1, 1e-5);
}

TEST_F(WithNano, StreamsAndEndsWhenTheClientGoes) {
  const auto stream =
      server.post("/v1/completions",
                  {{"prompt", "Where"}, {"stream", true}, {"max_tokens", 12}, {"temperature", 0}});
  const Json whole =
      server.post("/v1/completions", {{"prompt", "Where"}, {"max_tokens", 12}, {"temperature", 0}})
          ->json();
  std::string text;
  for (const Json& event : sse_events(stream->body))
    text += event["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(text, whole["choices"][0]["text"]);
  const auto gone = server.post(
      "/v1/completions",
      {{"prompt", "Where"}, {"stream", true}, {"max_tokens", 1500}, {"ignore_eos", true}}, false);
  gone->leave();
  host.reset();  // nothing of it is left behind
  EXPECT_FALSE(gone->is_done);
}

}  // namespace
}  // namespace sampan
