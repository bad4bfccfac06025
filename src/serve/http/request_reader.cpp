#include "serve/http/request_reader.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cctype>

#include "serve/http/http_text.h"

namespace sampan {
namespace {

namespace http = boost::beast::http;

constexpr std::array<std::string_view, 7> kMethods = {"GET",    "HEAD",  "POST",   "PUT",
                                                      "DELETE", "PATCH", "OPTIONS"};

bool is_token(std::string_view text) {
  constexpr std::string_view kOther = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           kOther.find(c) != std::string_view::npos;
  });
}

// Calls visit(line) for each line of a head, its CRLF left out. Throws for a CR or LF by itself.
template <typename Visit>
void each_line(std::string_view head, Visit visit) {
  while (!head.empty()) {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    if (line.find_first_of("\r\n") != std::string_view::npos ||
        line.find('\0') != std::string_view::npos) {
      throw HttpError(400, "a line of the request's head has a character that may not be there");
    }
    visit(line);
    if (end == std::string_view::npos) return;
    head.remove_prefix(end + 2);
  }
}

void check_request_line(std::string_view line, const HttpLimits& limits) {
  const std::size_t method_end = line.find(' ');
  const std::size_t target_end = line.rfind(' ');
  if (method_end == std::string_view::npos || target_end == method_end)
    throw HttpError(400, "the request line is not METHOD TARGET VERSION");
  const std::string_view method = line.substr(0, method_end);
  const std::string_view target = line.substr(method_end + 1, target_end - method_end - 1);
  const std::string_view version = line.substr(target_end + 1);
  if (!is_token(method)) throw HttpError(400, "the method is not a word");
  if (std::find(kMethods.begin(), kMethods.end(), method) == kMethods.end())
    throw HttpError(501, "the method is not one that is served");
  if (target.size() > limits.target) throw HttpError(414, "the target is too long");
  if (target.empty() ||
      std::any_of(target.begin(), target.end(), [](char c) { return c <= ' ' || c >= 0x7F; })) {
    throw HttpError(400, "the target has a character that may not be there");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    throw HttpError(version.starts_with("HTTP/") ? 505 : 400,
                    "the version is not HTTP/1.1 or HTTP/1.0");
}

void check_field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t')
    throw HttpError(400, "folded header lines are not allowed");
  if (!is_token(line.substr(0, line.find(':'))) || line.find(':') == std::string_view::npos)
    throw HttpError(400, "a header's name is not a word");
  for (const char c : line) {
    if ((static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7F)
      throw HttpError(400, "a header has a character that may not be there");
  }
}

// The one value of a header; nothing when it is not there. Throws where it is there more than once.
std::optional<std::string_view> only(const HttpRequest& request, std::string_view name) {
  std::optional<std::string_view> value;
  for (const auto& [header, text] : request.headers) {
    if (header != name) continue;
    if (value) throw HttpError(400, "the header " + std::string(name) + " is there more than once");
    value = text;
  }
  return value;
}

}  // namespace

struct RequestReader::Parser {
  http::request_parser<http::string_body> beast;
};

RequestReader::RequestReader(const HttpLimits& limits) : limits_(limits) {}

RequestReader::~RequestReader() = default;

// The length of the head with its empty line; npos while that has not arrived.
std::size_t RequestReader::find_head_end() {
  const std::size_t from = searched_ < 3 ? 0 : searched_ - 3;
  const std::size_t end = in_.find("\r\n\r\n", from);
  searched_ = in_.size();
  if ((end == std::string::npos ? in_.size() : end) > limits_.head)
    throw HttpError(431, "the request's head is too large");
  // What can never become a head is refused early: nobody waits for the end of a binary stream or
  // of lines that end by LF.
  if (end == std::string::npos && in_.find('\n') != std::string::npos &&
      in_.find('\n') != in_.find("\r\n") + 1) {
    throw HttpError(400, "a line of the request's head does not end with CR LF");
  }
  return end == std::string::npos ? end : end + 4;
}

