#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "hub/model_name.h"

namespace sampan {

// Where things are in the local store:
//   blobs/sha256/ab/abcd…                        contents by digest, read-only
//   models/hf/ORG/NAME/COMMIT/…                  a model's files, as other names of blobs, with
//   .sampan-manifest.json refs/hf/ORG/NAME/REVISION                    the commit that a branch or
//   tag led to when it was pulled git-ids/hf/ORG/NAME/OID-SIZE                 the SHA-256 of a
//   file that the hub knows by git's blob id (per model: a
//                                                SHA-1 collision in one repository must not reach
//                                                into another)
//   partial/KEY.part, KEY.journal                downloads under way or interrupted
//   pending/hf--ORG--NAME--COMMIT.json           pulls under way or interrupted: what rm must not
//   clear away locks/…
class StoreLayout {
 public:
  explicit StoreLayout(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path blobs() const { return root_ / "blobs" / "sha256"; }
  std::filesystem::path blob(const std::string& sha256) const {
    return blobs() / sha256.substr(0, 2) / sha256;
  }
  std::filesystem::path models() const { return root_ / "models"; }
  std::filesystem::path model(const ModelName& name) const;  // all commits of a model
  std::filesystem::path commit(const ModelName& name, const std::string& commit) const;
  static constexpr std::string_view kManifestName = ".sampan-manifest.json";
  std::filesystem::path refs(const ModelName& name) const;
  std::filesystem::path ref(const ModelName& name, const std::string& revision) const;
  std::filesystem::path git_ids(const ModelName& name) const;
  std::filesystem::path partials() const { return root_ / "partial"; }
  std::filesystem::path pending_folder() const { return root_ / "pending"; }
  std::filesystem::path pending(const ModelName& name, const std::string& commit) const;
  std::filesystem::path store_lock() const { return root_ / "locks" / "store.lock"; }
  std::filesystem::path model_lock(const ModelName& name) const;
  std::filesystem::path blob_lock(const std::string& key) const {
    return root_ / "locks" / (key + ".lock");
  }

 private:
  std::filesystem::path root_;
};

// The folder that stands for "no owner": no hub allows a leading '-' in a name.
inline constexpr std::string_view kNoOwner = "-";

}  // namespace sampan
