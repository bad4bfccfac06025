#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// Files of one model that a listing or a cache may have.
inline constexpr std::size_t kMaxHubFiles = 100'000;

// Pure readers of what hubs answer: JSON bodies and header values. Everything is untrusted: a body
// that breaks its format, a hostile file name, a number out of range is Error kInvalidData, never
// more. Thread-safe.

// One file of a repository as its hub lists it.
struct RepoFile {
  std::string path;  // relative, '/' between components, safe to join to a folder (check_repo_path)
  std::uint64_t size = 0;
  // 64 hexadecimal digits, or empty where the hub gives none (files outside Git LFS).
  std::string sha256;
  // Git's blob id, 40 hexadecimal digits, where the hub gives no SHA-256; or empty.
  std::string git_oid;
  bool operator==(const RepoFile&) const = default;
};

// What a hub says of a repository at a revision.
struct RepoInfo {
  std::string commit;
  std::string license;  // as the model card says it ("apache-2.0"), or empty
};

// Throws unless path is a plain relative path: 1 to 32 components of 1 to 255 bytes, no "." and
// "..", no leading or doubled slash, no backslash, valid UTF-8 without control characters, and none
// beginning ".sampan" (our own files).
void check_repo_path(std::string_view path);

// Throws if a path occurs twice or is both a file and a folder, if there are more than 100,000
// files, or if their sizes sum up to more than 2^50 bytes.
void check_listing(const std::vector<RepoFile>& files);

// GET /api/models/{repo}/revision/{revision}
RepoInfo parse_huggingface_info(std::string_view json);
// One page of GET /api/models/{repo}/tree/{commit}?recursive=true, appended to files.
void append_huggingface_tree(std::string_view json, std::vector<RepoFile>& files);

// GET /api/v1/models/{repo}/repo/files
std::vector<RepoFile> parse_modelscope_files(std::string_view json);
// The newest "Revision" among the files of the same reply, by "CommittedDate"; empty when there is
// none.
std::string newest_modelscope_commit(std::string_view json);
// GET /api/v1/models/{repo}/revisions: the commit of a branch or tag; empty when the reply has no
// commit ids. Throws kNotFound, naming a few that exist, when the revision is not among them and is
// no commit id.
std::string parse_modelscope_commit(std::string_view json, std::string_view revision);
// GET /api/v1/models/{repo}: the licence, or empty.
std::string parse_modelscope_license(std::string_view json);
// The "Message" of a ModelScope error body or the "error" of a Hugging Face one; empty if it is
// something else.
std::string error_message_in(std::string_view body);

// The query of the URL that a Link header calls rel="next" (without '?'); nothing when there is no
// next page.
std::optional<std::string> next_page_query(std::string_view link_header);

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;              // inclusive
  std::optional<std::uint64_t> total;  // nothing for '*'
};
// "bytes 0-99/1000"; nothing for what does not parse or contradicts itself.
std::optional<ContentRange> parse_content_range(std::string_view value);

// A Retry-After header: seconds, or an HTTP date seen from now (seconds since 1970). Never
// negative.
std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, std::int64_t now);

// An ETag without its W/ and quotes.
std::string_view plain_etag(std::string_view value);

std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace sampan
