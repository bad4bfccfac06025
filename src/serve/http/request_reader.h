#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "serve/http/http_server.h"

namespace sampan {

// A request that cannot be served as HTTP: the status that says why. The connection ends with it.
class HttpError : public std::runtime_error {
 public:
  HttpError(int status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

// Turns a connection's bytes into requests, one after the other. Stricter than the standard asks
// for where leniency lets two programs see different requests in the same bytes (RFC 9112,
// section 11.2): no bare CR or LF, no folded or spaced field names, one length or none, "chunked"
// as the only transfer coding. Works on memory alone. Not thread-safe.
class RequestReader {
 public:
  explicit RequestReader(const HttpLimits& limits);
  ~RequestReader();

  void append(std::string_view bytes) { in_ += bytes; }
  // True when the head is whole: request() is valid but for its body. Throws HttpError.
  bool read_head();
  // True when the body is whole. limit: bytes of it. Throws HttpError.
  bool read_body(std::uint64_t limit);

  HttpRequest& request() { return request_; }
  bool has_head() const { return has_head_; }
  bool has_body() const { return has_body_; }  // the head announces one
  bool expects_continue() const { return expects_continue_; }
  bool keeps_alive() const { return keeps_alive_; }
  bool is_http10() const { return is_http10_; }
  // Bytes that are not used yet: of what follows.
  std::size_t buffered() const { return in_.size(); }
  // Makes ready for the next request.
  void next();

 private:
  struct Parser;

  std::size_t find_head_end();
  void take_head(std::string_view head);

  HttpLimits limits_;
  std::string in_;
  std::size_t searched_ = 0;  // bytes of in_ in which the head's end is not
  std::unique_ptr<Parser> parser_;
  HttpRequest request_;
  bool has_head_ = false, has_body_ = false, expects_continue_ = false, keeps_alive_ = true,
       is_http10_ = false;
};

}  // namespace sampan
