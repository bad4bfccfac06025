#include "serve/http/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "serve/http/request_reader.h"

namespace sampan {
namespace {

using std::chrono::milliseconds;

// A blocking client that speaks raw bytes.
class Client {
 public:
  explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  explicit Client(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Client() { close(); }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  Client& send(const std::string& bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t count = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) break;
      sent += static_cast<std::size_t>(count);
    }
    return *this;
  }
  // All bytes until `end` was read, the peer closed, or nothing came for long.
  std::string read_until(const std::string& end, milliseconds longest = milliseconds(5000)) {
    while (end.empty() || data_.find(end) == std::string::npos) {
      pollfd waiting = {socket_, POLLIN, 0};
      if (::poll(&waiting, 1, static_cast<int>(longest.count())) <= 0) break;
      char bytes[65536];
      const ssize_t count = ::recv(socket_, bytes, sizeof(bytes), 0);
      if (count <= 0) {
        is_closed_ = true;
        break;
      }
      data_.append(bytes, static_cast<std::size_t>(count));
    }
    const std::size_t at = end.empty() ? std::string::npos : data_.find(end);
    const std::string taken = data_.substr(0, at == std::string::npos ? at : at + end.size());
    data_.erase(0, taken.size());
    return taken;
  }
  std::string read_all() { return read_until(""); }
  bool is_closed() const { return is_closed_; }

 private:
  int socket_;
  std::string data_;
  bool is_closed_ = false;
};

// /echo answers with the body, /later when told to, /stream in pieces, /hang never.
class TestHandler : public HttpHandler {
 public:
  std::optional<HttpResponse> authorize(const HttpRequest& head,
                                        std::uint64_t& body_limit) override {
    if (head.path == "/secret") return HttpResponse{401, {}, "no key"};
    if (head.path == "/small") body_limit = 10;
    return std::nullopt;
  }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const HttpRequest& request = exchange->request();
    ++handled;
    if (request.path == "/stream") {
      exchange->start_stream(200, {{"content-type", "text/event-stream"}});
      for (int i = 0; i < 3; ++i) exchange->write("piece " + std::to_string(i) + "\n");
      exchange->finish();
    } else if (request.path == "/hang" || request.path == "/endless" || request.path == "/beat") {
      exchange->on_gone([this] {
        const std::lock_guard lock(mutex_);
        ++gone;
        changed_.notify_all();
      });
      if (request.path != "/hang") exchange->start_stream(200, {});
      if (request.path == "/beat") exchange->set_heartbeat(": ping\n\n", milliseconds(30));
      const std::lock_guard lock(mutex_);
      held.push_back(exchange);
      changed_.notify_all();
    } else if (request.path == "/drop") {
      return;
    } else if (request.path == "/throw") {
      throw std::runtime_error("a bug");
    } else {
      exchange->respond({200, {{"x-method", request.method}}, request.path + "|" + request.body});
    }
  }
  HttpResponse error(const HttpRequest*, int status, std::string_view message) override {
    return {status, {{"content-type", "text/plain"}}, std::string(message)};
  }

  void wait_gone(int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(5), [&] { return gone >= count; }));
  }
  std::shared_ptr<Exchange> wait_held() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(5), [&] { return !held.empty(); }));
    return held.back();
  }

  std::atomic<int> handled{0};
  int gone = 0;
  std::vector<std::shared_ptr<Exchange>> held;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    options_.limits.head_time = milliseconds(300);
    options_.limits.body_stall = milliseconds(300);
    options_.limits.keep_alive = milliseconds(400);
    options_.limits.write_stall = milliseconds(400);
    options_.limits.queued_bytes = 1 << 20;
    options_.threads = 2;
    options_.cors_origins = {"https://app.example"};
    start();
  }
  void start() {
    server_ = std::make_unique<HttpServer>(options_, handler_);
    ListenAddress address;
    address.port = 0;
    port_ = server_->listen(address);
  }
  std::string ask(const std::string& bytes) { return Client(port_).send(bytes).read_all(); }
  int status_of(const std::string& bytes) {
    const std::string answer = ask(bytes);
    return answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9, 3)) : 0;
  }

  TestHandler handler_;
  HttpOptions options_;
  std::unique_ptr<HttpServer> server_;
  std::uint16_t port_ = 0;
};

const std::string kClose = "Host: a\r\nConnection: close\r\n\r\n";

