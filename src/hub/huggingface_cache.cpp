#include <algorithm>

#include "base/error.h"
#include "base/mapped_file.h"
#include "hub/file_system.h"
#include "hub/listing.h"
#include "hub/model_store.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kModelPrefix = "models--";

fs::path repository_folder(const fs::path& cache, const ModelName& name) {
  const std::string owner = name.org.empty() ? "" : name.org + "--";
  return cache / (std::string(kModelPrefix) + owner + name.name);
}

// "models--org--name" or "models--name" as a name; nothing for other folders.
std::optional<ModelName> name_of_folder(std::string_view folder) {
  if (!folder.starts_with(kModelPrefix)) return std::nullopt;
  std::string text(folder.substr(kModelPrefix.size()));
  if (const auto dashes = text.find("--"); dashes != std::string::npos)
    text.replace(dashes, 2, "/");
  return try_parse_model_name("hf:" + text);
}

std::string ref_commit(const fs::path& repository, const std::string& revision) {
  const fs::path path = repository / "refs" / revision;
  const auto size = file_size_if_present(path);
  if (!size || *size > 1024) return {};
  std::string commit = read_file(path, 1024);
  while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
  return is_commit_id(commit) ? commit : std::string();
}

std::vector<fs::path> snapshots(const fs::path& repository) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(repository / "snapshots", error)) {
    if (entry.is_directory(error) && is_commit_id(entry.path().filename().string()))
      out.push_back(entry.path());
  }
  return out;
}

// The client stores content under its digest: the link's target tells it without reading the file.
ManifestFile describe_file(const fs::path& path, std::string relative) {
  ManifestFile file;
  file.path = std::move(relative);
  file.size = file_size_if_present(path).value_or(0);
  std::error_code error;
  const std::string target = fs::read_symlink(path, error).filename().string();
  if (is_commit_id(target)) (target.size() == 64 ? file.sha256 : file.git_oid) = target;
  file.verified = !file.sha256.empty() || !file.git_oid.empty();
  return file;
}

LocalModel describe_snapshot(const ModelName& name, const fs::path& snapshot) {
  LocalModel model;
  model.name = name;
  model.path = snapshot;
  model.in_huggingface_cache = true;
  model.manifest.name = name;
  model.manifest.endpoint = "https://huggingface.co";
  model.manifest.commit = snapshot.filename().string();
  std::error_code error;
  fs::recursive_directory_iterator it(snapshot, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (model.manifest.files.size() >= kMaxHubFiles) break;
    if (!it->is_regular_file(error)) continue;
    model.manifest.files.push_back(
        describe_file(it->path(), it->path().lexically_relative(snapshot).string()));
  }
  std::sort(model.manifest.files.begin(), model.manifest.files.end(),
            [](const ManifestFile& a, const ManifestFile& b) { return a.path < b.path; });
  return model;
}

bool has_weights(const LocalModel& model) {
  return std::any_of(model.manifest.files.begin(), model.manifest.files.end(),
                     [](const ManifestFile& file) {
                       return file.path.ends_with(".safetensors") || file.path.ends_with(".gguf");
                     });
}

}  // namespace

std::optional<LocalModel> find_in_huggingface_cache(const fs::path& cache, const ModelName& name) {
  if (name.hub != Hub::kHuggingFace || cache.empty()) return std::nullopt;
  const fs::path repository = repository_folder(cache, name);
  std::error_code error;
  std::string commit =
      is_commit_id(name.revision) ? name.revision : ref_commit(repository, name.revision_or_main());
  if (!commit.empty() && fs::is_directory(repository / "snapshots" / commit, error)) {
    return describe_snapshot(name, repository / "snapshots" / commit);
  }
  if (!name.revision.empty()) return std::nullopt;
  // No "main": the newest snapshot, of those with weights if any has them.
  std::optional<LocalModel> best;
  fs::file_time_type best_time{};
  for (const fs::path& snapshot : snapshots(repository)) {
    LocalModel model = describe_snapshot(name, snapshot);
    const auto time = fs::last_write_time(snapshot, error);
    const bool better = !best || has_weights(model) > has_weights(*best) ||
                        (has_weights(model) == has_weights(*best) && time > best_time);
    if (!better) continue;
    best = std::move(model);
    best_time = time;
  }
  return best;
}

std::vector<LocalModel> list_huggingface_cache(const fs::path& cache) {
  std::vector<LocalModel> out;
  if (cache.empty()) return out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(cache, error)) {
    const auto name = name_of_folder(entry.path().filename().string());
    if (!name) continue;
    for (const fs::path& snapshot : snapshots(entry.path())) {
      LocalModel model = describe_snapshot(*name, snapshot);
      if (!model.manifest.files.empty()) out.push_back(std::move(model));
    }
  }
  return out;
}

}  // namespace sampan
