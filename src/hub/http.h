#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "hub/url.h"

namespace sampan {

// How patient to be. The defaults are for the internet; tests shorten them.
struct NetworkTuning {
  int max_attempts = 6;  // failures in a row without a byte of progress, before giving up
  std::chrono::milliseconds first_delay{1000};  // doubles with each failure, ±25 %
  std::chrono::milliseconds max_delay{30'000};
  std::chrono::milliseconds max_retry_after{310'000};  // a server that asks for more is given up on
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stall_time{30};  // below stall_speed for so long: the connection is dropped
  long stall_bytes_per_second = 1024;
};

// A failure that may pass: the connection, 408, 429, 5xx. retry_after is what the server asked for.
class TransientError : public Error {
 public:
  TransientError(const std::string& message,
                 std::optional<std::chrono::milliseconds> retry_after = {},
                 bool is_overload = false)
      : Error(ErrorCode::kNetwork, message), retry_after_(retry_after), is_overload_(is_overload) {}
  std::optional<std::chrono::milliseconds> retry_after() const { return retry_after_; }
  // 429 or 503: every connection should slow down.
  bool is_overload() const { return is_overload_; }

 private:
  std::optional<std::chrono::milliseconds> retry_after_;
  bool is_overload_;
};

// Asked about ten times a second, from any thread: true when the user gives up. May be empty.
using CancelCheck = std::function<bool()>;

class PullCancelled : public Error {
 public:
  PullCancelled()
      : Error(ErrorCode::kCancelled,
              "interrupted; run the same command again, it continues where it stopped") {}
};

// The delay before attempt number `failures` + 1: exponential with jitter in [0, 1), or what the
// server asked for. Throws error itself when the server asks for more than max_retry_after.
std::chrono::milliseconds retry_delay(const NetworkTuning& tuning, int failures,
                                      const TransientError& error, double jitter);

// Header lines (a token) that go to one origin only, and never in clear text over a network.
struct Credentials {
  Origin origin;
  std::vector<std::string> headers;
};

struct HttpHead {
  Url url;  // that answered
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case

  const std::string* find(std::string_view name) const;
};

struct HubRequest {
  Url url;
  Url endpoint;  // the hub's: what redirects are judged by
  std::optional<std::pair<std::uint64_t, std::uint64_t>> range;  // first and last byte
  const Credentials* credentials = nullptr;
  // The URL was learnt from a redirect, so its address is judged like one.
  bool is_redirect_target = false;
};

// Receives a 200 or 206 reply.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  // May throw to refuse the reply; what it throws comes out of HttpClient::get.
  virtual void begin(const HttpHead& head) = 0;
  virtual void accept(std::span<const std::byte> bytes) = 0;
};

struct HttpReply {
  HttpHead head;                    // the last one
  std::vector<HttpHead> redirects;  // those before it
  std::string error_body;           // of a reply that is not 200 or 206: at most 64 KiB
};

// One connection's worth of HTTP GET: libcurl with redirects followed here, under the rules of
// check_redirect and with credentials only for their own origin. TLS certificates are verified. Not
// thread-safe: one client a thread.
class HttpClient {
 public:
  // tuning must outlive the client.
  HttpClient(const NetworkTuning& tuning, CancelCheck cancel);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Sends the request and the redirected ones. A reply of any status but 408, 429 and 5xx comes
  // back as such. Throws TransientError, Error kNetwork for what no retry mends (a certificate, a
  // redirect loop), PullCancelled, or what the sink threw.
  HttpReply get(const HubRequest& request, HttpSink& sink);

  // The body of a 200 as text, at most max_bytes of it.
  std::pair<HttpReply, std::string> get_text(const HubRequest& request,
                                             std::size_t max_bytes = 64u << 20);

 private:
  struct Transfer;
  HttpHead send(const HubRequest& request, const Url& url, bool was_redirected,
                Transfer& transfer);

  const NetworkTuning& tuning_;
  CancelCheck cancel_;
  void* handle_;  // CURL*
};

}  // namespace sampan