bool RequestReader::read_head() {
  if (has_head_) return true;
  // Empty lines between requests are ignored (RFC 9112, section 2.2).
  if (searched_ == 0) {
    for (int i = 0; i < 2 && in_.starts_with("\r\n"); ++i) in_.erase(0, 2);
  }
  const std::size_t end = find_head_end();
  if (end == std::string::npos) return false;
  const std::string head = in_.substr(0, end);
  in_.erase(0, end);
  searched_ = 0;
  take_head(head);
  has_head_ = true;
  return true;
}

void RequestReader::take_head(std::string_view head) {
  bool is_first = true;
  each_line(head.substr(0, head.size() - 4), [&](std::string_view line) {
    if (is_first)
      check_request_line(line, limits_);
    else if (line.empty())
      throw HttpError(400, "an empty line in the request's head");
    else
      check_field(line);
    is_first = false;
  });

  parser_ = std::make_unique<Parser>();
  auto& beast = parser_->beast;
  beast.header_limit(static_cast<std::uint32_t>(limits_.head + 4));
  beast.body_limit(boost::none);
  boost::beast::error_code error;
  beast.put(boost::asio::buffer(head.data(), head.size()), error);
  if ((error && error != http::error::need_more) || !beast.is_header_done()) {
    throw HttpError(400, "the request's head is not HTTP: " + error.message());
  }
  const auto& message = beast.get();
  request_.method = std::string(message.method_string());
  for (const auto& field : message)
    request_.headers.emplace_back(lower_ascii(field.name_string()), std::string(field.value()));
  is_http10_ = message.version() == 10;
  parse_target(std::string_view(message.target()), request_);

  const auto length = only(request_, "content-length");
  const auto coding = only(request_, "transfer-encoding");
  if (length && coding)
    throw HttpError(400, "content-length and transfer-encoding exclude each other");
  if (coding && (is_http10_ || lower_ascii(*coding) != "chunked"))
    throw HttpError(is_http10_ ? 400 : 501, "the only transfer coding is chunked");
  if (length && (length->empty() || length->size() > 18 ||
                 length->find_first_not_of("0123456789") != std::string_view::npos)) {
    throw HttpError(400, "content-length is not a number");
  }
  const auto host = only(request_, "host");
  if (!host && !is_http10_) throw HttpError(400, "the header host is missing");
  has_body_ =
      coding.has_value() || (length && length->find_first_not_of('0') != std::string_view::npos);
  keeps_alive_ = message.keep_alive();
  const auto expect = only(request_, "expect");
  if (expect && lower_ascii(*expect) != "100-continue")
    throw HttpError(417, "the only expectation is 100-continue");
  expects_continue_ = expect.has_value() && !is_http10_ && has_body_;
}

bool RequestReader::read_body(std::uint64_t limit) {
  if (!has_body_) return true;
  auto& beast = parser_->beast;
  if (beast.content_length() && *beast.content_length() > limit)
    throw HttpError(413, fmt_body_limit(limit));
  beast.body_limit(limit);
  beast.eager(true);
  while (!in_.empty() && !beast.is_done()) {
    boost::beast::error_code error;
    const std::size_t used = beast.put(boost::asio::buffer(in_), error);
    in_.erase(0, used);
    if (error == http::error::need_more) break;
    if (error == http::error::body_limit) throw HttpError(413, fmt_body_limit(limit));
    if (error) throw HttpError(400, "the request's body is not HTTP: " + error.message());
    if (used == 0) break;
  }
  // A chunk's header or the trailer that never ends would grow without being body.
  if (!beast.is_done() && beast.chunked() && in_.size() > limits_.head)
    throw HttpError(400, "a chunk's header is too large");
  if (!beast.is_done()) return false;
  request_.body = std::move(beast.get().body());
  return true;
}

void RequestReader::next() {
  request_ = {};
  parser_.reset();
  has_head_ = has_body_ = expects_continue_ = is_http10_ = false;
  keeps_alive_ = true;
  searched_ = 0;
}

}  // namespace sampan
