#include "serve/http/exchange.h"

#include <boost/asio/post.hpp>

#include "serve/http/http_text.h"

namespace sampan {

ConnectionExchange::ConnectionExchange(std::shared_ptr<Connection> connection, HttpRequest request)
    : connection_(connection),
      core_(connection->core_),
      strand_(connection->strand_),
      request_(std::move(request)),
      queue_limit_(core_->options.limits.queued_bytes) {}

// A handler that lets go of a request without having answered has failed.
ConnectionExchange::~ConnectionExchange() {
  if (is_over_ || is_gone_) return;
  boost::asio::post(strand_, [weak = connection_] {
    const auto connection = weak.lock();
    if (!connection || !connection->is_answering_) return;
    if (connection->is_streaming_) return connection->close();
    connection->send_response({500, {}, ""}, false);
    connection->end_exchange(false);
  });
}

template <typename Call>
void ConnectionExchange::post(Call call) {
  boost::asio::post(strand_, [self = shared_from_this(), call = std::move(call)]() mutable {
    const auto connection = self->connection_.lock();
    if (connection && !self->is_gone_ && connection->exchange_.lock() == self) call(*connection);
  });
}

void ConnectionExchange::respond(HttpResponse response) {
  if (is_answered_.exchange(true)) return;
  is_over_ = true;
  post([response = std::move(response)](Connection& connection) {
    connection.send_response(response, connection.keeps_alive_);
    connection.end_exchange(true);
  });
}

void ConnectionExchange::start_stream(int status, HttpFields headers) {
  if (is_answered_.exchange(true)) return;
  post([this, status, headers = std::move(headers)](Connection& connection) mutable {
    connection.is_streaming_ = true;
    connection.access_.status = status;
    if (connection.is_chunked_)
      headers.emplace_back("transfer-encoding", "chunked");
    else
      connection.keeps_alive_ = false;
    const HttpFields common = connection.common_fields(connection.keeps_alive_);
    headers.insert(headers.end(), common.begin(), common.end());
    send(connection, response_head(status, headers), 0);
  });
}

void ConnectionExchange::write(std::string bytes) {
  if (bytes.empty() || is_gone_) return;
  queued_ += bytes.size();
  post([this, bytes = std::move(bytes)](Connection& connection) {
    if (!connection.is_streaming_) return;
    connection.access_.response_bytes += bytes.size();
    if (queued_ > queue_limit_)
      return connection.close();  // it does not read: nothing of ours waits for it
    if (!connection.is_head_)
      send(connection, connection.is_chunked_ ? chunk(bytes) : bytes, bytes.size());
  });
}

// counted: how many of the bytes queued_ has already.
void ConnectionExchange::send(Connection& connection, std::string bytes, std::size_t counted) {
  queued_ += bytes.size() - counted;
  connection.send(std::move(bytes));
  connection.beat();
}

void ConnectionExchange::finish() {
  is_over_ = true;
  post([](Connection& connection) {
    if (!connection.is_streaming_) return;
    if (connection.is_chunked_ && !connection.is_head_) connection.send(std::string(kLastChunk));
    connection.end_exchange(true);
  });
}

void ConnectionExchange::abort() {
  is_over_ = true;
  post([](Connection& connection) { connection.close(); });
}

void ConnectionExchange::set_heartbeat(std::string bytes, std::chrono::milliseconds every) {
  post([bytes = std::move(bytes), every](Connection& connection) {
    connection.heartbeat_bytes_ = bytes;
    connection.heartbeat_every_ = every;
    connection.beat();
  });
}

void ConnectionExchange::taken(std::size_t bytes) {
  // Heartbeats and the last chunk are not counted: the counter only ever errs to the smaller side.
  std::size_t queued = queued_;
  while (!queued_.compare_exchange_weak(queued, queued - std::min(queued, bytes))) {
  }
}

void ConnectionExchange::ended(bool is_whole) {
  std::function<void()> call;
  {
    const std::lock_guard lock(mutex_);
    if (!is_whole) {
      is_gone_ = true;
      call = std::move(on_gone_);
    }
    on_gone_ = nullptr;
  }
  if (call) call();
}

void ConnectionExchange::on_gone(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_gone_) {
      on_gone_ = std::move(call);
      return;
    }
  }
  call();
}

}  // namespace sampan
