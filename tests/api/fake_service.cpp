#include "api/fake_service.h"

#include <sstream>

namespace sampan {
namespace {

std::vector<std::int32_t> bytes_as_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::string bytes_of(std::int32_t id) {
  return id >= 0 && id < 256 ? std::string(1, static_cast<char>(id))
                             : "<|" + std::to_string(id) + "|>";
}

ScoredToken scored(std::int32_t id, int alternatives) {
  ScoredToken token;
  token.id = id;
  if (alternatives < 0) return token;
  token.logprob = -0.5f - static_cast<float>(id) / 1000;
  token.rank = 1;
  for (int i = 0; i < alternatives; ++i)
    token.top.push_back({id + i, token.logprob - static_cast<float>(i)});
  return token;
}

std::string prompt_text(const std::variant<ChatPrompt, TextPrompt, TokenPrompt>& prompt) {
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) return chat->messages;
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) return text->text;
  std::string text;
  for (const std::int32_t id : std::get<TokenPrompt>(prompt).ids) text += bytes_of(id);
  return text;
}

class FakeInference : public Inference {
 public:
  explicit FakeInference(int& cancelled) : cancelled_(cancelled) {}
  void cancel() override {
    sinks.clear();
    ++cancelled_;
  }
  std::vector<std::shared_ptr<InferenceSink>> sinks;

 private:
  int& cancelled_;
};

}  // namespace

FakeService::FakeService() {
  ServedModelInfo model;
  model.name = "fake-1b";
  model.family = "qwen3";
  model.quantization = "Q4_0";
  model.format = "gguf";
  model.chat_template = "{{ messages }}";
  model.parameters = 1234567890;
  model.bytes = 700000000;
  model.context_length = 4096;
  model.embedding_length = 4;
  model.created = 1700000000;
  served.push_back(model);
  pool_one = [](const PoolingRequest& request) {
    PoolingResult result;
    const std::string text = prompt_text(std::visit(
        [](const auto& prompt) {
          return std::variant<ChatPrompt, TextPrompt, TokenPrompt>(prompt);
        },
        request.prompt));
    result.embedding = {3, 4, static_cast<float>(text.size() % 5), 0};
    for (const std::int32_t id : request.probe_ids)
      result.probe_logits.push_back(static_cast<float>(id % 7));
    result.prompt_tokens = static_cast<std::int64_t>(text.size());
    return result;
  };
}

ServedModelInfo FakeService::model(const std::string& name) const {
  for (const ServedModelInfo& model : served) {
    if (name.empty() || model.name == name || model.name + ":latest" == name) return model;
  }
  fail(ErrorCode::kNotFound, "The model `{}` does not exist.", printable(name));
}

