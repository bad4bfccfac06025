#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "serve/api/api_server.h"

namespace sampan {

// An inference service with scripted answers: one token a byte, so that ids are easy to read.
class FakeService : public InferenceService {
 public:
  struct Piece {
    std::string text;
    bool is_reasoning = false;
  };
  struct Script {
    std::vector<Piece> pieces = {{"Hello"}, {" world"}, {"."}};
    StopReason reason = StopReason::kEnd;
    std::optional<std::string> stop_sequence;
    bool opens_reasoning = false;
    std::int64_t cached = 0;
    std::shared_ptr<Error> error_at_start, error_after_first;
    bool hangs = false;  // never goes past the first piece
  };

  FakeService();

  Script script;
  std::vector<ServedModelInfo> served;
  std::vector<InferenceRequest> requests;  // that were started
  std::vector<PoolingRequest> pooled;
  std::function<PoolingResult(const PoolingRequest&)> pool_one;
  std::vector<std::pair<std::string, std::chrono::milliseconds>> kept_alive;
  int cancelled = 0;

  std::vector<ServedModelInfo> models() const override { return served; }
  ServedModelInfo model(const std::string& name) const override;
  std::optional<std::string> served_name(const std::string& name) const override;
  std::shared_ptr<Inference> start_all(std::vector<InferencePart> parts) override;
  std::shared_ptr<Inference> pool(std::vector<PoolingRequest> requests, PoolingDone done) override;
  PromptInfo tokenize(const std::string& model,
                      const std::variant<ChatPrompt, TextPrompt, TokenPrompt>& prompt) override;
  std::string detokenize(const std::string& model, const std::vector<std::int32_t>& ids,
                         bool skip_special) override;
  std::string token_bytes(const std::string& model, std::int32_t id) override;
  std::optional<std::int32_t> token_id(const std::string& model, const std::string& token) override;
  void keep_alive(const std::string& model, std::chrono::milliseconds duration, bool load) override;

 private:
  // Returns the sink of a request that hangs.
  std::shared_ptr<InferenceSink> answer(const InferenceRequest& request,
                                        const std::shared_ptr<InferenceSink>& sink);
};

// What a client sees. Answers may come later, from another thread.
class FakeExchange : public Exchange {
 public:
  explicit FakeExchange(HttpRequest request) : request_(std::move(request)) {}

  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override;
  void start_stream(int status, HttpFields headers) override;
  void write(std::string bytes) override;
  void finish() override;
  void abort() override;
  std::size_t queued_bytes() const override { return 0; }
  bool is_gone() const override { return is_gone_; }
  void on_gone(std::function<void()> call) override;
  void set_heartbeat(std::string bytes, std::chrono::milliseconds every) override;

  FakeExchange& wait();
  void leave();  // the client goes
  std::string header(const std::string& name) const;
  nlohmann::json json() const { return nlohmann::json::parse(body); }

  int status = 0;
  HttpFields headers;
  std::string body, heartbeat;
  int answers = 0;  // respond and start_stream calls
  bool is_stream = false, is_done = false;

 private:
  HttpRequest request_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> on_gone_;
  bool is_gone_ = false;
};

// A server over a service, as a test drives it.
class TestServer {
 public:
  explicit TestServer(InferenceService& service, const ApiOptions& options = on_this_thread(),
                      const std::vector<ApiKey>& keys = {});

  // As the transport does: authorize, then handle. Returns once it is answered, if wait is set.
  std::shared_ptr<FakeExchange> send(const std::string& method, const std::string& path,
                                     const std::string& body = "", HttpFields headers = {},
                                     bool wait = true);
  std::shared_ptr<FakeExchange> post(const std::string& path, const nlohmann::json& body,
                                     bool wait = true) {
    return send("POST", path, body.dump(), {{"content-type", "application/json"}}, wait);
  }

  static ApiOptions on_this_thread() {
    ApiOptions options;
    options.threads = 0;
    return options;
  }

  KeyRing keys;
  Metrics metrics;
  ApiServer server;
};

// The data of server-sent events, "[DONE]" left out; events whose name is not "message" have it as
// "event".
std::vector<nlohmann::json> sse_events(const std::string& body);
std::vector<nlohmann::json> ndjson(const std::string& body);

}  // namespace sampan
