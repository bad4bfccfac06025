#include "hub/test_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace sampan::testing {
namespace {

std::string decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::map<std::string, std::string> parse_query(std::string_view text) {
  std::map<std::string, std::string> out;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const auto pair = text.substr(0, end);
    const auto equals = std::min(pair.find('='), pair.size());
    out[decode(pair.substr(0, equals))] = decode(pair.substr(std::min(equals + 1, pair.size())));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

ServerRequest parse_request(const std::string& head) {
  ServerRequest request;
  const auto first_end = head.find("\r\n");
  const std::string first = head.substr(0, first_end);
  const auto space = first.find(' ');
  const auto second = first.find(' ', space + 1);
  request.method = first.substr(0, space);
  const std::string target = first.substr(space + 1, second - space - 1);
  const auto question = std::min(target.find('?'), target.size());
  request.path = decode(target.substr(0, question));
  if (question < target.size()) request.query = parse_query(target.substr(question + 1));
  for (std::size_t begin = first_end + 2; begin < head.size();) {
    const auto end = std::min(head.find("\r\n", begin), head.size());
    const std::string line = head.substr(begin, end - begin);
    begin = end + 2;
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(), ::tolower);
    request.headers[name] = line.substr(std::min(colon + 2, line.size()));
  }
  return request;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

std::string ServerRequest::header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string() : it->second;
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> ServerRequest::range() const {
  const std::string value = header("range");
  if (!value.starts_with("bytes=")) return std::nullopt;
  const auto dash = value.find('-');
  const std::string last = value.substr(dash + 1);
  return std::pair(std::stoull(value.substr(6, dash - 6)),
                   last.empty() ? ~0ull : std::stoull(last));
}

TestServer::TestServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw std::runtime_error("test server: cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_connections(); });
}

TestServer::~TestServer() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_connections_) ::shutdown(fd, SHUT_RDWR);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

std::vector<ServerRequest> TestServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void TestServer::forget_requests() {
  const std::lock_guard lock(mutex_);
  requests_.clear();
}

void TestServer::accept_connections() {
  while (!stopping_) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::lock_guard lock(mutex_);
    open_connections_.push_back(fd);
    threads_.emplace_back([this, fd] { serve(fd); });
  }
}

void TestServer::serve(int fd) {
  std::string buffer;
  bool keep = true;
  while (keep && !stopping_) {
    const auto end = buffer.find("\r\n\r\n");
    if (end == std::string::npos) {
      char chunk[4096];
      const ssize_t n = ::recv(fd, chunk, sizeof chunk, 0);
      if (n <= 0) break;
      buffer.append(chunk, static_cast<std::size_t>(n));
      continue;
    }
    const ServerRequest request = parse_request(buffer.substr(0, end));
    buffer.erase(0, end + 4);
    keep = answer(fd, request);
  }
  const std::lock_guard lock(mutex_);
  std::erase(open_connections_, fd);
  ::close(fd);
}

// Whether the connection stays open.
bool TestServer::answer(int fd, const ServerRequest& request) {
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const ServerReply reply = handler_(request);
  if (reply.delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(reply.delay_ms));
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " x\r\n";
  for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
  head += "Content-Length: " + reply.content_length.value_or(std::to_string(reply.body.size())) +
          "\r\n\r\n";
  if (!send_all(fd, head)) return false;
  if (request.method == "HEAD") return true;
  std::string_view body = reply.body;
  if (reply.cut_after) body = body.substr(0, *reply.cut_after);
  const std::size_t step = reply.trickle_bytes > 0 ? reply.trickle_bytes : 64 << 10;
  while (!body.empty() && !stopping_) {
    const std::string_view part = body.substr(0, step);
    if (!send_all(fd, part)) return false;
    body_bytes_ += part.size();
    body.remove_prefix(part.size());
    if (reply.trickle_ms > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(reply.trickle_ms));
  }
  return !reply.cut_after && !reply.content_length;
}

}  // namespace sampan::testing
