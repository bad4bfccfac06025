#pragma once

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "serve/http/http_server.h"
#include "serve/http/request_reader.h"

namespace sampan {

// What the connections of a server share.
struct HttpCore {
  HttpCore(const HttpOptions& given, HttpHandler& to) : options(given), handler(to) {}

  const HttpOptions options;
  HttpHandler& handler;
  boost::asio::io_context context;
  std::atomic<bool> is_draining{false}, is_stopping{false};
  std::atomic<std::int64_t> requests{0};

  std::mutex mutex;  // guards connections
  std::set<class Connection*> connections;
};

// The bytes of a connection, over whichever transport.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual boost::asio::awaitable<bool> open() = 0;  // the TLS handshake; false when it failed
  virtual boost::asio::awaitable<std::size_t> read(
      char* to, std::size_t size) = 0;  // 0: the end, or an error
  virtual boost::asio::awaitable<bool> write(
      std::string_view bytes) = 0;                       // all of them; false when it failed
  virtual boost::asio::awaitable<void> shut_down() = 0;  // says the end to the peer
  virtual void close() = 0;
  virtual boost::asio::any_io_executor executor() = 0;
};

class ConnectionExchange;

// One client: reads requests, has them answered one after the other, writes the answers. Three
// coroutines on one strand: `read` fills the reader at all times, so that a client that goes is
// noticed while its request is worked on; `serve` takes requests; `write` empties the queue.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // local: where the client reached the server.
  Connection(std::shared_ptr<HttpCore> core, std::unique_ptr<ByteStream> stream, std::string peer,
             ListenAddress local);
  ~Connection();

  void start();
  // Whether it came when the server was already draining: it is told so, and nobody waits for it.
  bool is_late() const { return is_late_; }
  // From any thread.
  void post_close();
  void post_wake();

 private:
  friend class ConnectionExchange;
  using Clock = std::chrono::steady_clock;

  boost::asio::awaitable<void> run();
  boost::asio::awaitable<void> read();
  boost::asio::awaitable<void> serve();
  boost::asio::awaitable<void> write();
  boost::asio::awaitable<bool> wait_for_head(bool is_first);
  boost::asio::awaitable<bool> wait_for_body(std::uint64_t limit);
  boost::asio::awaitable<bool> answer();
  boost::asio::awaitable<void> refuse(const HttpRequest* head, int status, std::string message);
  boost::asio::awaitable<bool> wait_until(Clock::time_point deadline);
  boost::asio::awaitable<void> flush();

  // On the strand.
  void close();
  void wake();
  void wants_input(bool wants);
  void send(std::string bytes);
  void send_response(const HttpResponse& response, bool keeps_alive);
  HttpFields common_fields(bool keeps_alive) const;
  void end_exchange(bool is_whole);
  void log(bool is_whole);
  void arm_write_watch();
  void beat();

  std::shared_ptr<HttpCore> core_;
  std::unique_ptr<ByteStream> stream_;
  std::string peer_;
  ListenAddress local_;
  const bool is_late_;
  boost::asio::any_io_executor strand_;
  boost::asio::steady_timer woken_;       // serve() sleeps on it
  boost::asio::steady_timer has_output_;  // write() sleeps on it
  boost::asio::steady_timer has_room_;    // read() sleeps on it
  boost::asio::steady_timer write_watch_;
  boost::asio::steady_timer heartbeat_;

  RequestReader reader_;
  std::deque<std::string> output_;
  bool is_writing_ = false;
  bool is_closed_ = false, has_ended_ = false;  // by us; by the client
  bool wants_input_ = true, is_discarding_ = false;

  // The request that is being answered.
  Clock::time_point arrival_{};
  std::weak_ptr<ConnectionExchange> exchange_;
  bool is_answering_ = false, is_streaming_ = false, keeps_alive_ = true, is_head_ = false,
       is_chunked_ = false;
  HttpFields cors_;
  HttpAccess access_;
  std::shared_ptr<ActiveSpan> span_;
  std::string heartbeat_bytes_;
  std::chrono::milliseconds heartbeat_every_{0};
};

}  // namespace sampan
