#include "serve/http/http_server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "base/error.h"
#include "serve/http/connection.h"

namespace sampan {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::local::stream_protocol;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

// Plain bytes over a TCP or Unix socket.
template <typename Socket>
class PlainStream : public ByteStream {
 public:
  explicit PlainStream(Socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<bool> open() override { co_return true; }
  asio::awaitable<std::size_t> read(char* to, std::size_t size) override {
    const auto [error, count] = co_await socket_.async_read_some(asio::buffer(to, size), kAwait);
    co_return error ? 0 : count;
  }
  asio::awaitable<bool> write(std::string_view bytes) override {
    const auto [error, count] =
        co_await asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), kAwait);
    co_return !error;
  }
  asio::awaitable<void> shut_down() override {
    boost::system::error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    co_return;
  }
  void close() override {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  asio::any_io_executor executor() override { return socket_.get_executor(); }

 private:
  Socket socket_;
};

class TlsStream : public ByteStream {
 public:
  TlsStream(tcp::socket socket, std::shared_ptr<asio::ssl::context> context)
      : context_(std::move(context)), stream_(std::move(socket), *context_) {}

  asio::awaitable<bool> open() override {
    const auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kAwait);
    co_return !error;
  }
  asio::awaitable<std::size_t> read(char* to, std::size_t size) override {
    const auto [error, count] = co_await stream_.async_read_some(asio::buffer(to, size), kAwait);
    co_return error ? 0 : count;
  }
  asio::awaitable<bool> write(std::string_view bytes) override {
    const auto [error, count] =
        co_await asio::async_write(stream_, asio::buffer(bytes.data(), bytes.size()), kAwait);
    co_return !error;
  }
  // The socket's end stands for TLS's: waiting for a client's close_notify would hold the
  // connection.
  asio::awaitable<void> shut_down() override {
    boost::system::error_code ignored;
    ::SSL_set_shutdown(stream_.native_handle(), SSL_RECEIVED_SHUTDOWN);
    ::SSL_shutdown(stream_.native_handle());
    stream_.next_layer().shutdown(tcp::socket::shutdown_send, ignored);
    co_return;
  }
  void close() override {
    boost::system::error_code ignored;
    stream_.next_layer().close(ignored);
  }
  asio::any_io_executor executor() override { return stream_.get_executor(); }

 private:
  std::shared_ptr<asio::ssl::context> context_;
  asio::ssl::stream<tcp::socket> stream_;
};

std::shared_ptr<asio::ssl::context> make_tls(const TlsFiles& files) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                       asio::ssl::context::no_tlsv1_1);
  boost::system::error_code error;
  context->use_certificate_chain_file(files.certificate_chain, error);
  if (error)
    fail(ErrorCode::kIo, "{}: cannot be used as a certificate chain: {}",
         printable(files.certificate_chain, 200), error.message());
  context->use_private_key_file(files.private_key, asio::ssl::context::pem, error);
  if (error)
    fail(ErrorCode::kIo, "{}: cannot be used as a private key: {}",
         printable(files.private_key, 200), error.message());
  if (::SSL_CTX_check_private_key(context->native_handle()) != 1) {
    fail(ErrorCode::kIo, "{} is not the key of {}", printable(files.private_key, 200),
         printable(files.certificate_chain, 200));
  }
  return context;
}

// Takes the place of a socket that a server left behind. One that still answers is another
// server's, and a file of another kind is somebody's data: both stay.
void clear_unix_path(asio::io_context& context, const std::string& path) {
  struct ::stat info {};
  if (::lstat(path.c_str(), &info) != 0) return;
  if (!S_ISSOCK(info.st_mode))
    fail(ErrorCode::kIo, "cannot listen on {}: there is a file that is no socket",
         printable(path, 200));
  stream_protocol::socket probe(context);
  boost::system::error_code error;
  probe.connect(stream_protocol::endpoint(path), error);
  if (!error)
    fail(ErrorCode::kIo, "cannot listen on {}: another process does", printable(path, 200));
  if (error == asio::error::connection_refused) ::unlink(path.c_str());
}

