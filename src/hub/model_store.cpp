#include "hub/model_store.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "hub/file_system.h"
#include "hub/listing.h"
#include "hub/store_cleaning.h"
#include "hub/store_layout.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {


std::string without_percent(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<fs::path> children(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

LocalModel read_model(const fs::path& folder) {
  const fs::path path = folder / StoreLayout::kManifestName;
  LocalModel model;
  model.path = folder;
  model.manifest = manifest_from_json(read_file(path, kMaxManifestBytes), path.string());
  model.name = model.manifest.name;
  return model;
}

bool has_manifest(const fs::path& folder) {
  return file_size_if_present(folder / StoreLayout::kManifestName).has_value();
}

std::string ref_commit(const StoreLayout& layout, const ModelName& name,
                       const std::string& revision) {
  const fs::path path = layout.ref(name, revision);
  if (!file_size_if_present(path)) return {};
  std::string commit = read_file(path, 1024);
  while (!commit.empty() && commit.back() == '\n') commit.pop_back();
  return commit.find('/') == std::string::npos && commit != ".." ? commit : std::string();
}

// The branches and tags of a model by the commit that they lead to.
std::vector<std::string> refs_to(const StoreLayout& layout, const ModelName& name,
                                 const std::string& commit) {
  std::vector<std::string> out;
  for (const fs::path& path : children(layout.refs(name))) {
    const std::string revision = without_percent(path.filename().string());
    if (ref_commit(layout, name, revision) == commit) out.push_back(revision);
  }
  return out;
}

bool by_name_and_date(const StoreEntry& a, const StoreEntry& b) {
  const auto key = [](const StoreEntry& entry) {
    ModelName name = entry.model.name;
    name.revision.clear();
    return std::pair(name.to_string(), entry.model.manifest.pulled_at);
  };
  return key(a) < key(b);
}

std::string problem_with(const fs::path& path, const ManifestFile& file,
                         const std::function<void(std::uint64_t)>& advance) {
  const auto size = file_size_if_present(path);
  if (!size) return "is missing";
  if (*size != file.size) return fmt::format("size {}, {} in the manifest", *size, file.size);
  const ContentIds ids = hash_file(path, !file.git_oid.empty() && file.sha256.empty(), advance);
  if (!file.sha256.empty() && ids.sha256 != file.sha256) {
    return fmt::format("SHA-256 {}, {} in the manifest", ids.sha256, file.sha256);
  }
  if (file.sha256.empty() && !file.git_oid.empty() && ids.git_oid != file.git_oid) {
    return fmt::format("git id {}, {} in the cache", ids.git_oid, file.git_oid);
  }
  return {};
}

}  // namespace

ModelStore::ModelStore(HubSettings settings) : settings_(std::move(settings)) {}

std::optional<LocalModel> ModelStore::find_in_store(const ModelName& name) const {
  const StoreLayout layout(settings_.store_root);
  const auto at = [&](const std::string& commit) -> std::optional<LocalModel> {
    if (commit.empty() || !has_manifest(layout.commit(name, commit))) return std::nullopt;
    LocalModel model = read_model(layout.commit(name, commit));
    model.name.revision = name.revision;
    return model;
  };
  if (is_commit_id(name.revision)) return at(name.revision);
  if (auto model = at(ref_commit(layout, name, name.revision_or_main()))) return model;
  if (!name.revision.empty()) return std::nullopt;
  std::optional<LocalModel> newest;
  for (const fs::path& folder : children(layout.model(name))) {
    if (!has_manifest(folder)) continue;
    LocalModel model = read_model(folder);
    if (!newest || model.manifest.pulled_at > newest->manifest.pulled_at) newest = std::move(model);
  }
  return newest;
}

std::optional<LocalModel> ModelStore::find(const ModelName& name) const {
  if (auto model = find_in_store(name)) return model;
  return find_in_huggingface_cache(settings_.huggingface_cache, name);
}

std::optional<LocalModel> ModelStore::resolve(std::string_view text) const {
  if (const auto name = try_parse_model_name(text)) {
    if (auto model = find(*name)) return model;
    if (text.starts_with("hf:") || name->hub != Hub::kHuggingFace) return std::nullopt;
    ModelName other = *name;
    other.hub = Hub::kModelScope;
    return find_in_store(other);
  }
  if (text.empty() || text.find('/') != std::string_view::npos) return std::nullopt;
  std::set<std::string> matches;
  for (const StoreEntry& entry : list()) {
    ModelName name = entry.model.name;
    name.revision.clear();
    if (entry.is_complete && name.name == text) matches.insert(name.to_string());
  }
  if (matches.empty()) return std::nullopt;
  if (matches.size() > 1) {
    std::string all;
    for (const std::string& match : matches) all += (all.empty() ? "" : ", ") + match;
    fail(ErrorCode::kInvalidArgument, "\"{}\" may be any of {}; name one in full", printable(text),
         all);
  }
  return find(parse_model_name(*matches.begin()));
}

std::vector<StoreEntry> ModelStore::list(std::vector<std::string>* problems) const {
  const StoreLayout layout(settings_.store_root);
  std::vector<StoreEntry> entries;
  const auto attempt = [&](const auto& read) {
    try {
      read();
    } catch (const Error& error) {
      if (problems != nullptr) problems->push_back(error.what());
    }
  };
  for (const fs::path& hub : children(layout.models())) {
    for (const fs::path& owner : children(hub)) {
      for (const fs::path& repository : children(owner)) {
        for (const fs::path& folder : children(repository)) {
          if (!has_manifest(folder)) continue;
          attempt([&] {
            StoreEntry entry{read_model(folder), {}, true};
            entry.refs = refs_to(layout, entry.model.name, entry.model.manifest.commit);
            entries.push_back(std::move(entry));
          });
        }
      }
    }
  }
  for (const fs::path& path : children(layout.pending_folder())) {
    if (path.extension() != ".json") continue;
    attempt([&] {
      StoreEntry entry;
      entry.is_complete = false;
      entry.model.manifest = manifest_from_json(read_file(path, kMaxManifestBytes), path.string());
      entry.model.name = entry.model.manifest.name;
      entries.push_back(std::move(entry));
    });
  }
  for (LocalModel& model : list_huggingface_cache(settings_.huggingface_cache)) {
    entries.push_back({std::move(model), {}, true});
  }
  std::sort(entries.begin(), entries.end(), by_name_and_date);
  return entries;
}

RemoveReport ModelStore::remove(const ModelName& name) const {
  const StoreLayout layout(settings_.store_root);
  RemoveReport report;
  if (const std::size_t removed = remove_model(layout, name); removed > 0) {
    report.models = removed;
  } else if (const auto cached = find_in_huggingface_cache(settings_.huggingface_cache, name)) {
    fail(
        ErrorCode::kPermission,
        "{}: is in the Hugging Face client's cache at {}, which Sampan only reads; delete it there",
        name.to_string(), printable(cached->path.string(), 300));
  } else {
    fail(ErrorCode::kNotFound, "{}: not in the local store {}", name.to_string(),
         printable(settings_.store_root.string(), 300));
  }
  const auto freed = remove_unused_blobs(layout);
  report.blobs_kept = !freed.has_value();
  report.freed_bytes = freed.value_or(0);
  return report;
}

VerifyReport ModelStore::verify(const std::optional<ModelName>& name,
                                const std::function<void(const VerifyProgress&)>& progress) const {
  std::vector<LocalModel> models;
  if (name) {
    auto model = find(*name);
    if (!model) fail(ErrorCode::kNotFound, "{}: not in the local store", name->to_string());
    models.push_back(std::move(*model));
  }
  VerifyReport report;
  VerifyProgress state;
  if (!name) {
    std::vector<std::string> problems;
    for (StoreEntry& entry : list(&problems)) {
      if (entry.is_complete && !entry.model.in_huggingface_cache)
        models.push_back(std::move(entry.model));
    }
    for (const std::string& problem : problems) report.bad.push_back({{}, {}, problem});
  }
  for (const LocalModel& model : models) state.total_bytes += model.manifest.total_bytes();
  for (const LocalModel& model : models) {
    ++report.models;
    for (const ManifestFile& file : model.manifest.files) {
      const std::uint64_t before = state.done_bytes;
      state.file = file.path;
      const std::string problem =
          problem_with(model.path / file.path, file, [&](std::uint64_t bytes) {
            state.done_bytes += bytes;
            if (progress) progress(state);
          });
      state.done_bytes = before + file.size;
      ++report.files;
      report.bytes += file.size;
      if (!problem.empty()) report.bad.push_back({model.name, model.path / file.path, problem});
    }
  }
  return report;
}

}  // namespace sampan
