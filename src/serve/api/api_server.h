#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "serve/api/key_ring.h"
#include "serve/api/metrics.h"
#include "serve/host/inference.h"
#include "serve/http/http_server.h"

namespace sampan {

// Under which names OpenAI's replies carry the text of <think>…</think>.
enum class ReasoningOutput : std::uint8_t {
  kBoth,              // reasoning_content and reasoning
  kReasoningContent,  // DeepSeek's name
  kReasoning,         // vLLM's name
  kInContent,         // the answer as the model wrote it, tags included
};

struct ApiOptions {
  int threads = 4;                        // that parse and tokenize bodies; 0: the transport's own
  std::string version = "0.1.0";          // of the program
  std::string ollama_version = "0.12.6";  // what /api/version tells Ollama's clients
  std::uint64_t body_limit = std::uint64_t{64} << 20;
  ReasoningOutput reasoning = ReasoningOutput::kBoth;
  // What a request leaves open is sampled as its API documents it, not as the model's
  // generation_config.json says.
  bool api_sampling_defaults = false;
  std::chrono::milliseconds heartbeat{15000};  // of streams that are silent
  std::chrono::milliseconds deadline{0};       // of a request; 0: none
  LogWriter log;     // is told of answers that failed through no fault of the client
  std::vector<std::string> origins;  // of pages that may call a server without keys; "*": all
  std::string page;  // HTML of GET / for browsers; "" = Ollama's line for them as well
};

// All HTTP APIs over one inference service: one routes table, one way to the engine. Thread-safe.
class ApiServer : public HttpHandler {
 public:
  // All outlive the server and the exchanges that it was given.
  ApiServer(InferenceService& service, const KeyRing& keys, ApiOptions options, Metrics& metrics);
  ~ApiServer() override;

  std::optional<HttpResponse> authorize(const HttpRequest& head,
                                        std::uint64_t& body_limit) override;
  void handle(std::shared_ptr<Exchange> exchange) override;
  HttpResponse error(const HttpRequest* head, int status, std::string_view message) override;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// docs/reference/api.md, made of the routes and their field tables.
std::string api_reference();

}  // namespace sampan