std::string text_of(const tcp::endpoint& peer) {
  const std::string address = peer.address().to_string();
  return peer.address().is_v6() ? fmt::format("[{}]:{}", address, peer.port())
                                : fmt::format("{}:{}", address, peer.port());
}

}  // namespace

bool is_loopback(const ListenAddress& address) {
  if (!address.unix_path.empty() || address.host == "localhost") return true;
  boost::system::error_code error;
  const auto ip = asio::ip::make_address(address.host, error);
  return !error && ip.is_loopback();
}

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, HttpHandler& handler)
      : core_(std::make_shared<HttpCore>(options, handler)) {
    reload_tls();
    for (int i = 0; i < std::max(1, options.threads); ++i) {
      threads_.emplace_back([this] { core_->context.run(); });
    }
  }
  ~Impl() { stop(); }

  std::uint16_t listen(const ListenAddress& address);
  bool drain(std::chrono::milliseconds longest);
  void stop();
  void reload_tls();
  HttpStats stats() const {
    const std::lock_guard lock(core_->mutex);
    return {static_cast<std::int64_t>(core_->connections.size()), core_->requests};
  }

 private:
  template <typename Protocol>
  asio::awaitable<void> accept(std::shared_ptr<typename Protocol::acceptor> acceptor);
  template <typename Protocol>
  void serve(std::shared_ptr<typename Protocol::acceptor> acceptor);
  template <typename Socket>
  std::unique_ptr<ByteStream> stream_of(Socket socket);
  void close_acceptors();
  bool is_full() const {
    return stats().connections >= static_cast<std::int64_t>(core_->options.limits.connections);
  }

  std::shared_ptr<HttpCore> core_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{core_->context.get_executor()};
  std::vector<std::function<void()>> closers_;  // of the acceptors
  std::vector<std::string> unix_paths_;
  std::mutex tls_mutex_;
  std::shared_ptr<asio::ssl::context> tls_;
  std::vector<std::thread> threads_;
};

void HttpServer::Impl::reload_tls() {
  if (!core_->options.tls) return;
  auto next = make_tls(*core_->options.tls);
  const std::lock_guard lock(tls_mutex_);
  tls_ = std::move(next);
}

template <typename Socket>
std::unique_ptr<ByteStream> HttpServer::Impl::stream_of(Socket socket) {
  if constexpr (std::is_same_v<typename Socket::protocol_type, tcp>) {
    const std::lock_guard lock(tls_mutex_);
    if (tls_) return std::make_unique<TlsStream>(std::move(socket), tls_);
  }
  return std::make_unique<PlainStream<Socket>>(std::move(socket));
}

template <typename Protocol>
asio::awaitable<void> HttpServer::Impl::accept(
    std::shared_ptr<typename Protocol::acceptor> acceptor) {
  asio::steady_timer pause(acceptor->get_executor());
  while (acceptor->is_open()) {
    if (is_full()) {  // the system's backlog holds those that come
      pause.expires_after(std::chrono::milliseconds(20));
      co_await pause.async_wait(kAwait);
      continue;
    }
    auto [error, socket] =
        co_await acceptor->async_accept(asio::make_strand(core_->context), kAwait);
    if (error == asio::error::operation_aborted) co_return;
    if (error) {  // no more file descriptors, most likely
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(kAwait);
      continue;
    }
    std::string peer = "unix";
    ListenAddress local{"", 0, ""};
    boost::system::error_code ignored;
    if constexpr (std::is_same_v<Protocol, tcp>) {
      socket.set_option(tcp::no_delay(true), ignored);
      peer = text_of(socket.remote_endpoint(ignored));
      const tcp::endpoint end = socket.local_endpoint(ignored);
      local.host = end.address().to_string();
      local.port = end.port();
    } else {
      local.unix_path = socket.local_endpoint(ignored).path();
    }
    const auto connection = std::make_shared<Connection>(core_, stream_of(std::move(socket)),
                                                         std::move(peer), std::move(local));
    connection->start();
    if (core_->is_stopping) connection->post_close();
  }
}

