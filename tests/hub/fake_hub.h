#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "hub/model_name.h"
#include "hub/pull.h"
#include "hub/test_server.h"

namespace sampan::testing {

inline constexpr std::size_t kMiB = 1 << 20;

struct FakeFile {
  std::string content;
  bool in_lfs = false;
};

// A repository as a hub serves it. The digests and sizes that it lists are those of the content,
// unless listed says otherwise.
struct FakeRepo {
  std::string commit = std::string(40, 'c');
  std::map<std::string, FakeFile> files;
  std::map<std::string, FakeFile> listed;  // path to what the listing pretends
  std::string license = "apache-2.0";
  std::string token;         // needed for files, when set
  bool is_gated = false;     // says GatedRepo rather than 401
  bool tells_commit = true;  // ModelScope: CommitId among the revisions
};

// Behaves like Hugging Face and like ModelScope on one port (api) and like their storage on another
// (storage): redirects of LFS files, ETags, error codes, paging, ranges; and fails as scripted.
class FakeHub {
 public:
  FakeHub();

  // A change to the replies to requests whose path contains `path`, of either server. times: how
  // often; then it is gone.
  using Change = std::function<void(const ServerRequest&, ServerReply&)>;
  void change(const std::string& path, int times, Change change);

  std::map<std::string, FakeRepo> repos;  // by "org/name"; set up before the first request
  std::size_t page_size = 1000;
  bool has_ranges = true;

  // Settings that lead here, with an empty store in folder.
  HubSettings settings(const std::filesystem::path& folder) const;

 private:
  ServerReply answer_api(const ServerRequest& request);
  ServerReply answer_storage(const ServerRequest& request);
  ServerReply answer_huggingface_api(const ServerRequest& request, const std::string& rest);
  ServerReply answer_modelscope(const ServerRequest& request, const std::string& rest);
  ServerReply answer_resolve(const ServerRequest& request, const std::string& repo,
                             const std::string& rest);
  ServerReply tree_page(const ServerRequest& request, const FakeRepo& repo) const;
  ServerReply modelscope_list(const FakeRepo& repo) const;
  ServerReply content(const ServerRequest& request, const std::string& bytes,
                      bool partial_is_200) const;
  std::string denial(const ServerRequest& request, const FakeRepo& repo) const;
  void apply_changes(const ServerRequest& request, ServerReply& reply);

  struct Scripted {
    std::string path;
    int times;
    Change change;
  };
  std::mutex mutex_;
  std::vector<Scripted> changes_;

 public:
  // Last, so that they end before what their threads use.
  TestServer api;
  TestServer storage;
};

// sha1("blob N\0" + content), as git has it.
std::string git_oid(const std::string& content);

// Reproducible bytes that do not compress or repeat.
std::string noise(std::size_t size, unsigned seed);

// Pull options for tests: milliseconds where the real ones have seconds.
PullOptions fast_options(const FakeHub& hub, const std::filesystem::path& folder);

// A folder of its own for a test, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, std::string_view text);

}  // namespace sampan::testing
