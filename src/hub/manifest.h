#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/model_name.h"

namespace sampan {

inline constexpr std::uint64_t kMaxManifestBytes = 64 << 20;

struct ManifestFile {
  std::string path;
  std::uint64_t size = 0;
  std::string sha256;    // of the content, computed here; empty only for files of a Hugging Face
                         // cache that is not ours
  std::string git_oid;   // git's blob id, where that is what the hub listed
  bool verified = true;  // false: the hub listed no digest, so only the size was checked
};

// Where the files of a model came from and what they are: kept beside them as
// .sampan-manifest.json.
struct Manifest {
  ModelName name;        // revision: what the user asked for (a branch, a tag, a commit), resolved
  std::string endpoint;  // "https://huggingface.co"
  // The full commit id; "files-…" (a digest of the listing) where the hub tells none.
  std::string commit;
  std::string license;              // as the hub says it; empty if it does not
  std::string pulled_at;            // UTC, "2026-11-25T01:02:03Z"
  std::vector<ManifestFile> files;  // by path

  std::uint64_t total_bytes() const;
  const ManifestFile* find(std::string_view path) const;
};

std::string manifest_to_json(const Manifest& manifest);
// Throws Error kInvalidData "WHAT: …" for what is no manifest; paths and digests are checked as a
// hub's are.
Manifest manifest_from_json(std::string_view json, std::string_view what);

// Now, in UTC: "2026-11-25T01:02:03Z".
std::string utc_now();

}  // namespace sampan
