#pragma once

// A body of an API's request against a service without a model: whatever arrives, exactly one
// answer goes out, and all that is written is JSON where JSON is promised.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/api/api_server.h"

namespace sampan::api_fuzz {

class Service : public InferenceService {
 public:
  std::vector<ServedModelInfo> models() const override { return {model("")}; }
  ServedModelInfo model(const std::string& name) const override {
    if (!name.empty() && name != "m") fail(ErrorCode::kNotFound, "no model {}", printable(name));
    ServedModelInfo info;
    info.name = "m";
    info.chat_template = "developer";
    info.context_length = 512;
    info.embedding_length = 4;
    info.vocabulary = 256;
    return info;
  }
  std::optional<std::string> served_name(const std::string& name) const override {
    if (!name.empty() && name != "m") return std::nullopt;
    return "m";
  }
  std::shared_ptr<Inference> start_all(std::vector<InferencePart> parts) override {
    for (const InferencePart& part : parts) {
      try {
        answer(part.request, *part.sink);
      } catch (const Error& error) {
        part.sink->on_error(error);
      }
    }
    return std::make_shared<Nothing>();
  }
  std::shared_ptr<Inference> pool(std::vector<PoolingRequest> requests, PoolingDone done) override {
    std::vector<PoolingResult> results(requests.size());
    for (PoolingResult& result : results) {
      result.embedding = {1, 2, 3, 4};
      result.probe_logits = {1, 2};
    }
    done(std::move(results), nullptr);
    return std::make_shared<Nothing>();
  }
  PromptInfo tokenize(const std::string& name,
                      const std::variant<ChatPrompt, TextPrompt, TokenPrompt>& prompt) override {
    PromptInfo info;
    info.model = model(name).name;
    if (const auto* ids = std::get_if<TokenPrompt>(&prompt)) info.ids = ids->ids;
    if (const auto* text = std::get_if<TextPrompt>(&prompt))
      for (const char c : text->text) info.ids.push_back(static_cast<unsigned char>(c));
    if (std::holds_alternative<ChatPrompt>(prompt)) info.ids = {1, 2, 3};
    info.token_bytes = [](std::int32_t id) { return std::string(1, static_cast<char>(id)); };
    return info;
  }
  std::string detokenize(const std::string&, const std::vector<std::int32_t>& ids, bool) override {
    return std::string(ids.begin(), ids.end());
  }
  std::string token_bytes(const std::string&, std::int32_t id) override {
    return std::string(1, static_cast<char>(id));
  }
  std::optional<std::int32_t> token_id(const std::string&, const std::string&) override {
    return 7;
  }
  void keep_alive(const std::string& name, std::chrono::milliseconds, bool) override {
    model(name);
  }

 private:
  class Nothing : public Inference {
    void cancel() override {}
  };

  static ScoredToken token(std::int32_t id, int alternatives) {
    ScoredToken token;
    token.id = id;
    if (alternatives < 0) return token;
    token.logprob = -1;
    token.rank = 1;
    for (int i = 0; i < alternatives; ++i) token.top.push_back({i, -1.0f - static_cast<float>(i)});
    return token;
  }
  void answer(const InferenceRequest& request, InferenceSink& sink) {
    const PromptInfo info = tokenize(request.model, request.prompt);
    if (info.ids.size() > 512)
      fail(ErrorCode::kLimit, "This model's maximum context length is 512");
    sink.on_start(info);
    PromptReport report;
    if (request.prompt_logprobs >= 0) {
      for (const std::int32_t id : info.ids)
        report.tokens.push_back(token(id, request.prompt_logprobs));
    }
    sink.on_prompt(report);
    for (int choice = 0; choice < request.choices; ++choice) {
      for (const bool is_reasoning : {true, false}) {
        AnswerDelta delta;
        delta.choice = choice;
        delta.is_reasoning = is_reasoning;
        delta.text = "\xC3\xA9";
        delta.tokens = {token(0xC3, request.logprobs), token(0xA9, request.logprobs)};
        sink.on_delta(delta);
      }
      AnswerEnd end;
      end.choice = choice;
      if (!request.stop.empty()) end.stop_sequence = request.stop[0];
      sink.on_answer_end(end);
    }
    sink.on_end({});
  }
};

// Aborts where an answer is not the only one, or not whole.
class OneAnswer : public Exchange {
 public:
  explicit OneAnswer(HttpRequest request) : request_(std::move(request)) {}
  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override {
    if (answers_++ != 0 || response.status < 200 || response.status >= 600) std::abort();
    is_done_ = true;
  }
  void start_stream(int, HttpFields) override {
    if (answers_++ != 0) std::abort();
    is_stream_ = true;
  }
  void write(std::string) override {
    if (!is_stream_ || is_done_) std::abort();
  }
  void finish() override {
    if (!is_stream_ || is_done_) std::abort();
    is_done_ = true;
  }
  void abort() override { std::abort(); }
  std::size_t queued_bytes() const override { return 0; }
  bool is_gone() const override { return false; }
  void on_gone(std::function<void()>) override {}
  void set_heartbeat(std::string, std::chrono::milliseconds) override {}
  void check() const {
    if (answers_ != 1 || !is_done_) std::abort();
  }

 private:
  HttpRequest request_;
  int answers_ = 0;
  bool is_stream_ = false, is_done_ = false;
};

// The first byte chooses the path, the rest is the body.
template <std::size_t count>
int run(const std::uint8_t* data, std::size_t size, const char* const (&paths)[count]) {
  static Service service;
  static KeyRing keys;
  static Metrics metrics;
  static const ApiOptions options = [] {
    ApiOptions here;
    here.threads = 0;
    return here;
  }();
  static ApiServer server(service, keys, options, metrics);
  if (size == 0) return 0;
  HttpRequest request;
  request.method = "POST";
  request.path = paths[data[0] % count];
  request.headers = {{"content-type", "application/json"}};
  request.body.assign(reinterpret_cast<const char*>(data + 1), size - 1);
  request.request_id = "r";
  request.arrival = std::chrono::steady_clock::now();
  const auto exchange = std::make_shared<OneAnswer>(std::move(request));
  server.handle(exchange);
  exchange->check();
  return 0;
}

}  // namespace sampan::api_fuzz
