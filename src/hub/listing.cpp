#include "hub/listing.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "hub/json_reader.h"
#include "hub/model_name.h"

namespace sampan {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxPathBytes = 1024;
constexpr std::size_t kMaxComponents = 32;
constexpr std::size_t kMaxFolderNameBytes = 255;
constexpr std::uint64_t kMaxTotalBytes = 1ull << 50;
constexpr std::size_t kMaxLicenseBytes = 200;

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string lower_ascii(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return text;
}

std::uint64_t size_field(const Json& object, const char* key, std::string_view path) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number_unsigned() ||
      it->get<std::uint64_t>() > kMaxTotalBytes) {
    fail(ErrorCode::kInvalidData, "hub listing: {}: no usable size", printable(path));
  }
  return it->get<std::uint64_t>();
}

// A licence is one short printable word or line; a list of them is joined.
std::string license_text(const Json& value) {
  std::string text;
  if (value.is_string()) text = value.get<std::string>();
  if (value.is_array()) {
    for (const Json& item : value) {
      if (!item.is_string() || text.size() > kMaxLicenseBytes) continue;
      text += (text.empty() ? "" : ", ") + item.get<std::string>();
    }
  }
  return printable(text, kMaxLicenseBytes);
}

const Json* member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

std::string string_member(const Json& object, const char* key) {
  const Json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

// The "Data" of a ModelScope reply; throws the hub's own message when its Code is not 200.
const Json& modelscope_data(const Json& reply) {
  const Json* code = member(reply, "Code");
  const Json* data = member(reply, "Data");
  if (code == nullptr || !code->is_number_integer() || code->get<std::int64_t>() != 200 ||
      data == nullptr) {
    const std::string message = string_member(reply, "Message");
    fail(ErrorCode::kInvalidData, "ModelScope: {}",
         message.empty() ? "the reply has no data" : printable(message, 200));
  }
  return *data;
}

const Json& modelscope_file_list(const Json& reply) {
  static const Json kEmpty = Json::array();
  const Json& data = modelscope_data(reply);
  const Json* files = data.is_array() ? &data : member(data, "Files");
  if (files == nullptr || files->is_null()) return kEmpty;
  if (!files->is_array()) fail(ErrorCode::kInvalidData, "ModelScope: the file list is not a list");
  return *files;
}

RepoFile modelscope_file(const Json& entry) {
  RepoFile file;
  file.path = string_member(entry, "Path");
  check_repo_path(file.path);
  file.size = size_field(entry, "Size", file.path);
  file.sha256 = lower_ascii(string_member(entry, "Sha256"));
  if (!file.sha256.empty() && !is_hex(file.sha256, 64)) {
    fail(ErrorCode::kInvalidData, "ModelScope: {}: \"{}\" is no SHA-256", printable(file.path),
         printable(file.sha256));
  }
  return file;
}

RepoFile huggingface_file(const Json& entry) {
  RepoFile file;
  file.path = string_member(entry, "path");
  check_repo_path(file.path);
  const Json* lfs = member(entry, "lfs");
  if (lfs != nullptr && lfs->is_object()) {
    file.size = size_field(*lfs, "size", file.path);
    file.sha256 = lower_ascii(string_member(*lfs, "oid"));
    if (file.sha256.starts_with("sha256:")) file.sha256.erase(0, 7);
  } else {
    file.size = size_field(entry, "size", file.path);
    file.git_oid = lower_ascii(string_member(entry, "oid"));
  }
  const bool has_digest =
      lfs != nullptr && lfs->is_object() ? is_hex(file.sha256, 64) : is_hex(file.git_oid, 40);
  if (!has_digest)
    fail(ErrorCode::kInvalidData, "hub listing: {}: no usable digest", printable(file.path));
  return file;
}

// One component of a path from a hub; the answer is what is wrong with it, or null.
const char* problem_in_component(std::string_view component) {
  if (component.empty()) return "an empty component";
  if (component.size() > kMaxFolderNameBytes) return "a component over 255 bytes";
  if (component == "." || component == "..") return "a component that leads elsewhere";
  if (component.starts_with(".sampan")) return "a name that Sampan uses itself";
  return nullptr;
}

const char* problem_in_path(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes) return "a length out of 1 to 1024 bytes";
  if (path.find('\\') != std::string_view::npos) return "a backslash";
  if (printable(path, kMaxPathBytes) != path) return "control characters or broken UTF-8";
  std::size_t components = 0;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (const char* problem = problem_in_component(path.substr(begin, end - begin))) return problem;
    if (++components > kMaxComponents) return "more than 32 components";
    begin = end + 1;
  }
  return nullptr;
}

}  // namespace

