#include "serve/trace/otlp_http.h"

#include <curl/curl.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "serve/trace/otlp_json.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxReply = 64 << 10;

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlPointer = std::unique_ptr<CURLU, UrlDeleter>;

UrlPointer parse_url(const std::string& text) {
  UrlPointer url(curl_url());
  SAMPAN_CHECK(url != nullptr);
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
    fail(ErrorCode::kInvalidArgument, "\"{}\" is not a URL such as http://127.0.0.1:4318",
         printable(text.substr(0, text.find('?')), 200));
  return url;
}

std::string part(const UrlPointer& url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, 0) != CURLUE_OK) return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

UrlPointer checked(const std::string& text) {
  UrlPointer url = parse_url(text);
  const std::string scheme = part(url, CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https")
    fail(ErrorCode::kInvalidArgument, "a URL of http or https is expected, not {}",
         printable(scheme));
  if (!part(url, CURLUPART_USER).empty() || !part(url, CURLUPART_PASSWORD).empty())
    fail(ErrorCode::kInvalidArgument,
         "the URL has a user name or a password in it; they belong into the headers");
  curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
  return url;
}

std::size_t on_reply(char* data, std::size_t, std::size_t size, void* to) {
  auto& reply = *static_cast<std::string*>(to);
  if (reply.size() + size > kMaxReply) return 0;
  reply.append(data, size);
  return size;
}

int on_progress(void* is_late, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<const std::function<bool()>*>(is_late))() ? 1 : 0;
}

void initialize_curl() {
  static std::once_flag once;
  std::call_once(once, [] { SAMPAN_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
}

// What the protocol lists as worth another try.
bool is_transient(long status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

std::string checked_url(const std::string& url) { return part(checked(url), CURLUPART_URL); }

std::string traces_url(const std::string& base) {
  const UrlPointer url = checked(base);
  std::string path = part(url, CURLUPART_PATH);
  while (path.ends_with('/')) path.pop_back();
  curl_url_set(url.get(), CURLUPART_PATH, (path + "/v1/traces").c_str(), 0);
  return part(url, CURLUPART_URL);
}

std::string shown_url(const std::string& url) {
  const UrlPointer parsed = checked(url);
  curl_url_set(parsed.get(), CURLUPART_QUERY, nullptr, 0);
  return printable(part(parsed, CURLUPART_URL), 300);
}

OtlpHttp::OtlpHttp(OtlpHttpOptions options)
    : options_(std::move(options)), handle_(nullptr), headers_(nullptr) {
  initialize_curl();
  handle_ = curl_easy_init();
  SAMPAN_CHECK(handle_ != nullptr);
  curl_slist* list = nullptr;
  const auto add = [&](const std::string& line) {
    curl_slist* const longer = curl_slist_append(list, line.c_str());
    SAMPAN_CHECK(longer != nullptr);
    list = longer;
  };
  add("Content-Type: application/json");
  add("Expect:");  // no round trip before a body
  // A header without a value is written with ';', else curl would leave it out.
  for (const auto& [name, value] : options_.headers)
    add(value.empty() ? name + ";" : name + ": " + value);
  headers_ = list;
}

OtlpHttp::~OtlpHttp() {
  curl_slist_free_all(static_cast<curl_slist*>(headers_));
  curl_easy_cleanup(handle_);
}

SendResult OtlpHttp::send(const std::string& body) {
  const auto set = [this](CURLoption option, auto value) {
    curl_easy_setopt(static_cast<CURL*>(handle_), option, value);
  };
  std::string reply;
  char detail[CURL_ERROR_SIZE] = "";
  const std::function<bool()> late = [this] { return is_late(); };
  curl_easy_reset(handle_);  // keeps the connection
  set(CURLOPT_URL, options_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout.count()));
  set(CURLOPT_USERAGENT, options_.user_agent.c_str());
  set(CURLOPT_HTTPHEADER, static_cast<curl_slist*>(headers_));
  set(CURLOPT_POSTFIELDS, body.data());
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  set(CURLOPT_WRITEFUNCTION, on_reply);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&reply));
  set(CURLOPT_XFERINFOFUNCTION, on_progress);
  set(CURLOPT_XFERINFODATA, static_cast<const void*>(&late));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_ERRORBUFFER, detail);
  const CURLcode code = curl_easy_perform(static_cast<CURL*>(handle_));
  SendResult result = result_of(code, reply);
  if (code != CURLE_OK)
    result.detail =
        fmt::format("{}: {}", shown_url(options_.url),
                    printable(*detail != '\0' ? detail : curl_easy_strerror(code), 200));
  return result;
}

SendResult OtlpHttp::result_of(int curl_code, const std::string& reply) const {
  using Kind = SendResult::Kind;
  SendResult result;
  if (curl_code != CURLE_OK) {
    // What no other try mends; CURLE_WRITE_ERROR is a reply that is too long.
    const bool is_final = curl_code == CURLE_PEER_FAILED_VERIFICATION ||
                          curl_code == CURLE_SSL_CACERT_BADFILE || curl_code == CURLE_WRITE_ERROR ||
                          curl_code == CURLE_URL_MALFORMAT;
    result.kind = is_final ? Kind::kRefused : Kind::kRetry;
    return result;
  }
  long status = 0;
  curl_easy_getinfo(static_cast<CURL*>(handle_), CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200 && status < 300) {
    const OtlpReply told = parse_otlp_reply(reply);
    result.rejected = told.rejected;
    result.detail = printable(told.message, 200);
    return result;
  }
  result.kind = is_transient(status) ? Kind::kRetry : Kind::kRefused;
  result.detail = fmt::format("{}: HTTP status {}", shown_url(options_.url), status);
  curl_off_t seconds = 0;
  curl_easy_getinfo(static_cast<CURL*>(handle_), CURLINFO_RETRY_AFTER, &seconds);
  if (seconds > 0)
    result.retry_after = std::chrono::seconds(std::min<curl_off_t>(seconds, 1 << 30));
  return result;
}

}  // namespace sampan
