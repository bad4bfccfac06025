#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/trace/tracer.h"

namespace sampan {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // upper case
  std::string path;  // percent-decoded, without the query; begins with '/', has no "." or ".." part
  HttpFields query;  // decoded
  HttpFields headers;  // names in lower case, in the order of arrival
  std::string body;
  std::string peer;        // "127.0.0.1:51234", or "unix"
  std::string request_id;  // the client's x-request-id where it is sane, else made here
  std::chrono::steady_clock::time_point arrival;
  std::shared_ptr<ActiveSpan> span;  // of the request; null where there is no tracer

  // The first header of a lower-case name.
  std::optional<std::string_view> header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  HttpFields headers;  // content-length, date and x-request-id are added
  std::string body;
};

// One request and the way back to its client. A handler answers once, whole or as a stream, from
// any thread, now or later; what is written after the client has gone is dropped. No call blocks,
// and none calls on_gone's function from within. Thread-safe.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  virtual void respond(HttpResponse response) = 0;
  // A body of unknown length: chunked, or until the connection's end for HTTP/1.0.
  virtual void start_stream(int status, HttpFields headers) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void finish() = 0;
  // Breaks the connection: the client sees that the stream is not whole.
  virtual void abort() = 0;
  // Bytes that the client has not taken yet. A stream that has more than the server's limit is
  // broken off.
  virtual std::size_t queued_bytes() const = 0;
  virtual bool is_gone() const = 0;
  // Called once, from a thread of the server, when the client is found gone before the answer is
  // whole; at once if it is already.
  virtual void on_gone(std::function<void()> call) = 0;
  // Written whenever a stream had nothing for that long.
  virtual void set_heartbeat(std::string bytes, std::chrono::milliseconds every) = 0;
};

// What the server serves. Calls come from the server's threads and must not block for long.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // The head has arrived, the body has not been read: a response refuses the request (401, 404,
  // 405, 415) without it. body_limit may be changed.
  virtual std::optional<HttpResponse> authorize(const HttpRequest& head,
                                                std::uint64_t& body_limit) = 0;
  virtual void handle(std::shared_ptr<Exchange> exchange) = 0;
  // The body of an error that the transport found (400, 408, 413, 414, 431, 501, 503), in the words
  // of the route's API. head is null where it could not be read.
  virtual HttpResponse error(const HttpRequest* head, int status, std::string_view message) = 0;
};

struct HttpLimits {
  std::uint64_t body = std::uint64_t{64} << 20;
  std::size_t head = 32 << 10;
  std::size_t target = 8 << 10;
  std::size_t connections = 4096;
  std::size_t queued_bytes = 8 << 20;          // of a stream that its client does not take
  std::chrono::milliseconds head_time{10000};  // for the whole head
  std::chrono::milliseconds body_stall{30000};
  std::chrono::milliseconds keep_alive{75000};
  std::chrono::milliseconds write_stall{30000};
};

struct ListenAddress {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;  // 0: any free one
  std::string unix_path;      // instead of host and port: a socket of mode 0600
};

// Whether only this machine can reach it.
bool is_loopback(const ListenAddress& address);

// One answered request, for the log: nothing of its content.
struct HttpAccess {
  std::string request_id, peer, method, path;
  int status = 0;
  std::uint64_t request_bytes = 0, response_bytes = 0;  // of the bodies
  double seconds = 0;                                   // from the head's arrival
  bool is_whole = false;                                // else the client left or was dropped
  std::string trace_id;                                 // "" where there is no tracer
};

struct TlsFiles {
  std::string certificate_chain, private_key;  // PEM files
};

struct HttpOptions {
  HttpLimits limits;
  int threads = 1;
  std::optional<TlsFiles> tls;
  std::vector<std::string> cors_origins;  // "https://app.example"; "*" for any, without credentials
  std::function<void(const HttpAccess&)> log;  // called from the server's threads
  Tracer* tracer = nullptr;  // outlives the server and its exchanges; null: nothing is traced
};

struct HttpStats {
  std::int64_t connections = 0;  // open now
  std::int64_t requests = 0;     // being answered now
};

// HTTP/1.1 (and 1.0) over TCP, TLS or a Unix socket: keep-alive, pipelining (answers in order),
// chunked bodies, CORS. Ambiguous requests are refused (RFC 9112, sections 6 and 11.2).
// Thread-safe.
class HttpServer {
 public:
  // handler outlives the server. Throws Error kIo for TLS files that cannot be used.
  HttpServer(const HttpOptions& options, HttpHandler& handler);
  ~HttpServer();  // stops

  // Binds and begins to serve. Throws Error kIo naming the address. Returns the port (0 for a Unix
  // socket).
  std::uint16_t listen(const ListenAddress& address);
  // Requests that come from now on, over new connections too, are answered 503; those that run go
  // on, for at most that long. Takes no more connections afterwards. Returns true when all were
  // done.
  bool drain(std::chrono::milliseconds longest);
  void stop();
  // Throws Error kIo for TLS files that cannot be used.
  static void check_tls(const HttpOptions& options);
  // Reads the certificate and key again; new connections use them. Throws Error kIo and changes
  // nothing.
  void reload_tls();
  HttpStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sampan