void check_repo_path(std::string_view path) {
  if (const char* problem = problem_in_path(path)) {
    fail(ErrorCode::kInvalidData, "hub listing: file name \"{}\" has {}, refused", printable(path),
         problem);
  }
}

void check_listing(const std::vector<RepoFile>& files) {
  if (files.size() > kMaxHubFiles) {
    fail(ErrorCode::kLimit, "hub listing: {} files, at most {} are read", files.size(), kMaxHubFiles);
  }
  std::vector<std::string_view> paths;
  std::uint64_t total = 0;
  for (const RepoFile& file : files) {
    paths.push_back(file.path);
    if (file.size > kMaxTotalBytes - total)
      fail(ErrorCode::kLimit, "hub listing: more than 2^50 bytes in all");
    total += file.size;
  }
  // '/' sorts as if below every other byte, so that a folder's files follow directly on a file of
  // the folder's name.
  const auto less = [](std::string_view a, std::string_view b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
      const auto rank = [](char c) {
        return c == '/' ? 0 : static_cast<int>(static_cast<unsigned char>(c));
      };
      return rank(x) < rank(y);
    });
  };
  std::sort(paths.begin(), paths.end(), less);
  for (std::size_t i = 1; i < paths.size(); ++i) {
    const std::string_view a = paths[i - 1], b = paths[i];
    if (a == b) fail(ErrorCode::kInvalidData, "hub listing: {} is listed twice", printable(a));
    if (b.size() > a.size() && b.starts_with(a) && b[a.size()] == '/') {
      fail(ErrorCode::kInvalidData, "hub listing: {} is both a file and a folder", printable(a));
    }
  }
}

RepoInfo parse_huggingface_info(std::string_view json) {
  const Json reply = read_json(json, "Hugging Face's reply");
  RepoInfo info;
  info.commit = string_member(reply, "sha");
  if (!is_commit_id(info.commit)) {
    fail(ErrorCode::kInvalidData, "Hugging Face's reply: \"{}\" is no commit id",
         printable(info.commit));
  }
  if (const Json* card = member(reply, "cardData")) {
    if (const Json* license = member(*card, "license")) info.license = license_text(*license);
    const std::string own_name = string_member(*card, "license_name");
    if (info.license == "other" && !own_name.empty())
      info.license = printable(own_name, kMaxLicenseBytes);
  }
  const Json* tags = member(reply, "tags");
  if (info.license.empty() && tags != nullptr && tags->is_array()) {
    for (const Json& tag : *tags) {
      if (!tag.is_string()) continue;
      const std::string text = tag.get<std::string>();
      if (text.starts_with("license:")) info.license = printable(text.substr(8), kMaxLicenseBytes);
    }
  }
  return info;
}

void append_huggingface_tree(std::string_view json, std::vector<RepoFile>& files) {
  const Json reply = read_json(json, "Hugging Face's file list");
  if (!reply.is_array()) fail(ErrorCode::kInvalidData, "Hugging Face's file list: not a list");
  for (const Json& entry : reply) {
    const std::string type = string_member(entry, "type");
    if (type == "directory") continue;
    if (type != "file")
      fail(ErrorCode::kInvalidData, "Hugging Face's file list: an entry of type \"{}\"",
           printable(type));
    if (files.size() >= kMaxHubFiles) {
      fail(ErrorCode::kLimit, "hub listing: more than {} files", kMaxHubFiles);
    }
    files.push_back(huggingface_file(entry));
  }
}

std::vector<RepoFile> parse_modelscope_files(std::string_view json) {
  const Json reply = read_json(json, "ModelScope's file list");
  std::vector<RepoFile> files;
  for (const Json& entry : modelscope_file_list(reply)) {
    if (string_member(entry, "Type") == "tree") continue;
    if (files.size() >= kMaxHubFiles)
      fail(ErrorCode::kLimit, "hub listing: more than {} files", kMaxHubFiles);
    files.push_back(modelscope_file(entry));
  }
  return files;
}

