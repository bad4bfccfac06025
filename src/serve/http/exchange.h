#pragma once

#include <atomic>
#include <mutex>

#include "serve/http/connection.h"

namespace sampan {

// The exchange of a connection: every call becomes one on the connection's strand.
class ConnectionExchange : public Exchange,
                           public std::enable_shared_from_this<ConnectionExchange> {
 public:
  ConnectionExchange(std::shared_ptr<Connection> connection, HttpRequest request);
  ~ConnectionExchange() override;

  const HttpRequest& request() const override { return request_; }
  void respond(HttpResponse response) override;
  void start_stream(int status, HttpFields headers) override;
  void write(std::string bytes) override;
  void finish() override;
  void abort() override;
  std::size_t queued_bytes() const override { return queued_; }
  bool is_gone() const override { return is_gone_; }
  void on_gone(std::function<void()> call) override;
  void set_heartbeat(std::string bytes, std::chrono::milliseconds every) override;

  // From the connection, on its strand.
  void taken(std::size_t bytes);
  void ended(bool is_whole);

 private:
  template <typename Call>
  void post(Call call);
  void send(Connection& connection, std::string bytes, std::size_t counted);

  std::weak_ptr<Connection> connection_;
  std::shared_ptr<HttpCore> core_;  // keeps the strand's context: before it
  boost::asio::any_io_executor strand_;
  HttpRequest request_;
  std::size_t queue_limit_;
  std::atomic<std::size_t> queued_{0};
  std::atomic<bool> is_gone_{false};
  std::atomic<bool> is_answered_{false};  // respond or start_stream was called
  std::atomic<bool> is_over_{false};      // nothing more will come
  std::mutex mutex_;                      // guards on_gone_
  std::function<void()> on_gone_;
};

}  // namespace sampan
