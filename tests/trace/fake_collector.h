#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serve/http/http_server.h"

namespace sampan {

// An OTLP/HTTP collector on loopback that keeps what it is sent.
class FakeCollector : public HttpHandler {
 public:
  using Json = nlohmann::json;

  FakeCollector() : server_(HttpOptions{}, *this) { port_ = server_.listen({"127.0.0.1", 0, ""}); }
  ~FakeCollector() override { server_.stop(); }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1/traces"; }
  // What the next requests are answered with; then 200.
  void will_answer(std::deque<HttpResponse> replies) {
    const std::lock_guard lock(mutex_);
    replies_ = std::move(replies);
  }
  std::vector<HttpRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // The spans of all requests that were answered 200, once there are so many.
  std::vector<Json> wait_for_spans(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(20), [&] { return spans_.size() >= count; }))
        << spans_.size() << " spans of " << count;
    return spans_;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    spans_.clear();
    requests_.clear();
  }

  std::optional<HttpResponse> authorize(const HttpRequest&, std::uint64_t&) override {
    return std::nullopt;
  }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const std::lock_guard lock(mutex_);
    requests_.push_back(exchange->request());
    HttpResponse reply{200, {{"content-type", "application/json"}}, "{}"};
    if (!replies_.empty()) {
      reply = std::move(replies_.front());
      replies_.pop_front();
    }
    if (reply.status == 200) take(Json::parse(exchange->request().body));
    exchange->respond(std::move(reply));
    changed_.notify_all();
  }
  HttpResponse error(const HttpRequest*, int status, std::string_view message) override {
    return {status, {}, std::string(message)};
  }

 private:
  void take(const Json& body) {
    for (const Json& resource : body.at("resourceSpans"))
      for (const Json& scope : resource.at("scopeSpans"))
        for (const Json& span : scope.at("spans")) spans_.push_back(span);
  }

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<HttpResponse> replies_;
  std::vector<HttpRequest> requests_;
  std::vector<Json> spans_;
  HttpServer server_;  // its threads use the others
  std::uint16_t port_ = 0;
};

// An attribute's value, without its type; null where there is none.
inline nlohmann::json attribute(const nlohmann::json& span, const std::string& name) {
  for (const nlohmann::json& one : span.at("attributes")) {
    if (one.at("key") == name) return one.at("value").begin().value();
  }
  return nullptr;
}

}  // namespace sampan
