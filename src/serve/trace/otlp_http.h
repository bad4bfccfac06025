#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "serve/trace/key_values.h"
#include "serve/trace/span_exporter.h"

namespace sampan {

struct OtlpHttpOptions {
  std::string url;      // of checked_url() or traces_url()
  KeyValues headers;    // added to each request
  std::string ca_file;  // PEM file of the authorities to trust in place of the system's; "" = those
  std::chrono::milliseconds timeout{10000};  // of one request
  std::string user_agent = "sampan";
};

// An http or https URL as it is used. Throws Error kInvalidArgument for what is none, or has a user
// name or a password in it, which belong into the headers.
std::string checked_url(const std::string& url);
// The URL for traces below a collector's base URL: its path with /v1/traces added.
std::string traces_url(const std::string& base);
// Scheme, host, port and path, for people and logs: a query may hold secrets.
std::string shown_url(const std::string& url);

// OTLP over HTTP/1.1 with JSON bodies, by libcurl: certificates are verified, redirects are not
// followed, a reply of more than 64 KiB is cut off. send() is for one thread.
class OtlpHttp : public SpanTransport {
 public:
  explicit OtlpHttp(OtlpHttpOptions options);
  ~OtlpHttp() override;

  SendResult send(const std::string& body) override;
  void set_deadline(std::chrono::steady_clock::time_point deadline) override {
    deadline_ = deadline.time_since_epoch().count();
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool is_late() const { return Clock::now().time_since_epoch().count() >= deadline_; }
  SendResult result_of(int curl_code, const std::string& reply) const;

  const OtlpHttpOptions options_;
  void* handle_;   // CURL*; keeps the connection
  void* headers_;  // curl_slist*
  std::atomic<Clock::rep> deadline_{Clock::time_point::max().time_since_epoch().count()};
};

}  // namespace sampan
