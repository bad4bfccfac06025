#include "hub/manifest.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "hub/json_reader.h"
#include "hub/listing.h"

namespace sampan {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::string_view kFormat = "sampan-manifest/1";

// A commit id, or our own digest of a listing.
bool is_commit_folder(std::string_view text) {
  constexpr std::string_view kListing = "files-";
  if (text.starts_with(kListing)) text.remove_prefix(kListing.size());
  return is_commit_id(text);
}

ManifestFile file_from_json(const nlohmann::json& entry) {
  ManifestFile file;
  file.path = entry.at("path").get<std::string>();
  check_repo_path(file.path);
  file.size = entry.at("size").get<std::uint64_t>();
  file.sha256 = entry.value("sha256", "");
  file.git_oid = entry.value("git_oid", "");
  file.verified = entry.value("verified", true);
  if (!file.sha256.empty() && (file.sha256.size() != 64 || !is_commit_id(file.sha256))) {
    fail(ErrorCode::kInvalidData, "{}: \"{}\" is no SHA-256", printable(file.path),
         printable(file.sha256));
  }
  return file;
}

Manifest manifest_from(const nlohmann::json& value) {
  if (value.at("format").get<std::string>() != kFormat) {
    fail(ErrorCode::kUnsupported, "format \"{}\" is not {}",
         printable(value.at("format").get<std::string>()), kFormat);
  }
  Manifest manifest;
  const std::string revision = value.value("revision", "");
  manifest.name = parse_model_name(value.at("source").get<std::string>() + ":" +
                                   value.at("repository").get<std::string>() +
                                   (revision.empty() ? "" : ":" + revision));
  manifest.endpoint = value.value("endpoint", "");
  manifest.commit = value.at("commit").get<std::string>();
  manifest.license = value.value("license", "");
  manifest.pulled_at = value.value("pulled_at", "");
  if (!is_commit_folder(manifest.commit)) {
    fail(ErrorCode::kInvalidData, "\"{}\" is no commit id", printable(manifest.commit));
  }
  for (const auto& entry : value.at("files")) manifest.files.push_back(file_from_json(entry));
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const ManifestFile& a, const ManifestFile& b) { return a.path < b.path; });
  const auto same_path = [](const ManifestFile& x, const ManifestFile& y) {
    return x.path == y.path;
  };
  if (std::adjacent_find(manifest.files.begin(), manifest.files.end(), same_path) !=
      manifest.files.end()) {
    fail(ErrorCode::kInvalidData, "a file is listed twice");
  }
  return manifest;
}

}  // namespace

std::uint64_t Manifest::total_bytes() const {
  std::uint64_t total = 0;
  for (const ManifestFile& file : files) total += file.size;
  return total;
}

const ManifestFile* Manifest::find(std::string_view path) const {
  const auto it = std::find_if(files.begin(), files.end(),
                               [&](const ManifestFile& file) { return file.path == path; });
  return it == files.end() ? nullptr : &*it;
}

std::string manifest_to_json(const Manifest& manifest) {
  OrderedJson value;
  value["format"] = kFormat;
  value["source"] = hub_prefix(manifest.name.hub);
  value["endpoint"] = manifest.endpoint;
  value["repository"] = manifest.name.repository();
  value["revision"] = manifest.name.revision;
  value["commit"] = manifest.commit;
  value["license"] = manifest.license;
  value["pulled_at"] = manifest.pulled_at;
  value["files"] = OrderedJson::array();
  for (const ManifestFile& file : manifest.files) {
    OrderedJson entry;
    entry["path"] = file.path;
    entry["size"] = file.size;
    if (!file.sha256.empty()) entry["sha256"] = file.sha256;
    if (!file.git_oid.empty()) entry["git_oid"] = file.git_oid;
    if (!file.verified) entry["verified"] = false;
    value["files"].push_back(std::move(entry));
  }
  return value.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Manifest manifest_from_json(std::string_view json, std::string_view what) {
  try {
    return manifest_from(read_json(json, what));
  } catch (const nlohmann::json::exception&) {
    fail(ErrorCode::kInvalidData, "{}: a field is missing or of the wrong type", what);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", what, error.what());
  }
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace sampan
