#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/manifest.h"
#include "hub/model_name.h"
#include "hub/settings.h"

namespace sampan {

// A model on this machine: a folder with its files under their own names.
struct LocalModel {
  ModelName name;  // revision: as it was asked for when it was pulled, or empty
  std::filesystem::path path;
  Manifest manifest;
  bool in_huggingface_cache = false;  // downloaded by the Python client; Sampan only reads it
};

// A line of `sampan list`.
struct StoreEntry {
  LocalModel model;               // of an incomplete one: what was asked for; no path
  std::vector<std::string> refs;  // branches and tags that lead to this commit
  bool is_complete = true;        // false: a pull was interrupted, the same command continues it
};

struct BadFile {
  ModelName name;
  std::filesystem::path path;
  // "is missing", "size 12, 34 in the manifest", "SHA-256 …, … in the manifest".
  std::string problem;
};

struct VerifyReport {
  std::size_t models = 0;
  std::size_t files = 0;
  std::uint64_t bytes = 0;
  std::vector<BadFile> bad;
};

struct VerifyProgress {
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
  std::string file;
};

struct RemoveReport {
  std::size_t models = 0;  // commits removed
  std::uint64_t freed_bytes = 0;
  bool blobs_kept = false;  // another pull was under way: the contents go with the next rm
};

// The models on this machine: Sampan's own store, and what the Python client has in its cache.
// Reads the disk at every call; safe to use from several threads and processes. Errors: Error kIo,
// kPermission, kInvalidData (a broken manifest, named).
class ModelStore {
 public:
  explicit ModelStore(HubSettings settings);

  // The model by name: at its revision (branch, tag, full commit), or without one at the default
  // branch, or else the commit pulled last. Looks into the store, then into the Hugging Face cache.
  std::optional<LocalModel> find(const ModelName& name) const;
  // What a user typed: any form of parse_model_name; "org/name" falls back to ModelScope; a bare
  // "name" finds the one model of that name. Throws Error kInvalidArgument, listing them, when a
  // bare name means several.
  std::optional<LocalModel> resolve(std::string_view text) const;

  // By name, then by date. A manifest that cannot be read is skipped and named in problems (may be
  // null).
  std::vector<StoreEntry> list(std::vector<std::string>* problems = nullptr) const;

  // Removes a model: the commit of its revision, or without one all of its commits and what
  // interrupted pulls of it left; then every blob that no model needs. Throws kNotFound;
  // kPermission for a model of the Hugging Face cache.
  RemoveReport remove(const ModelName& name) const;

  // Reads every file of a model (or of all in the store) and compares it with its manifest.
  // progress, about ten times a second, may be empty and may throw to stop.
  VerifyReport verify(const std::optional<ModelName>& name,
                      const std::function<void(const VerifyProgress&)>& progress) const;

 private:
  std::optional<LocalModel> find_in_store(const ModelName& name) const;

  HubSettings settings_;
};

// The model in the Hugging Face client's cache (models--org--name/{refs,snapshots}); without a
// revision at "main" or else the newest snapshot. Nothing is copied. The manifest holds what the
// cache knows: sizes, and SHA-256 of LFS files.
std::optional<LocalModel> find_in_huggingface_cache(const std::filesystem::path& cache,
                                                    const ModelName& name);
std::vector<LocalModel> list_huggingface_cache(const std::filesystem::path& cache);

}  // namespace sampan
