#include "hub/store_cleaning.h"

#include <fcntl.h>

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "hub/downloader.h"
#include "hub/file_system.h"
#include "hub/manifest.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kReadBytes = 1 << 20;

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) {
    errno = error.value();
    fail_errno(path, "remove");
  }
}

// First out of sight by one rename, so that nobody finds a half-removed model; then away.
void remove_folder(const StoreLayout& layout, const fs::path& folder) {
  const fs::path hidden =
      layout.root() / "trash" / sha256_hex(folder.string() + utc_now()).substr(0, 16);
  create_folders(hidden.parent_path());
  remove_tree(hidden);
  rename_durably(folder, hidden);
  remove_tree(hidden);
}

std::string resolve_commit(const StoreLayout& layout, const ModelName& name) {
  if (is_commit_id(name.revision)) return name.revision;
  const fs::path ref = layout.ref(name, name.revision);
  if (!file_size_if_present(ref)) return {};
  std::string commit = read_file(ref, 1024);
  while (!commit.empty() && commit.back() == '\n') commit.pop_back();
  return commit;
}

// The pending pulls of a model: files named after it.
std::vector<fs::path> pending_of(const StoreLayout& layout, const ModelName& name,
                                 const std::string& commit) {
  std::vector<fs::path> out;
  std::error_code error;
  const std::string prefix = layout.pending(name, "").stem().string();
  for (const auto& entry : fs::directory_iterator(layout.pending_folder(), error)) {
    const std::string file = entry.path().filename().string();
    if (!file.starts_with(prefix) || !file.ends_with(".json")) continue;
    if (commit.empty() || file == prefix + commit + ".json") out.push_back(entry.path());
  }
  return out;
}

struct Needed {
  std::set<std::string> blobs;     // by SHA-256
  std::set<std::string> partials;  // by key
};

void add_needed(const Manifest& manifest, bool is_pending, const StoreLayout& layout,
                Needed& needed) {
  for (const ManifestFile& file : manifest.files) {
    if (!file.sha256.empty()) needed.blobs.insert(file.sha256);
    if (!is_pending) continue;
    const RepoFile listed{file.path, file.size, file.sha256, file.git_oid};
    needed.partials.insert(partial_key(listed, manifest.name, manifest.commit));
    needed.blobs.insert(sha256_if_here(listed, manifest.name, layout));
  }
}

Needed collect_needed(const StoreLayout& layout) {
  Needed needed;
  std::error_code error;
  fs::recursive_directory_iterator it(layout.models(), error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->path().filename() != StoreLayout::kManifestName) continue;
    const auto manifest =
        manifest_from_json(read_file(it->path(), kMaxManifestBytes), it->path().string());
    add_needed(manifest, false, layout, needed);
  }
  for (const auto& entry : fs::directory_iterator(layout.pending_folder(), error)) {
    if (entry.path().extension() != ".json") continue;
    const auto manifest =
        manifest_from_json(read_file(entry.path(), kMaxManifestBytes), entry.path().string());
    add_needed(manifest, true, layout, needed);
  }
  return needed;
}

std::uint64_t remove_files(const std::vector<fs::path>& paths) {
  std::uint64_t freed = 0;
  for (const fs::path& path : paths) {
    const std::uint64_t size = file_size_if_present(path).value_or(0);
    std::error_code error;
    if (fs::remove(path, error)) freed += size;
  }
  return freed;
}

}  // namespace

std::size_t remove_model(const StoreLayout& layout, const ModelName& name) {
  const auto lock = FileLock::lock(layout.model_lock(name), FileLock::Mode::kExclusive, {});
  const bool everything = name.revision.empty();
  const std::string commit = everything ? "" : resolve_commit(layout, name);
  if (!everything && commit.empty()) return 0;
  std::size_t removed = 0;
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(layout.model(name), error)) {
    if (everything || entry.path().filename() == commit) folders.push_back(entry.path());
  }
  for (const fs::path& folder : folders) remove_folder(layout, folder);
  removed += folders.size();
  for (const fs::path& path : pending_of(layout, name, commit))
    removed += fs::remove(path, error) ? 1 : 0;
  if (everything) {
    remove_tree(layout.model(name));
    remove_tree(layout.refs(name));
    remove_tree(layout.git_ids(name));
  } else if (!is_commit_id(name.revision)) {
    remove_tree(layout.ref(name, name.revision));
  }
  return removed;
}

std::optional<std::uint64_t> remove_unused_blobs(const StoreLayout& layout) {
  const auto lock = FileLock::try_lock(layout.store_lock(), FileLock::Mode::kExclusive);
  if (!lock) return std::nullopt;
  const Needed needed = collect_needed(layout);
  std::vector<fs::path> unused;
  std::error_code error;
  fs::recursive_directory_iterator it(layout.blobs(), error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_directory(error) || needed.blobs.contains(it->path().filename().string())) continue;
    unused.push_back(it->path());
  }
  for (const auto& entry : fs::directory_iterator(layout.partials(), error)) {
    if (!needed.partials.contains(entry.path().stem().string())) unused.push_back(entry.path());
  }
  return remove_files(unused);
}

ContentIds hash_file(const fs::path& path, bool with_git_oid,
                     const std::function<void(std::uint64_t)>& advance) {
  const FileHandle file = open_file(path, O_RDONLY);
  const std::uint64_t size = file_size_if_present(path).value_or(0);
  ContentHasher hasher(size, with_git_oid);
  std::vector<std::byte> buffer(kReadBytes);
  for (std::uint64_t offset = 0; offset < size;) {
    const auto bytes = std::span(buffer).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(kReadBytes, size - offset)));
    read_at(file, path, offset, bytes);
    hasher.update(bytes);
    offset += bytes.size();
    if (advance) advance(bytes.size());
  }
  return hasher.finish();
}

}  // namespace sampan
