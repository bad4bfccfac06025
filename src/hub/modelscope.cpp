#include <algorithm>

#include "base/error.h"
#include "hub/digest.h"
#include "hub/hub_client.h"

namespace sampan {
namespace {

// A name for a listing whose hub tells no commit: the same files give the same name.
std::string listing_digest(const std::vector<RepoFile>& files) {
  std::vector<std::string> lines;
  for (const RepoFile& file : files)
    lines.push_back(fmt::format("{}\n{}\n{}\n", file.path, file.size, file.sha256));
  std::sort(lines.begin(), lines.end());
  Digester digester(Digester::Algorithm::kSha256);
  for (const std::string& line : lines) digester.update(line);
  return "files-" + digester.hex().substr(0, 40);
}

class ModelScopeClient : public HubClient {
 public:
  ModelScopeClient(const ModelName& name, const HubSettings& settings) : HubClient(name, settings) {
    if (!has_token()) return;
    // Older routes read the cookie, newer ones the header; the hub's own client sends both.
    credentials_.headers = {"Authorization: Bearer " + settings.modelscope_token,
                            "Cookie: m_session_id=" + settings.modelscope_token};
  }

  RepoSnapshot describe(ApiConnection& connection) const override {
    RepoSnapshot snapshot;
    const std::string revisions = get_or_fail(connection, url(base() + "/revisions"));
    try {
      snapshot.info.commit = parse_modelscope_commit(revisions, name().revision_or_main());
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", name().to_string(), error.what());
    }
    const std::string listing = get_listing(connection, snapshot);
    snapshot.files = parse_modelscope_files(listing);
    check_listing(snapshot.files);
    if (snapshot.info.commit.empty()) snapshot.info.commit = newest_modelscope_commit(listing);
    if (snapshot.info.commit.empty()) snapshot.info.commit = listing_digest(snapshot.files);
    snapshot.info.license = get_license(connection);
    return snapshot;
  }

  Url file_url(const RepoSnapshot& snapshot, const std::string& path) const override {
    return url(base() + "/repo?Revision=" + percent_encode(snapshot.download_revision, false) +
               "&FilePath=" + percent_encode(path, false));
  }

  // Sizes in headers are unreliable while the hub throttles; the listing's size and SHA-256 are
  // what counts.
  void check_reply(const HttpReply&, const RepoFile&) const override {}

  [[noreturn]] void fail_for(const HttpReply& reply, std::string_view what) const override {
    const int status = reply.head.status;
    const std::string model = name().to_string();
    if (status == 404) {
      fail(ErrorCode::kNotFound, "{}: {}not found at {}; check the name{}", model,
           what.empty() ? "" : "file " + printable(what) + " ", endpoint_text(),
           has_token() ? "" : "; if it is private, set MODELSCOPE_API_TOKEN");
    }
    if (status == 401 || status == 403) {
      fail(ErrorCode::kPermission, "{}: {} refuses access; {}{}", model, endpoint_text(),
           has_token() ? "check MODELSCOPE_API_TOKEN and that its account may read the model"
                       : "accept the model's terms on its page and set MODELSCOPE_API_TOKEN",
           token_note());
    }
    const std::string detail = error_message_in(reply.error_body);
    fail(ErrorCode::kNetwork, "{}: {} answered HTTP status {}{}{}", model,
         reply.head.url.host_and_port(), status, what.empty() ? "" : " for " + printable(what),
         detail.empty() ? "" : ": " + printable(detail, 160));
  }

 private:
  std::string base() const { return "/api/v1/models/" + name().repository(); }

  Url listing_url(const std::string& revision) const {
    return url(base() + "/repo/files?Revision=" + percent_encode(revision, false) +
               "&Recursive=true");
  }

  // The file list at the commit, so that a push during the download changes nothing. Where the
  // commit is not known, or the route does not take one, the list at the revision's name.
  std::string get_listing(ApiConnection& connection, RepoSnapshot& snapshot) const {
    if (!snapshot.info.commit.empty()) {
      auto [reply, body] = connection.get_text(request(listing_url(snapshot.info.commit)));
      if (reply.head.status == 200 && is_listing(body)) {
        snapshot.download_revision = snapshot.info.commit;
        return std::move(body);
      }
    }
    snapshot.download_revision = name().revision_or_main();
    return get_or_fail(connection, listing_url(snapshot.download_revision));
  }

  static bool is_listing(const std::string& body) {
    try {
      return !parse_modelscope_files(body).empty();
    } catch (const Error&) {
      return false;
    }
  }

  // The licence is worth asking for, not worth failing for.
  std::string get_license(ApiConnection& connection) const {
    try {
      return parse_modelscope_license(get_or_fail(connection, url(base())));
    } catch (const PullCancelled&) {
      throw;
    } catch (const Error&) {
      return {};
    }
  }
};

}  // namespace

std::unique_ptr<HubClient> make_modelscope_client(const ModelName& name,
                                                  const HubSettings& settings) {
  return std::make_unique<ModelScopeClient>(name, settings);
}

}  // namespace sampan
