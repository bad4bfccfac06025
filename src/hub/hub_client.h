#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/http.h"
#include "hub/listing.h"
#include "hub/model_name.h"
#include "hub/settings.h"

namespace sampan {

// A repository at one commit, as its hub describes it. The listing has passed check_listing.
struct RepoSnapshot {
  RepoInfo info;
  std::vector<RepoFile> files;
  // What to ask for files by: the commit, or the revision's name where the hub tells no commit.
  std::string download_revision;
};

// Calls a hub's API with retries. note receives a line about each retry ("…: HTTP status 503, again
// in 2 s"); it may be empty.
class ApiConnection {
 public:
  ApiConnection(const NetworkTuning& tuning, CancelCheck cancel,
                std::function<void(const std::string&)> note);
  std::pair<HttpReply, std::string> get_text(const HubRequest& request);

 private:
  const NetworkTuning& tuning_;
  CancelCheck cancel_;
  std::function<void(const std::string&)> note_;
  HttpClient client_;
};

// What differs between hubs: addresses, the shape of replies, how a token travels, what errors
// mean. Immutable, so thread-safe.
class HubClient {
 public:
  virtual ~HubClient() = default;
  // Throws Error kNotFound, kPermission (what to do about a gated model), kNetwork, kInvalidData;
  // PullCancelled.
  virtual RepoSnapshot describe(ApiConnection& connection) const = 0;
  virtual Url file_url(const RepoSnapshot& snapshot, const std::string& path) const = 0;
  // Throws the Error that a reply of another status than 200 or 206 means. what: a file's path, or
  // empty for the repository itself.
  [[noreturn]] virtual void fail_for(const HttpReply& reply, std::string_view what) const = 0;
  // Throws Error kInvalidData when the headers of a file's reply contradict the listing.
  virtual void check_reply(const HttpReply& reply, const RepoFile& file) const = 0;

  const ModelName& name() const { return name_; }
  const Url& endpoint() const { return endpoint_; }
  std::string endpoint_text() const;  // without a trailing slash
  HubRequest request(const Url& url) const;

 protected:
  HubClient(const ModelName& name, const HubSettings& settings);
  bool has_token() const { return has_token_; }
  // Why a given token was not used, as the end of a message; empty if it was or there is none.
  std::string token_note() const;
  Url url(const std::string& path_and_query) const;
  std::string get_or_fail(ApiConnection& connection, const Url& url) const;

  Credentials credentials_;

 private:
  ModelName name_;
  Url endpoint_;
  bool has_token_;
};

// Throws Error kInvalidArgument for an endpoint that is no http(s) URL and for a token that cannot
// be one.
std::unique_ptr<HubClient> make_hub_client(const ModelName& name, const HubSettings& settings);
std::unique_ptr<HubClient> make_huggingface_client(const ModelName& name,
                                                   const HubSettings& settings);
std::unique_ptr<HubClient> make_modelscope_client(const ModelName& name,
                                                  const HubSettings& settings);

// Sleeps, but throws PullCancelled within 20 ms of cancel becoming true.
void sleep_or_cancel(std::chrono::milliseconds duration, const CancelCheck& cancel);

// A number in [0, 1) for the jitter of retries. Thread-safe.
double random_fraction();

}  // namespace sampan
