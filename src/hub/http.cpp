#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <mutex>

#include "hub/listing.h"

namespace sampan {
namespace {

constexpr int kMaxRedirects = 8;
constexpr std::size_t kMaxHeaderBytes = 128 * 1024;
constexpr std::size_t kMaxErrorBody = 64 * 1024;
constexpr const char* kUserAgent = "sampan/0.1";

void initialize_curl() {
  static std::once_flag once;
  std::call_once(once, [] { SAMPAN_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool is_transient_status(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
         status == 504;
}

// Not CURLE_UNSUPPORTED_PROTOCOL: schemes were checked, so it means a reply that does not begin as
// HTTP does.
bool is_permanent_failure(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
         code == CURLE_SSL_CERTPROBLEM || code == CURLE_URL_MALFORMAT;
}

// A proxy hides the address that a URL leads to; then only the URL's own text can be judged.
bool uses_proxy() {
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return true;
  }
  return false;
}

bool credentials_apply(const Credentials* credentials, const Url& url) {
  if (credentials == nullptr || !(credentials->origin == url.origin())) return false;
  return url.origin().scheme == "https" || url.is_loopback();
}

class TextSink : public HttpSink {
 public:
  explicit TextSink(std::size_t max_bytes) : max_bytes_(max_bytes) {}
  void begin(const HttpHead& head) override { host_ = head.url.host_and_port(); }
  void accept(std::span<const std::byte> bytes) override {
    if (bytes.size() > max_bytes_ - text.size()) {
      fail(ErrorCode::kLimit, "{}: a reply of more than {} bytes", host_, max_bytes_);
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  std::string text;

 private:
  std::size_t max_bytes_;
  std::string host_;
};

struct HeaderList {
  curl_slist* list = nullptr;
  ~HeaderList() { curl_slist_free_all(list); }
  void add(const std::string& line) { list = curl_slist_append(list, line.c_str()); }
};

}  // namespace

// What libcurl's C callbacks work on during one request.
struct HttpClient::Transfer {
  HttpHead head;
  HttpSink* sink = nullptr;
  const CancelCheck* cancel = nullptr;
  const Url* endpoint = nullptr;
  bool judge_address = false;  // a redirected request: see on_connected
  bool refused_address = false;
  bool body_began = false;
  std::size_t header_bytes = 0;
  std::string error_body;
  std::exception_ptr thrown;
  void* handle = nullptr;

  bool is_success() const { return head.status == 200 || head.status == 206; }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Transfer*>(self)->add_header(std::string_view(data, size)) ? size : 0;
  }

  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) {
    return static_cast<Transfer*>(self)->add_body(std::as_bytes(std::span(data, size))) ? size : 0;
  }

  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    const CancelCheck& cancel = *static_cast<Transfer*>(self)->cancel;
    return cancel && cancel() ? 1 : 0;
  }

  // Called between connecting and sending: the last place to refuse an address that a redirect's
  // host name hid.
  static int on_connected(void* self, char* address, char*, int, int) {
    auto* transfer = static_cast<Transfer*>(self);
    if (!transfer->judge_address) return CURL_PREREQFUNC_OK;
    const bool inside = is_loopback_address(address) && !transfer->endpoint->is_loopback();
    if (!inside && !is_metadata_address(address)) return CURL_PREREQFUNC_OK;
    transfer->refused_address = true;
    return CURL_PREREQFUNC_ABORT;
  }

  bool add_header(std::string_view line) {
    header_bytes += line.size();
    if (header_bytes > kMaxHeaderBytes) return false;
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) {  // a new block: a proxy's or an interim reply came before
      head.headers.clear();
      return true;
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return true;
    std::string name(line.substr(0, colon));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    line.remove_prefix(colon + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    head.headers.emplace_back(std::move(name), line);
    return true;
  }

  void begin_body() {
    if (body_began) return;
    body_began = true;
    long status = 0;
    curl_easy_getinfo(static_cast<CURL*>(handle), CURLINFO_RESPONSE_CODE, &status);
    head.status = static_cast<int>(status);
    if (is_success()) sink->begin(head);
  }

  bool add_body(std::span<const std::byte> bytes) {
    try {
      begin_body();
      if (is_success()) {
        sink->accept(bytes);
      } else if (error_body.size() < kMaxErrorBody) {
        const std::size_t n = std::min(bytes.size(), kMaxErrorBody - error_body.size());
        error_body.append(reinterpret_cast<const char*>(bytes.data()), n);
      } else {
        return false;  // an error's body without end
      }
      return true;
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  }
};

const std::string* HttpHead::find(std::string_view name) const {
  const auto it = std::find_if(headers.begin(), headers.end(),
                               [&](const auto& header) { return header.first == name; });
  return it == headers.end() ? nullptr : &it->second;
}

std::chrono::milliseconds retry_delay(const NetworkTuning& tuning, int failures,
                                      const TransientError& error, double jitter) {
  if (error.retry_after()) {
    if (*error.retry_after() > tuning.max_retry_after) throw error;
    return *error.retry_after();
  }
  auto delay = tuning.first_delay;
  for (int i = 1; i < failures && delay < tuning.max_delay; ++i) delay *= 2;
  delay = std::min(delay, tuning.max_delay);
  return std::chrono::milliseconds(
      static_cast<std::int64_t>(static_cast<double>(delay.count()) * (0.75 + 0.5 * jitter)));
}

HttpClient::HttpClient(const NetworkTuning& tuning, CancelCheck cancel)
    : tuning_(tuning), cancel_(std::move(cancel)), handle_(nullptr) {
  initialize_curl();
  handle_ = curl_easy_init();
  SAMPAN_CHECK(handle_ != nullptr);
}

HttpClient::~HttpClient() { curl_easy_cleanup(handle_); }

namespace {

void set_options(CURL* handle, const NetworkTuning& tuning, const Url& url) {
  curl_easy_reset(handle);  // keeps the connections
  curl_easy_setopt(handle, CURLOPT_URL, url.text().c_str());
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, kUserAgent);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(tuning.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, tuning.stall_bytes_per_second);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(tuning.stall_time.count()));
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L * 1024);
}

[[noreturn]] void fail_for(CURLcode code, const Url& url, const char* detail) {
  const std::string reason = *detail != '\0' ? detail : curl_easy_strerror(code);
  if (code == CURLE_COULDNT_RESOLVE_HOST) {
    throw TransientError(url.host_and_port() +
                         ": the host name cannot be resolved; is the network up?");
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    throw TransientError(
        fmt::format("{}: no answer, or too slow: {}", url.host_and_port(), printable(reason, 200)));
  }
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    fail(ErrorCode::kNetwork, "{}: its TLS certificate is not trusted: {}", url.host_and_port(),
         printable(reason, 200));
  }
  const std::string message = fmt::format("{}: {}", url.host_and_port(), printable(reason, 200));
  if (is_permanent_failure(code)) throw Error(ErrorCode::kNetwork, message);
  throw TransientError(message);
}

[[noreturn]] void fail_transiently(const HttpHead& head, std::string_view body) {
  std::optional<std::chrono::milliseconds> wait;
  if (const std::string* value = head.find("retry-after")) {
    wait = parse_retry_after(*value, static_cast<std::int64_t>(std::time(nullptr)));
  }
  const bool is_overload = head.status == 429 || head.status == 503;
  std::string message = fmt::format("{}: HTTP status {}{}", head.url.host_and_port(), head.status,
                                    head.status == 429 ? " (too many requests)" : "");
  if (wait) message += fmt::format(", asks to wait {} s", wait->count() / 1000);
  const std::string detail = error_message_in(body);
  if (!detail.empty()) message += ": " + printable(detail, 120);
  throw TransientError(message, wait, is_overload);
}

}  // namespace