std::string newest_modelscope_commit(std::string_view json) {
  const Json reply = read_json(json, "ModelScope's file list");
  std::string newest;
  std::int64_t newest_date = 0;
  for (const Json& entry : modelscope_file_list(reply)) {
    const std::string commit = string_member(entry, "Revision");
    const Json* date = member(entry, "CommittedDate");
    if (!is_commit_id(commit) || date == nullptr || !date->is_number_integer()) continue;
    if (newest.empty() || date->get<std::int64_t>() > newest_date) {
      newest = commit;
      newest_date = date->get<std::int64_t>();
    }
  }
  return newest;
}

std::string parse_modelscope_commit(std::string_view json, std::string_view revision) {
  const Json reply = read_json(json, "ModelScope's revisions");
  const Json* map = member(modelscope_data(reply), "RevisionMap");
  if (map == nullptr) fail(ErrorCode::kInvalidData, "ModelScope's revisions: no RevisionMap");
  std::string some;
  for (const char* kind : {"Branches", "Tags"}) {
    const Json* entries = member(*map, kind);
    if (entries == nullptr || !entries->is_array()) continue;
    for (const Json& entry : *entries) {
      const std::string name = string_member(entry, "Revision");
      const std::string commit = string_member(entry, "CommitId");
      if (name == revision) return is_commit_id(commit) ? commit : std::string();
      if (some.size() < 100) some += (some.empty() ? "" : ", ") + printable(name, 40);
    }
  }
  if (is_commit_id(revision)) return std::string(revision);
  fail(ErrorCode::kNotFound, "revision {} does not exist; there are: {}", printable(revision),
       some.empty() ? "none" : some);
}

std::string parse_modelscope_license(std::string_view json) {
  const Json reply = read_json(json, "ModelScope's reply");
  const Json* license = member(modelscope_data(reply), "License");
  return license == nullptr ? std::string() : license_text(*license);
}

std::string error_message_in(std::string_view body) {
  try {
    const Json reply = read_json(body, "an error");
    const std::string message = string_member(reply, "Message");
    return message.empty() ? string_member(reply, "error") : message;
  } catch (const Error&) {
    return {};
  }
}

std::optional<std::string> next_page_query(std::string_view header) {
  // Link: <https://host/path?query>; rel="next", <…>; rel="last"
  while (!header.empty()) {
    const auto open = header.find('<');
    if (open == std::string_view::npos) return std::nullopt;
    const auto close = header.find('>', open);
    if (close == std::string_view::npos) return std::nullopt;
    const std::string_view target = header.substr(open + 1, close - open - 1);
    const auto next = std::min(header.find('<', close), header.size());
    const std::string_view parameters = header.substr(close + 1, next - close - 1);
    header.remove_prefix(next);
    if (parameters.find("rel=\"next\"") == std::string_view::npos &&
        parameters.find("rel=next") == std::string_view::npos) {
      continue;
    }
    const auto question = target.find('?');
    if (question == std::string_view::npos || target.size() > 8192) return std::nullopt;
    return std::string(target.substr(question + 1));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<ContentRange> parse_content_range(std::string_view value) {
  if (!value.starts_with("bytes ")) return std::nullopt;
  value.remove_prefix(6);
  const auto dash = value.find('-');
  const auto slash = value.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash)
    return std::nullopt;
  const auto first = parse_size(value.substr(0, dash));
  const auto last = parse_size(value.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *first > *last) return std::nullopt;
  ContentRange range{*first, *last, std::nullopt};
  if (value.substr(slash + 1) == "*") return range;
  range.total = parse_size(value.substr(slash + 1));
  if (!range.total || *range.total <= range.last) return std::nullopt;
  return range;
}

std::optional<std::chrono::seconds> parse_retry_after(std::string_view value, std::int64_t now) {
  constexpr std::int64_t kMaxSeconds = 100ll * 365 * 86400;
  if (const auto seconds = parse_size(value)) {
    return std::chrono::seconds(std::min<std::uint64_t>(*seconds, kMaxSeconds));
  }
  if (value.size() > 64) return std::nullopt;
  const std::string copy(value);
  const auto date = static_cast<std::int64_t>(curl_getdate(copy.c_str(), nullptr));
  if (date < 0) return std::nullopt;
  return std::chrono::seconds(std::clamp<std::int64_t>(date - now, 0, kMaxSeconds));
}

std::string_view plain_etag(std::string_view value) {
  if (value.starts_with("W/")) value.remove_prefix(2);
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
    value = value.substr(1, value.size() - 2);
  return value;
}

}  // namespace sampan
