#include "serve/http/connection.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "serve/http/exchange.h"
#include "serve/http/http_text.h"
#include "serve/http/http_trace.h"

namespace sampan {
namespace {

namespace asio = boost::asio;

// Bytes of requests to come that are taken while one is being answered.
constexpr std::size_t kReadAhead = 64 << 10;
constexpr std::size_t kReadSize = 4 << 10;  // an idle connection holds no more
constexpr std::size_t kWriteSize = 16 << 10;
// After a refusal, what the client still sends is thrown away for that long: closing at once would
// take the answer from it.
constexpr std::chrono::milliseconds kLinger{2000};

constexpr auto kNever = std::chrono::steady_clock::time_point::max();

asio::awaitable<void> sleep_until(asio::steady_timer& timer,
                                  std::chrono::steady_clock::time_point deadline) {
  timer.expires_at(deadline);
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace

Connection::Connection(std::shared_ptr<HttpCore> core, std::unique_ptr<ByteStream> stream,
                       std::string peer, ListenAddress local)
    : core_(std::move(core)),
      stream_(std::move(stream)),
      peer_(std::move(peer)),
      local_(std::move(local)),
      is_late_(core_->is_draining),
      strand_(stream_->executor()),
      woken_(strand_),
      has_output_(strand_),
      has_room_(strand_),
      write_watch_(strand_),
      heartbeat_(strand_),
      reader_(core_->options.limits) {
  const std::lock_guard lock(core_->mutex);
  core_->connections.insert(this);
}

Connection::~Connection() {
  const std::lock_guard lock(core_->mutex);
  core_->connections.erase(this);
}

void Connection::start() {
  asio::co_spawn(
      strand_, [self = shared_from_this()] { return self->run(); }, asio::detached);
}

void Connection::post_close() {
  asio::post(strand_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->close();
  });
}

void Connection::post_wake() {
  asio::post(strand_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->wake();
  });
}

asio::awaitable<void> Connection::run() {
  const auto self = shared_from_this();
  write_watch_.expires_after(core_->options.limits.head_time);
  write_watch_.async_wait([self](boost::system::error_code error) {
    if (!error) self->close();
  });
  const bool is_open = co_await stream_->open();
  write_watch_.cancel();
  if (!is_open || is_closed_) {
    close();
    co_return;
  }
  asio::co_spawn(
      strand_, [self] { return self->read(); }, asio::detached);
  asio::co_spawn(
      strand_, [self] { return self->write(); }, asio::detached);
  co_await serve();
  is_discarding_ = true;
  wants_input(true);
  co_await flush();
  if (!is_closed_) {
    co_await stream_->shut_down();
    const Clock::time_point deadline = Clock::now() + kLinger;
    while (!is_closed_ && !has_ended_ && co_await wait_until(deadline)) {
    }
  }
  close();
}

asio::awaitable<void> Connection::read() {
  const auto self = shared_from_this();
  while (!is_closed_) {
    if (!wants_input_ && reader_.buffered() >= kReadAhead) {
      co_await sleep_until(has_room_, kNever);
      continue;
    }
    std::array<char, kReadSize> bytes;
    const std::size_t size = co_await stream_->read(bytes.data(), bytes.size());
    if (size == 0) break;
    if (is_discarding_) continue;
    reader_.append({bytes.data(), size});
    wake();
  }
  has_ended_ = true;
  if (is_answering_) end_exchange(false);
  wake();
}

// Sleeps until something happens on this connection. False when the deadline passed.
asio::awaitable<bool> Connection::wait_until(Clock::time_point deadline) {
  co_await sleep_until(woken_, deadline);
  co_return Clock::now() < deadline;
}

void Connection::wake() { woken_.cancel(); }

void Connection::wants_input(bool wants) {
  wants_input_ = wants;
  if (wants) has_room_.cancel();
}

asio::awaitable<bool> Connection::wait_for_head(bool is_first) {
  wants_input(true);
  const HttpLimits& limits = core_->options.limits;
  Clock::time_point deadline = Clock::now() + (is_first ? limits.head_time : limits.keep_alive);
  bool has_begun = is_first;
  while (!is_closed_) {
    if (!has_begun && reader_.buffered() > 0) {
      has_begun = true;
      deadline = Clock::now() + limits.head_time;
    }
    if (reader_.read_head()) co_return true;
    if (has_ended_) co_return false;
    if (core_->is_draining && !is_late_ && reader_.buffered() == 0) co_return false;
    if (!co_await wait_until(deadline)) {
      if (reader_.buffered() > 0) throw HttpError(408, "the request's head did not arrive in time");
      co_return false;
    }
  }
  co_return false;
}

asio::awaitable<bool> Connection::wait_for_body(std::uint64_t limit) {
  wants_input(true);
  const auto stall = core_->options.limits.body_stall;
  while (!is_closed_) {
    if (reader_.read_body(limit)) co_return true;
    if (has_ended_) co_return false;
    if (!co_await wait_until(Clock::now() + stall))
      throw HttpError(408, "the request's body stopped arriving");
  }
  co_return false;
}

asio::awaitable<void> Connection::serve() {
  std::optional<HttpError> error;
  try {
    for (bool is_first = true; co_await wait_for_head(is_first); is_first = false) {
      if (!co_await answer()) co_return;
      co_await flush();
      reader_.next();
    }
  } catch (const HttpError& failure) {
    error = failure;
  } catch (const std::exception&) {
    error = HttpError(500, "internal error");
  }
  if (error)
    co_await refuse(reader_.has_head() ? &reader_.request() : nullptr, error->status(),
                    error->what());
}

asio::awaitable<void> Connection::refuse(const HttpRequest* head, int status, std::string message) {
  if (head == nullptr) {  // nothing is known of it, and nothing of the one before is true of it
    access_ = {};
    access_.peer = peer_;
    arrival_ = Clock::now();
    cors_.clear();
    span_ = nullptr;
    is_head_ = false;
  }
  send_response(core_->handler.error(head, status, message), false);
  co_return;
}

// Answers the request whose head was read. False when the connection ends with it.
asio::awaitable<bool> Connection::answer() {
  wants_input(false);
  HttpRequest& request = reader_.request();
  request.peer = peer_;
  request.arrival = Clock::now();
  request.request_id = request_id(request);
  arrival_ = request.arrival;
  access_ = {request.request_id, peer_, request.method, request.path, 0, 0, 0, 0, false, ""};
  request.span = span_ = begin_http_span(core_->options, request, local_);
  if (span_) access_.trace_id = span_->trace_id();
  is_head_ = request.method == "HEAD";
  cors_ = cors_fields(request, core_->options.cors_origins);
  keeps_alive_ = reader_.keeps_alive() && !core_->is_draining;
  if (core_->is_draining) {
    co_await refuse(&request, 503, "the server is shutting down");
    co_return false;
  }
  if (is_preflight(request)) {
    send_response({cors_.empty() ? 403 : 204, {}, ""}, keeps_alive_ && !reader_.has_body());
    co_return keeps_alive_ && !reader_.has_body();
  }
  std::uint64_t limit = core_->options.limits.body;
  if (const std::optional<HttpResponse> refusal = core_->handler.authorize(request, limit)) {
    // A body would have to be read to find what follows it.
    const bool goes_on = keeps_alive_ && !reader_.has_body();
    send_response(*refusal, goes_on);
    co_return goes_on;
  }
  if (reader_.expects_continue()) send("HTTP/1.1 100 Continue\r\n\r\n");
  if (!co_await wait_for_body(limit)) co_return false;
  wants_input(false);

  auto exchange = std::make_shared<ConnectionExchange>(shared_from_this(), std::move(request));
  exchange_ = exchange;
  is_answering_ = true;
  is_streaming_ = false;
  is_chunked_ = !reader_.is_http10();
  ++core_->requests;
  access_.request_bytes = exchange->request().body.size();
  if (has_ended_) {
    end_exchange(false);
  } else {
    try {
      core_->handler.handle(std::move(exchange));
    } catch (const std::exception&) {
      // The exchange went with it, which answers 500.
    }
  }
  while (is_answering_ && !is_closed_) co_await wait_until(kNever);
  --core_->requests;
  co_return keeps_alive_ && !is_closed_ && !has_ended_;
}

asio::awaitable<void> Connection::write() {
  const auto self = shared_from_this();
  while (!is_closed_) {
    if (output_.empty()) {
      co_await sleep_until(has_output_, kNever);
      continue;
    }
    std::string bytes = std::move(output_.front());
    output_.pop_front();
    while (!output_.empty() && bytes.size() < kWriteSize) {
      bytes += output_.front();
      output_.pop_front();
    }
    is_writing_ = true;
    // A slow client has this long for each piece of 64 KiB.
    for (std::string_view rest = bytes; !rest.empty() && !is_closed_;) {
      arm_write_watch();
      const std::string_view piece = rest.substr(0, kReadAhead);
      const bool is_written = co_await stream_->write(piece);
      write_watch_.cancel();
      if (!is_written) close();
      rest.remove_prefix(piece.size());
      if (const auto exchange = exchange_.lock()) exchange->taken(piece.size());
    }
    is_writing_ = false;
    wake();
  }
}

void Connection::arm_write_watch() {
  write_watch_.expires_after(core_->options.limits.write_stall);
  write_watch_.async_wait([weak = weak_from_this()](boost::system::error_code error) {
    const auto self = weak.lock();
    if (!error && self && self->is_writing_) self->close();
  });
}

asio::awaitable<void> Connection::flush() {
  while (!is_closed_ && (is_writing_ || !output_.empty())) co_await wait_until(kNever);
}

void Connection::send(std::string bytes) {
  if (is_closed_ || bytes.empty()) return;
  output_.push_back(std::move(bytes));
  has_output_.cancel();
}

HttpFields Connection::common_fields(bool keeps_alive) const {
  HttpFields fields = {{"date", http_date(std::chrono::system_clock::now())}};
  if (!access_.request_id.empty()) fields.emplace_back("x-request-id", access_.request_id);
  fields.insert(fields.end(), cors_.begin(), cors_.end());
  fields.emplace_back("connection", keeps_alive ? "keep-alive" : "close");
  return fields;
}

void Connection::send_response(const HttpResponse& response, bool keeps_alive) {
  HttpFields fields = response.headers;
  const HttpFields common = common_fields(keeps_alive);
  fields.insert(fields.end(), common.begin(), common.end());
  if (response.status != 204 && response.status != 304) {
    fields.emplace_back("content-length", std::to_string(response.body.size()));
  }
  send(response_head(response.status, fields) + (is_head_ ? "" : response.body));
  access_.status = response.status;
  access_.response_bytes = response.body.size();
  if (!is_answering_) log(true);
}

void Connection::log(bool is_whole) {
  if (access_.status == 0) return;
  access_.is_whole = is_whole;
  access_.seconds = std::chrono::duration<double>(Clock::now() - arrival_).count();
  if (const auto span = std::exchange(span_, nullptr)) end_http_span(*span, access_);
  if (core_->options.log) core_->options.log(access_);
  access_.status = 0;
}

void Connection::end_exchange(bool is_whole) {
  is_answering_ = is_streaming_ = false;
  heartbeat_.cancel();
  heartbeat_every_ = {};
  if (!is_whole) keeps_alive_ = false;
  if (const auto exchange = exchange_.lock()) exchange->ended(is_whole);
  exchange_.reset();
  if (access_.status == 0) access_.status = 499;  // left before there was an answer
  log(is_whole);
  has_room_.cancel();
  wake();
}

void Connection::close() {
  if (is_closed_) return;
  is_closed_ = true;
  if (is_answering_) end_exchange(false);
  output_.clear();
  stream_->close();
  for (asio::steady_timer* timer : {&woken_, &has_output_, &has_room_, &write_watch_, &heartbeat_})
    timer->cancel();
}

void Connection::beat() {
  if (heartbeat_every_.count() == 0 || !is_streaming_ || is_closed_) return;
  heartbeat_.expires_after(heartbeat_every_);
  heartbeat_.async_wait([weak = weak_from_this()](boost::system::error_code error) {
    const auto self = weak.lock();
    if (error || !self || !self->is_streaming_) return;
    if (self->output_.empty() && !self->is_writing_) {
      self->send(self->is_chunked_ ? chunk(self->heartbeat_bytes_) : self->heartbeat_bytes_);
    }
    self->beat();
  });
}

}  // namespace sampan