template <typename Protocol>
void HttpServer::Impl::serve(std::shared_ptr<typename Protocol::acceptor> acceptor) {
  closers_.push_back([acceptor] {
    asio::post(acceptor->get_executor(), [acceptor] {
      boost::system::error_code ignored;
      acceptor->close(ignored);
    });
  });
  asio::co_spawn(acceptor->get_executor(), accept<Protocol>(acceptor), asio::detached);
}

std::uint16_t HttpServer::Impl::listen(const ListenAddress& address) {
  if (!address.unix_path.empty()) {
    auto acceptor = std::make_shared<stream_protocol::acceptor>(asio::make_strand(core_->context));
    try {
      const stream_protocol::endpoint endpoint(address.unix_path);
      clear_unix_path(core_->context, address.unix_path);
      acceptor->open();
      const ::mode_t before = ::umask(0177);
      boost::system::error_code error;
      acceptor->bind(endpoint, error);
      ::umask(before);
      if (error) throw boost::system::system_error(error);
      acceptor->listen();
    } catch (const boost::system::system_error& error) {
      fail(ErrorCode::kIo, "cannot listen on {}: {}", printable(address.unix_path, 200),
           error.code().message());
    }
    unix_paths_.push_back(address.unix_path);
    serve<stream_protocol>(acceptor);
    return 0;
  }
  auto acceptor = std::make_shared<tcp::acceptor>(asio::make_strand(core_->context));
  try {
    tcp::resolver resolver(core_->context);
    const auto found =
        resolver.resolve(address.host, std::to_string(address.port), tcp::resolver::passive);
    const tcp::endpoint endpoint = *found.begin();
    acceptor->open(endpoint.protocol());
    acceptor->set_option(tcp::acceptor::reuse_address(true));
    acceptor->bind(endpoint);
    acceptor->listen(1024);
  } catch (const boost::system::system_error& error) {
    fail(ErrorCode::kIo, "cannot listen on {}:{}: {}", printable(address.host), address.port,
         error.code().message());
  }
  const std::uint16_t port = acceptor->local_endpoint().port();
  serve<tcp>(acceptor);
  return port;
}

void HttpServer::Impl::close_acceptors() {
  for (auto& close : std::exchange(closers_, {})) close();
  for (const std::string& path : std::exchange(unix_paths_, {})) ::unlink(path.c_str());
}

bool HttpServer::Impl::drain(std::chrono::milliseconds longest) {
  core_->is_draining = true;
  const auto deadline = std::chrono::steady_clock::now() + longest;
  for (bool is_done = false; !is_done && std::chrono::steady_clock::now() < deadline;) {
    is_done = true;
    {
      const std::lock_guard lock(core_->mutex);
      for (Connection* connection : core_->connections) {
        connection->post_wake();
        is_done = is_done && connection->is_late();
      }
    }
    if (!is_done) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  close_acceptors();
  return core_->requests == 0;
}

void HttpServer::Impl::stop() {
  if (threads_.empty()) return;
  core_->is_draining = core_->is_stopping = true;
  close_acceptors();
  {
    const std::lock_guard lock(core_->mutex);
    for (Connection* connection : core_->connections) connection->post_close();
  }
  work_.reset();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

HttpServer::HttpServer(const HttpOptions& options, HttpHandler& handler)
    : impl_(std::make_unique<Impl>(options, handler)) {}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::listen(const ListenAddress& address) { return impl_->listen(address); }
bool HttpServer::drain(std::chrono::milliseconds longest) { return impl_->drain(longest); }
void HttpServer::stop() { impl_->stop(); }
void HttpServer::check_tls(const HttpOptions& options) {
  if (options.tls) make_tls(*options.tls);
}
void HttpServer::reload_tls() { impl_->reload_tls(); }
HttpStats HttpServer::stats() const { return impl_->stats(); }

}  // namespace sampan