std::optional<std::string> FakeService::served_name(const std::string& name) const {
  try {
    return model(name).name;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::shared_ptr<Inference> FakeService::start_all(std::vector<InferencePart> parts) {
  auto inference = std::make_shared<FakeInference>(cancelled);
  for (InferencePart& part : parts) {
    requests.push_back(part.request);
    if (auto sink = answer(part.request, part.sink)) inference->sinks.push_back(std::move(sink));
  }
  return inference;
}

std::shared_ptr<InferenceSink> FakeService::answer(const InferenceRequest& request,
                                                   const std::shared_ptr<InferenceSink>& sink) {
  if (script.error_at_start) {
    sink->on_error(*script.error_at_start);
    return nullptr;
  }
  PromptInfo info;
  try {
    info = tokenize(request.model, request.prompt);
  } catch (const Error& error) {
    sink->on_error(error);
    return nullptr;
  }
  sink->on_start(info);
  PromptReport report;
  report.cached_tokens = script.cached;
  if (request.prompt_logprobs >= 0) {
    for (const std::int32_t id : info.ids)
      report.tokens.push_back(scored(id, request.prompt_logprobs));
    if (!report.tokens.empty()) {
      report.tokens[0] = ScoredToken();
      report.tokens[0].id = info.ids[0];
    }
  }
  sink->on_prompt(report);
  Usage usage;
  usage.prompt_tokens = static_cast<std::int64_t>(info.ids.size());
  usage.cached_tokens = script.cached;
  usage.prefill_seconds = 0.25;
  usage.decode_seconds = 0.5;
  for (int choice = 0; choice < request.choices; ++choice) {
    std::int64_t left = request.max_tokens.value_or(1000000);
    for (const Piece& piece : script.pieces) {
      AnswerDelta delta;
      delta.choice = choice;
      delta.is_reasoning = piece.is_reasoning;
      delta.text = piece.text.substr(0, static_cast<std::size_t>(left));
      for (const std::int32_t id : bytes_as_ids(delta.text))
        delta.tokens.push_back(scored(id, request.logprobs));
      left -= static_cast<std::int64_t>(delta.tokens.size());
      usage.completion_tokens += static_cast<std::int64_t>(delta.tokens.size());
      if (piece.is_reasoning)
        usage.reasoning_tokens += static_cast<std::int64_t>(delta.tokens.size());
      if (!delta.tokens.empty()) sink->on_delta(delta);
      if (script.hangs) {
        return sink;
      }
      if (script.error_after_first) {
        sink->on_error(*script.error_after_first);
        return nullptr;
      }
    }
    AnswerEnd end;
    end.choice = choice;
    end.reason = left == 0 ? StopReason::kLength : script.reason;
    end.stop_sequence = script.stop_sequence;
    sink->on_answer_end(end);
  }
  sink->on_end(usage);
  return nullptr;
}

std::shared_ptr<Inference> FakeService::pool(std::vector<PoolingRequest> given, PoolingDone done) {
  std::vector<PoolingResult> results;
  try {
    model(given.front().model);
    for (const PoolingRequest& request : given) {
      pooled.push_back(request);
      results.push_back(pool_one(request));
    }
    done(std::move(results), nullptr);
  } catch (const Error& error) {
    done({}, &error);
  }
  return std::make_shared<FakeInference>(cancelled);
}

PromptInfo FakeService::tokenize(const std::string& name,
                                 const std::variant<ChatPrompt, TextPrompt, TokenPrompt>& prompt) {
  PromptInfo info;
  info.model = model(name).name;
  info.context_length = 4096;
  info.ids = std::holds_alternative<TokenPrompt>(prompt) ? std::get<TokenPrompt>(prompt).ids
                                                         : bytes_as_ids(prompt_text(prompt));
  info.opens_reasoning = script.opens_reasoning;
  info.token_bytes = bytes_of;
  if (info.ids.empty()) fail(ErrorCode::kInvalidArgument, "the prompt is empty");
  if (static_cast<std::int64_t>(info.ids.size()) > info.context_length) {
    fail(ErrorCode::kLimit,
         "This model's maximum context length is {} tokens. However, your prompt has {} tokens; "
         "please shorten it.",
         info.context_length, info.ids.size());
  }
  return info;
}

std::string FakeService::detokenize(const std::string& name, const std::vector<std::int32_t>& ids,
                                    bool) {
  model(name);
  std::string text;
  for (const std::int32_t id : ids) text += bytes_of(id);
  return text;
}

std::string FakeService::token_bytes(const std::string& name, std::int32_t id) {
  model(name);
  return bytes_of(id);
}

std::optional<std::int32_t> FakeService::token_id(const std::string& name,
                                                  const std::string& token) {
  model(name);
  if (token.size() == 1) return static_cast<unsigned char>(token[0]);
  if (token == "yes") return 300;
  if (token == "no") return 301;
  return std::nullopt;
}

void FakeService::keep_alive(const std::string& name, std::chrono::milliseconds duration, bool) {
  kept_alive.emplace_back(model(name).name, duration);
}

void FakeExchange::respond(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  ++answers;
  status = response.status;
  headers = std::move(response.headers);
  body = std::move(response.body);
  is_done = true;
  on_gone_ = nullptr;
  changed_.notify_all();
}

void FakeExchange::start_stream(int given, HttpFields fields) {
  const std::lock_guard lock(mutex_);
  ++answers;
  status = given;
  headers = std::move(fields);
  is_stream = true;
}

void FakeExchange::write(std::string bytes) {
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(is_stream && !is_done);
  body += bytes;
}

void FakeExchange::finish() {
  const std::lock_guard lock(mutex_);
  EXPECT_TRUE(is_stream && !is_done);
  is_done = true;
  on_gone_ = nullptr;
  changed_.notify_all();
}

void FakeExchange::abort() { finish(); }

void FakeExchange::on_gone(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  if (!is_done) on_gone_ = std::move(call);
}

void FakeExchange::set_heartbeat(std::string bytes, std::chrono::milliseconds) {
  heartbeat = std::move(bytes);
}

FakeExchange& FakeExchange::wait() {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return is_done; }));
  return *this;
}

void FakeExchange::leave() {
  std::function<void()> call;
  {
    const std::lock_guard lock(mutex_);
    is_gone_ = true;
    call = std::move(on_gone_);
    on_gone_ = nullptr;
  }
  if (call) call();
}

std::string FakeExchange::header(const std::string& name) const {
  for (const auto& [field, value] : headers) {
    if (field == name) return value;
  }
  return "";
}

TestServer::TestServer(InferenceService& service, const ApiOptions& options,
                       const std::vector<ApiKey>& given)
    : keys(given), server(service, keys, options, metrics) {}

std::shared_ptr<FakeExchange> TestServer::send(const std::string& method, const std::string& path,
                                               const std::string& body, HttpFields headers,
                                               bool wait) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  request.headers = std::move(headers);
  request.body = body;
  request.request_id = "req-1";
  request.arrival = std::chrono::steady_clock::now();
  auto exchange = std::make_shared<FakeExchange>(std::move(request));
  std::uint64_t limit = std::uint64_t{64} << 20;
  if (auto refused = server.authorize(exchange->request(), limit)) {
    exchange->respond(std::move(*refused));
    return exchange;
  }
  server.handle(exchange);
  if (wait) exchange->wait();
  return exchange;
}

std::vector<nlohmann::json> sse_events(const std::string& body) {
  std::vector<nlohmann::json> events;
  std::istringstream lines(body);
  std::string name;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("event: ")) name = line.substr(7);
    if (!line.starts_with("data: ") || line == "data: [DONE]") continue;
    events.push_back(nlohmann::json::parse(line.substr(6)));
    if (!name.empty()) events.back()["event"] = name;
    name.clear();
  }
  return events;
}

std::vector<nlohmann::json> ndjson(const std::string& body) {
  std::vector<nlohmann::json> values;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) values.push_back(nlohmann::json::parse(line));
  return values;
}

}  // namespace sampan
