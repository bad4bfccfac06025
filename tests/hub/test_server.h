#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sampan::testing {

// A request as a test server received it. Header names are in lower case.
struct ServerRequest {
  std::string method;
  std::string path;  // percent-decoded, without the query
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;

  std::string header(const std::string& name) const;
  // "bytes=A-B" as [A, B].
  std::optional<std::pair<std::uint64_t, std::uint64_t>> range() const;
};

// What to answer, with the ways in which servers and networks fail.
struct ServerReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::optional<std::string> content_length{};  // in place of the true one
  std::optional<std::size_t> cut_after{};  // closes the connection after so many bytes of the body
  int delay_ms = 0;                        // before the head
  std::size_t trickle_bytes = 0;           // sends the body in pieces of this size …
  int trickle_ms = 0;                      // … with a pause between them
};

// A small HTTP/1.1 server on a free port of 127.0.0.1, a thread a connection. Keeps what it was
// asked.
class TestServer {
 public:
  using Handler = std::function<ServerReply(const ServerRequest&)>;
  explicit TestServer(Handler handler);
  ~TestServer();

  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<ServerRequest> requests() const;
  void forget_requests();
  std::uint64_t body_bytes_sent() const { return body_bytes_; }

 private:
  void accept_connections();
  void serve(int fd);
  bool answer(int fd, const ServerRequest& request);

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> body_bytes_{0};
  mutable std::mutex mutex_;  // guards the three below
  std::vector<ServerRequest> requests_;
  std::vector<std::thread> threads_;
  std::vector<int> open_connections_;
  std::thread acceptor_;
};

}  // namespace sampan::testing