TEST_F(HttpServerTest, AnswersWholeAndInPieces) {
  EXPECT_TRUE(ask("GET /echo?x=1 HTTP/1.1\r\n" + kClose).ends_with("\r\n\r\n/echo|"));
  EXPECT_TRUE(
      ask("POST /echo HTTP/1.1\r\nContent-Length: 3\r\n" + kClose + "abc").ends_with("/echo|abc"));
  EXPECT_TRUE(ask("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + kClose +
                  "2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n")
                  .ends_with("/echo|abc"));
  const std::string streamed = ask("GET /stream HTTP/1.1\r\n" + kClose);
  EXPECT_NE(streamed.find("transfer-encoding: chunked"), std::string::npos);
  EXPECT_TRUE(streamed.ends_with("8\r\npiece 0\n\r\n8\r\npiece 1\n\r\n8\r\npiece 2\n\r\n0\r\n\r\n"))
      << streamed;
  EXPECT_TRUE(ask("GET /stream HTTP/1.0\r\n\r\n").ends_with("\r\n\r\npiece 0\npiece 1\npiece 2\n"));
  const std::string head = ask("HEAD /echo HTTP/1.1\r\n" + kClose);
  EXPECT_NE(head.find("content-length: 6"), std::string::npos);
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Client client(port_);
  client.send(
      "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /stream HTTP/1.1\r\nHost: a\r\n\r\nPOST /b "
      "HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /c HTTP/1.1\r\n" +
      kClose);
  const std::string all = client.read_all();
  const std::size_t a = all.find("/a|"), stream = all.find("piece 2"), b = all.find("/b|x"),
                    c = all.find("/c|");
  EXPECT_TRUE(a < stream && stream < b && b < c && c != std::string::npos) << all;
}