HttpHead HttpClient::send(const HubRequest& request, const Url& url, bool was_redirected,
                          Transfer& transfer) {
  CURL* handle = static_cast<CURL*>(handle_);
  set_options(handle, tuning_, url);
  HeaderList headers;
  headers.add("Accept-Encoding: identity");
  if (credentials_apply(request.credentials, url)) {
    for (const std::string& line : request.credentials->headers) headers.add(line);
  }
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.list);
  std::string range;
  if (request.range) {
    range = fmt::format("{}-{}", request.range->first, request.range->second);
    curl_easy_setopt(handle, CURLOPT_RANGE, range.c_str());
  }
  char detail[CURL_ERROR_SIZE] = "";
  transfer.head.url = url;
  transfer.cancel = &cancel_;
  transfer.endpoint = &request.endpoint;
  transfer.judge_address = was_redirected && !uses_proxy();
  transfer.handle = handle;
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, Transfer::on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, Transfer::on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, Transfer::on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, Transfer::on_connected);
  curl_easy_setopt(handle, CURLOPT_PREREQDATA, &transfer);

  const CURLcode code = curl_easy_perform(handle);
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  if (cancel_ && cancel_()) throw PullCancelled();
  if (transfer.refused_address) {
    fail(ErrorCode::kNetwork, "{}: redirects to a local address, which is refused",
         url.host_and_port());
  }
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  const bool body_does_not_matter = status != 0 && !(status == 200 || status == 206);
  if (code != CURLE_OK && !(body_does_not_matter && code == CURLE_WRITE_ERROR))
    fail_for(code, url, detail);
  transfer.begin_body();  // an empty body calls no callback
  return transfer.head;
}

HttpReply HttpClient::get(const HubRequest& request, HttpSink& sink) {
  HttpReply reply;
  Url url = request.url;
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    Transfer transfer;
    transfer.sink = &sink;
    HttpHead head = send(request, url, hop > 0 || request.is_redirect_target, transfer);
    const std::string* location = head.find("location");
    if (!is_redirect(head.status) || location == nullptr) {
      if (is_transient_status(head.status)) fail_transiently(head, transfer.error_body);
      reply.head = std::move(head);
      reply.error_body = std::move(transfer.error_body);
      return reply;
    }
    const Url next = url.resolve(*location);
    check_redirect(request.endpoint, url, next);
    reply.redirects.push_back(std::move(head));
    url = next;
  }
  fail(ErrorCode::kNetwork, "{}: more than {} redirects", request.url.host_and_port(),
       kMaxRedirects);
}

std::pair<HttpReply, std::string> HttpClient::get_text(const HubRequest& request,
                                                       std::size_t max_bytes) {
  TextSink sink(max_bytes);
  HttpReply reply = get(request, sink);
  return {std::move(reply), std::move(sink.text)};
}

}  // namespace sampan
