#include "base/error.h"
#include "hub/hub_client.h"

namespace sampan {
namespace {

constexpr int kMaxPages = 1000;

std::string header(const HttpHead& head, std::string_view name) {
  const std::string* value = head.find(name);
  return value == nullptr ? std::string() : *value;
}

class HuggingFaceClient : public HubClient {
 public:
  HuggingFaceClient(const ModelName& name, const HubSettings& settings)
      : HubClient(name, settings) {
    if (has_token()) credentials_.headers = {"Authorization: Bearer " + settings.huggingface_token};
  }

  RepoSnapshot describe(ApiConnection& connection) const override {
    const std::string base = "/api/models/" + name().repository();
    const std::string revision = percent_encode(name().revision_or_main(), false);
    RepoSnapshot snapshot;
    snapshot.info =
        parse_huggingface_info(get_or_fail(connection, url(base + "/revision/" + revision)));
    snapshot.download_revision = snapshot.info.commit;
    const std::string tree = base + "/tree/" + snapshot.info.commit + "?";
    std::string query = "recursive=true&expand=false";
    for (int page = 0; page < kMaxPages; ++page) {
      auto [reply, body] = connection.get_text(request(url(tree + query)));
      if (reply.head.status != 200) fail_for(reply, "");
      append_huggingface_tree(body, snapshot.files);
      // Only the query is taken from the link: a mirror may copy links that name the original host.
      const auto next = next_page_query(header(reply.head, "link"));
      if (!next) {
        check_listing(snapshot.files);
        return snapshot;
      }
      query = *next;
    }
    fail(ErrorCode::kLimit, "{}: the file list has more than {} pages", name().to_string(),
         kMaxPages);
  }

  Url file_url(const RepoSnapshot& snapshot, const std::string& path) const override {
    return url("/" + name().repository() + "/resolve/" + snapshot.download_revision + "/" +
               percent_encode(path, true));
  }

  void check_reply(const HttpReply& reply, const RepoFile& file) const override {
    for (const HttpHead& head : reply.redirects) check_hub_head(head, file);
    check_hub_head(reply.head, file);
  }

  [[noreturn]] void fail_for(const HttpReply& reply, std::string_view what) const override {
    const std::string code = header(reply.head, "x-error-code");
    const std::string text = header(reply.head, "x-error-message");
    const std::string model = name().to_string();
    const int status = reply.head.status;
    if (code == "GatedRepo") {
      fail(ErrorCode::kPermission,
           "{}: the model is gated: accept its licence at {}/{} and set HF_TOKEN to a token of "
           "that account{}",
           model, endpoint_text(), name().repository(), token_note());
    }
    if (code == "RevisionNotFound") {
      fail(ErrorCode::kNotFound, "{}: revision {} does not exist at {}", model,
           name().revision_or_main(), endpoint_text());
    }
    if (code == "EntryNotFound" && !what.empty()) {
      fail(ErrorCode::kNotFound, "{}: file {} does not exist at {}", model, printable(what),
           endpoint_text());
    }
    if (status == 401 && text.find("nvalid credentials") != std::string::npos) {
      fail(ErrorCode::kPermission, "{}: {} refused the token; check HF_TOKEN", model,
           endpoint_text());
    }
    if (code == "RepoNotFound" || status == 404 || status == 401) {
      fail(ErrorCode::kNotFound, "{}: not found at {}; check the name{}{}", model, endpoint_text(),
           has_token() ? "; if it is private, the token's account must have access to it"
                       : "; if it is private or gated, set HF_TOKEN",
           token_note());
    }
    const std::string detail = text.empty() ? error_message_in(reply.error_body) : text;
    fail(status == 403 ? ErrorCode::kPermission : ErrorCode::kNetwork,
         "{}: {} answered HTTP status {}{}{}{}", model, reply.head.url.host_and_port(), status,
         what.empty() ? "" : " for " + printable(what),
         detail.empty() ? "" : ": " + printable(detail, 160), token_note());
  }

 private:
  // What the hub itself (not the storage that it redirects to) says of the file.
  void check_hub_head(const HttpHead& head, const RepoFile& file) const {
    if (!(head.url.origin() == endpoint().origin())) return;
    const std::string linked_etag(plain_etag(header(head, "x-linked-etag")));
    const std::string linked_size = header(head, "x-linked-size");
    if (!file.sha256.empty() && linked_etag.size() == 64 && linked_etag != file.sha256) {
      fail(ErrorCode::kInvalidData, "{}: {}: listed with SHA-256 {}, offered with {}",
           name().to_string(), printable(file.path), file.sha256, printable(linked_etag));
    }
    const auto size = parse_size(linked_size);
    if (!file.sha256.empty() && size && *size != file.size) {
      fail(ErrorCode::kInvalidData, "{}: {}: listed with {} bytes, offered with {}",
           name().to_string(), printable(file.path), file.size, *size);
    }
  }
};

}  // namespace

std::unique_ptr<HubClient> make_huggingface_client(const ModelName& name,
                                                   const HubSettings& settings) {
  return std::make_unique<HuggingFaceClient>(name, settings);
}

}  // namespace sampan
