#include "hub/hub_client.h"

#include <algorithm>
#include <random>
#include <thread>

#include "base/error.h"

namespace sampan {
namespace {

// The first call is made with the user watching: a wrong network shows sooner than in a long
// download.
constexpr int kMaxApiAttempts = 4;
constexpr std::size_t kMaxTokenBytes = 4096;

Url parse_endpoint(const ModelName& name, const HubSettings& settings) {
  const char* variable = name.hub == Hub::kHuggingFace ? "HF_ENDPOINT" : "MODELSCOPE_ENDPOINT";
  std::string text = settings.endpoint(name.hub);
  while (text.ends_with('/')) text.pop_back();
  if (text.find_first_of("?#") != std::string::npos) {
    fail(ErrorCode::kInvalidArgument, "{} \"{}\": it has a query", variable, printable(text));
  }
  return Url::parse(text, variable);
}

// A token goes into a header line: one word of printable ASCII.
void check_token(const ModelName& name, const std::string& token) {
  const bool is_word =
      std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (is_word && token.size() <= kMaxTokenBytes) return;
  fail(ErrorCode::kInvalidArgument, "{}: the token must be one word of printable ASCII",
       name.hub == Hub::kHuggingFace ? "HF_TOKEN" : "MODELSCOPE_API_TOKEN");
}

}  // namespace

ApiConnection::ApiConnection(const NetworkTuning& tuning, CancelCheck cancel,
                             std::function<void(const std::string&)> note)
    : tuning_(tuning),
      cancel_(std::move(cancel)),
      note_(std::move(note)),
      client_(tuning, cancel_) {}

std::pair<HttpReply, std::string> ApiConnection::get_text(const HubRequest& request) {
  for (int failures = 1;; ++failures) {
    try {
      return client_.get_text(request);
    } catch (const TransientError& error) {
      if (failures >= std::min(tuning_.max_attempts, kMaxApiAttempts)) throw;
      const auto delay = retry_delay(tuning_, failures, error, random_fraction());
      if (note_)
        note_(fmt::format("{}; again in {:.1f} s", error.what(),
                          static_cast<double>(delay.count()) / 1000));
      sleep_or_cancel(delay, cancel_);
    }
  }
}

HubClient::HubClient(const ModelName& name, const HubSettings& settings)
    : name_(name),
      endpoint_(parse_endpoint(name, settings)),
      has_token_(!settings.token(name.hub).empty()) {
  check_token(name, settings.token(name.hub));
  credentials_.origin = endpoint_.origin();
}

std::string HubClient::endpoint_text() const {
  std::string text = endpoint_.text();
  while (text.ends_with('/')) text.pop_back();
  return text;
}

HubRequest HubClient::request(const Url& url) const {
  return {url, endpoint_, std::nullopt, &credentials_};
}

std::string HubClient::token_note() const {
  const bool is_plain = endpoint_.origin().scheme == "http" && !endpoint_.is_loopback();
  return has_token_ && is_plain ? " (the token was not sent: the endpoint is plain http)" : "";
}

Url HubClient::url(const std::string& path_and_query) const {
  return Url::parse(endpoint_text() + path_and_query, "hub address");
}

std::string HubClient::get_or_fail(ApiConnection& connection, const Url& url) const {
  auto [reply, body] = connection.get_text(request(url));
  if (reply.head.status != 200) fail_for(reply, "");
  return std::move(body);
}

std::unique_ptr<HubClient> make_hub_client(const ModelName& name, const HubSettings& settings) {
  return name.hub == Hub::kHuggingFace ? make_huggingface_client(name, settings)
                                       : make_modelscope_client(name, settings);
}

void sleep_or_cancel(std::chrono::milliseconds duration, const CancelCheck& cancel) {
  const auto end = std::chrono::steady_clock::now() + duration;
  while (true) {
    if (cancel && cancel()) throw PullCancelled();
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= std::chrono::steady_clock::duration::zero()) return;
    std::this_thread::sleep_for(
        std::min<std::chrono::steady_clock::duration>(left, std::chrono::milliseconds(20)));
  }
}

double random_fraction() {
  thread_local std::minstd_rand generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.0, 1.0)(generator);
}

}  // namespace sampan