TEST_F(HttpServerTest, AmbiguousRequestsAreRefused) {
  const std::string h = "Host: a\r\n";
  const std::vector<std::pair<std::string, int>> table = {
      {"POST / HTTP/1.1\r\n" + h +
           "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\n" + h + "Content-Length: 3, 3\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\n" + h + "Content-Length: +3\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\n" + h + "Content-Length: -1\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + h + "Content-Length: 99999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\n" + h +
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       400},
      {"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
      {"POST / HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + h + "A : b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + h + "A: b\r\n c\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + h + "A: b\rc: d\r\n\r\n", 400},
      {"GET / HTTP/1.1\n" + h + "\n", 400},
      {"GET / HTTP/1.1\r\n" + h + "A: b\nc: d\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nA: b" + std::string(1, '\0') + "c\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + h + h + "\r\n", 400},
      {"GET /../etc/passwd HTTP/1.1\r\n" + h + "\r\n", 400},
      {"GET /%2e%2e/x HTTP/1.1\r\n" + h + "\r\n", 400},
      {"GET /%zz HTTP/1.1\r\n" + h + "\r\n", 400},
      {"GET /%00 HTTP/1.1\r\n" + h + "\r\n", 400},
      {"GET x HTTP/1.1\r\n" + h + "\r\n", 400},
      {"BREW / HTTP/1.1\r\n" + h + "\r\n", 501},
      {"GET / HTTP/2.0\r\n" + h + "\r\n", 505},
      {"GET /\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n" + h + "Expect: magic\r\n\r\n", 417},
      {"POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n" + h + "\r\n", 414},
      {"GET / HTTP/1.1\r\n" + h + "A: " + std::string(40000, 'a') + "\r\n\r\n", 431},
      {"\x16\x03\x01\x02\x01\xfc\x03\n", 400},
  };
  for (const auto& [bytes, status] : table)
    EXPECT_EQ(status_of(bytes), status) << bytes.substr(0, 120);
  EXPECT_EQ(handler_.handled, 0);
}

TEST_F(HttpServerTest, BodiesAreBounded) {
  EXPECT_EQ(status_of("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"), 413);
  EXPECT_EQ(status_of("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                      "chunked\r\n\r\nb\r\n12345678901\r\n"),
            413);
  EXPECT_EQ(status_of("POST /small HTTP/1.1\r\nContent-Length: 10\r\n" + kClose + "1234567890"),
            200);
  // A refusal reaches a client that goes on sending.
  EXPECT_EQ(status_of("POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" +
                      std::string(3000000, 'x')),
            401);
}

TEST_F(HttpServerTest, ContinueComesAfterTheKey) {
  Client refused(port_);
  refused.send(
      "POST /secret HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(refused.read_all().starts_with("HTTP/1.1 401 "));
  Client client(port_);
  client.send("POST /echo HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" + kClose);
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(client.send("abc").read_all().ends_with("/echo|abc"));
}

TEST_F(HttpServerTest, SlowClientsAreLetGo) {
  Client head(port_);
  head.send("GET / HTTP/1.1\r\nHos");
  EXPECT_TRUE(head.read_all().starts_with("HTTP/1.1 408 "));
  // A byte now and then does not extend the head's time.
  Client drip(port_);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    drip.send("G");
    std::this_thread::sleep_for(milliseconds(40));
    if (std::chrono::steady_clock::now() - begin > milliseconds(600)) break;
  }
  EXPECT_NE(drip.read_all().find("408"), std::string::npos);
  Client body(port_);
  body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
  EXPECT_TRUE(body.read_all().starts_with("HTTP/1.1 408 "));
  Client idle(port_);
  idle.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  idle.read_until("/echo|");
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_TRUE(idle.is_closed());
}

TEST_F(HttpServerTest, AClientThatLeavesIsNoticedAtOnce) {
  auto client = std::make_unique<Client>(port_);
  client->send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
  handler_.wait_held();
  const auto begin = std::chrono::steady_clock::now();
  client.reset();
  handler_.wait_gone(1);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(200));
  handler_.held.back()->respond({200, {}, "too late"});  // nobody hears it
  EXPECT_TRUE(handler_.held.back()->is_gone());
}

TEST_F(HttpServerTest, AClientThatNeverReadsIsDropped) {
  Client client(port_);
  client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::shared_ptr<Exchange> exchange = handler_.wait_held();
  std::size_t most = 0;
  for (int i = 0; i < 2000 && !exchange->is_gone(); ++i) {
    exchange->write(std::string(20000, 'x'));
    most = std::max(most, exchange->queued_bytes());
    std::this_thread::sleep_for(milliseconds(1));
  }
  handler_.wait_gone(1);
  EXPECT_LT(most, std::size_t{2} << 20);
}

TEST_F(HttpServerTest, IdleStreamsHaveAHeartbeat) {
  Client client(port_);
  client.send("GET /beat HTTP/1.1\r\nHost: a\r\n\r\n");
  client.read_until("\r\n\r\n");
  EXPECT_EQ(client.read_until(": ping\n\n\r\n"), "8\r\n: ping\n\n\r\n");
  EXPECT_EQ(client.read_until(": ping\n\n\r\n"), "8\r\n: ping\n\n\r\n");
  handler_.wait_held()->finish();
  EXPECT_TRUE(client.read_until("0\r\n\r\n").ends_with("0\r\n\r\n"));
}

TEST_F(HttpServerTest, AnAbortedStreamIsSeenAsBroken) {
  Client client(port_);
  client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  handler_.wait_held()->abort();
  EXPECT_EQ(client.read_all().find("0\r\n\r\n"), std::string::npos);
  EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpServerTest, AHandlerThatFailsAnswers500) {
  EXPECT_EQ(status_of("GET /drop HTTP/1.1\r\n" + kClose), 500);
  EXPECT_EQ(status_of("GET /throw HTTP/1.1\r\n" + kClose), 500);
  EXPECT_EQ(status_of("GET /echo HTTP/1.1\r\n" + kClose), 200);
}

TEST_F(HttpServerTest, DrainingLetsStreamsFinish) {
  Client idle(port_);
  idle.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").read_until("/echo|");
  Client running(port_);
  running.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::shared_ptr<Exchange> exchange = handler_.wait_held();
  running.read_until("\r\n\r\n");
  std::thread drain([&] { EXPECT_TRUE(server_->drain(std::chrono::seconds(5))); });
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_TRUE(idle.is_closed());
  exchange->write("last words");
  exchange->finish();
  EXPECT_NE(running.read_all().find("last words\r\n0\r\n\r\n"), std::string::npos);
  drain.join();
}

TEST_F(HttpServerTest, RequestsThatComeWhileDrainingGet503) {
  options_.limits.head_time = std::chrono::seconds(30);
  start();
  Client running(port_);
  running.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::shared_ptr<Exchange> exchange = handler_.wait_held();
  Client other(port_);
  other.send("GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /hang");
  other.read_until("/echo|");
  const auto begin = std::chrono::steady_clock::now();
  std::thread drain([&] { EXPECT_TRUE(server_->drain(std::chrono::seconds(20))); });
  std::this_thread::sleep_for(milliseconds(50));
  other.send(" HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(other.read_all().starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(ask("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 503 "));
  Client silent(port_);  // holds nobody up
  exchange->finish();
  drain.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

TEST_F(HttpServerTest, CorsIsForThoseNamed) {
  const std::string allowed = ask("GET /echo HTTP/1.1\r\nOrigin: https://app.example\r\n" + kClose);
  EXPECT_NE(allowed.find("access-control-allow-origin: https://app.example"), std::string::npos);
  const std::string other = ask("GET /echo HTTP/1.1\r\nOrigin: https://evil.example\r\n" + kClose);
  EXPECT_EQ(other.find("access-control"), std::string::npos);
  const std::string preflight =
      "OPTIONS /echo HTTP/1.1\r\nAccess-Control-Request-Method: POST\r\nOrigin: ";
  EXPECT_EQ(status_of(preflight + "https://app.example\r\n" + kClose), 204);
  EXPECT_EQ(status_of(preflight + "https://evil.example\r\n" + kClose), 403);
}

TEST_F(HttpServerTest, RequestIdsAreRepeatedWhenTheyAreSane) {
  EXPECT_NE(
      ask("GET /echo HTTP/1.1\r\nX-Request-Id: abc-1\r\n" + kClose).find("x-request-id: abc-1\r\n"),
      std::string::npos);
  EXPECT_EQ(ask("GET /echo HTTP/1.1\r\nX-Request-Id: a b\r\n" + kClose).find("x-request-id: a b"),
            std::string::npos);
}

TEST_F(HttpServerTest, AUnixSocketIsForItsOwnerAlone) {
  ListenAddress address;
  address.unix_path =
      (std::filesystem::temp_directory_path() / ("sampan-http-" + std::to_string(::getpid())))
          .string();
  server_->listen(address);
  EXPECT_EQ(std::filesystem::status(address.unix_path).permissions(), std::filesystem::perms(0600));
  EXPECT_TRUE(Client(address.unix_path)
                  .send("GET /echo HTTP/1.1\r\n" + kClose)
                  .read_all()
                  .ends_with("/echo|"));
  server_->stop();
  EXPECT_FALSE(std::filesystem::exists(address.unix_path));
}

TEST_F(HttpServerTest, AUnixSocketTakesNobodysPlace) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("sampan-unix-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  ListenAddress address;
  address.unix_path = (folder / "socket").string();
  server_->listen(address);
  HttpServer other(options_, handler_);
  EXPECT_THROW(other.listen(address), Error);  // one that answers
  EXPECT_TRUE(Client(address.unix_path)
                  .send("GET /echo HTTP/1.1\r\n" + kClose)
                  .read_all()
                  .ends_with("/echo|"));

  ListenAddress file;
  file.unix_path = (folder / "notes").string();
  std::ofstream(file.unix_path) << "data";
  EXPECT_THROW(other.listen(file), Error);
  EXPECT_EQ(std::filesystem::file_size(file.unix_path), 4U);

  // One that a killed server left.
  std::filesystem::rename(address.unix_path, folder / "left");
  server_->stop();
  address.unix_path = (folder / "left").string();
  other.listen(address);
  EXPECT_TRUE(Client(address.unix_path)
                  .send("GET /echo HTTP/1.1\r\n" + kClose)
                  .read_all()
                  .ends_with("/echo|"));
  other.stop();
  std::filesystem::remove_all(folder);
}

TEST_F(HttpServerTest, AThousandIdleConnectionsHurtNobody) {
  options_.limits.keep_alive = options_.limits.head_time = std::chrono::seconds(30);
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 1000; ++i) clients.push_back(std::make_unique<Client>(port_));
  for (int i = 0; i < 200 && server_->stats().connections < 1000; ++i)
    std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(server_->stats().connections, 1000);
  EXPECT_EQ(status_of("GET /echo HTTP/1.1\r\n" + kClose), 200);
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.03);
}

TEST_F(HttpServerTest, TakenPortsAreTold) {
  ListenAddress address;
  address.port = port_;
  EXPECT_THROW(server_->listen(address), Error);
  address.host = "no.such.host.invalid";
  EXPECT_THROW(server_->listen(address), Error);
  EXPECT_TRUE(is_loopback({"127.0.0.1", 1, ""}) && is_loopback({"::1", 1, ""}) &&
              is_loopback({"localhost", 1, ""}));
  EXPECT_FALSE(is_loopback({"0.0.0.0", 1, ""}) || is_loopback({"192.168.1.2", 1, ""}) ||
               is_loopback({"example.com", 1, ""}));
}

// However the bytes are cut, the same requests are read.
TEST(RequestReader, CutsChangeNothing) {
  const std::string bytes =
      "POST /a?b=c+d&e=%20 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\nGET /z HTTP/1.1\r\nHost: "
      "y\r\n\r\n";
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
    RequestReader reader(HttpLimits{});
    std::vector<HttpRequest> requests;
    for (std::size_t i = 0; i < bytes.size(); i += cut) {
      reader.append(std::string_view(bytes).substr(i, cut));
      while (reader.read_head() && reader.read_body(1000)) {
        requests.push_back(std::move(reader.request()));
        reader.next();
      }
    }
    ASSERT_EQ(requests.size(), 2u) << cut;
    EXPECT_EQ(requests[0].body, "abcde");
    EXPECT_EQ(requests[0].query, (HttpFields{{"b", "c d"}, {"e", " "}}));
    EXPECT_EQ(requests[1].path, "/z");
  }
}

}  // namespace
}  // namespace sampan
