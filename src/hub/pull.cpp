#include "hub/pull.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/mapped_file.h"
#include "hub/downloader.h"
#include "hub/file_system.h"
#include "hub/hub_client.h"
#include "hub/selection.h"
#include "hub/store_cleaning.h"
#include "hub/store_layout.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kDiskReserve = 64ull << 20;  // left free for everyone else

class Pull {
 public:
  Pull(const ModelName& name, const PullOptions& options)
      : name_(name), options_(options), layout_(options.settings.store_root) {}

  LocalModel run() {
    report();
    hub_ = make_hub_client(name_, options_.settings);
    create_folders(layout_.root());
    // While this is held, rm leaves the blobs alone.
    const auto lock =
        FileLock::lock(layout_.store_lock(), FileLock::Mode::kShared, [&] { stop_if_cancelled(); });
    describe();
    find_what_is_here();
    check_disk();
    write_file_atomically(layout_.pending(name_, snapshot_.info.commit),
                          manifest_to_json(pending_manifest()));
    download();
    return publish();
  }

 private:
  void stop_if_cancelled() const {
    if (options_.cancel && options_.cancel()) throw PullCancelled();
  }

  void report() {
    if (options_.progress) options_.progress(progress_);
    progress_.notes.clear();
  }

  void describe() {
    ApiConnection connection(options_.network, options_.cancel, [&](const std::string& note) {
      progress_.notes.push_back(note);
      report();
    });
    snapshot_ = hub_->describe(connection);
    try {
      files_ = select_files(snapshot_.files, options_.include);
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", name_.to_string(), error.what());
    }
    if (files_.empty())
      fail(ErrorCode::kNotFound, "{}: the repository has no files", name_.to_string());
    // Small files first: the configuration is there early, and what is wrong with a repository
    // shows early.
    std::stable_sort(files_.begin(), files_.end(), [](const RepoFile& a, const RepoFile& b) {
      constexpr std::uint64_t kSmall = 16 << 20;
      if ((a.size < kSmall) != (b.size < kSmall)) return a.size < kSmall;
      return a.path < b.path;
    });
    for (const RepoFile& file : files_) progress_.total_bytes += file.size;
    progress_.total_files = files_.size();
    progress_.commit = snapshot_.info.commit;
  }

  void find_what_is_here() {
    progress_.phase = PullProgress::Phase::kChecking;
    for (const RepoFile& file : files_) {
      stop_if_cancelled();
      const std::string sha256 = sha256_if_here(file, name_, layout_);
      if (sha256.empty() || (options_.recheck && !is_intact(sha256))) {
        missing_.push_back(file);
        continue;
      }
      blobs_[file.path] = sha256;
      here_bytes_ += file.size;
    }
    progress_.done_files = files_.size() - missing_.size();
    progress_.done_bytes = here_bytes_;
    report();
  }

  // Reads a blob again; a damaged one is removed.
  bool is_intact(const std::string& sha256) {
    const fs::path path = layout_.blob(sha256);
    progress_.file = path.filename().string();
    const ContentIds ids = hash_file(path, false, [&](std::uint64_t) { stop_if_cancelled(); });
    if (ids.sha256 == sha256) return true;
    progress_.notes.push_back(
        fmt::format("{}: damaged, fetching it again", printable(path.string(), 300)));
    report();
    std::error_code ignored;
    fs::remove(path, ignored);
    return false;
  }

  void check_disk() {
    std::uint64_t needed = 0;
    for (const RepoFile& file : missing_) {
      needed += PartialFile::bytes_missing_on_disk(
          layout_.partials(), partial_key(file, name_, snapshot_.info.commit), file.size);
    }
    const std::uint64_t available = free_bytes(layout_.root());
    if (needed > 0 && (available < kDiskReserve || needed > available - kDiskReserve)) {
      fail(ErrorCode::kIo,
           "{}: {} are needed, {} are free in {}; free some space or set SAMPAN_HOME to a larger "
           "disk",
           name_.to_string(), format_bytes(needed), format_bytes(available),
           printable(layout_.root().string(), 300));
    }
  }

  void download() {
    if (missing_.empty()) return;
    progress_.phase = PullProgress::Phase::kDownloading;
    const DownloadOptions download_options{std::clamp(options_.connections, 1, 32),
                                           options_.network, options_.cancel};
    const auto downloaded =
        download_files(*hub_, snapshot_, missing_, layout_, download_options,
                       [&](const DownloadProgress& now) { report_download(now); });
    for (const DownloadedFile& file : downloaded) blobs_[file.path] = file.sha256;
  }

  void report_download(const DownloadProgress& now) {
    progress_.done_bytes = here_bytes_ + now.done_bytes;
    progress_.network_bytes = now.network_bytes;
    progress_.done_files = files_.size() - missing_.size() + now.files_done;
    progress_.file = now.current;
    progress_.notes = now.notes;
    report();
  }

  Manifest empty_manifest() const {
    Manifest manifest;
    manifest.name = name_;
    manifest.name.revision = name_.revision_or_main();
    manifest.endpoint = hub_->endpoint_text();
    manifest.commit = snapshot_.info.commit;
    manifest.license = snapshot_.info.license;
    manifest.pulled_at = utc_now();
    return manifest;
  }

  Manifest pending_manifest() const {
    Manifest manifest = empty_manifest();
    for (const RepoFile& file : files_)
      manifest.files.push_back({file.path, file.size, file.sha256, file.git_oid, true});
    return manifest;
  }

  // The files of this pull, and those that an earlier one with other globs brought of the same
  // commit.
  Manifest final_manifest() const {
    Manifest manifest = empty_manifest();
    for (const RepoFile& file : files_) {
      const bool has_digest = !file.sha256.empty() || !file.git_oid.empty();
      manifest.files.push_back(
          {file.path, file.size, blobs_.at(file.path), file.git_oid, has_digest});
    }
    const fs::path path = layout_.commit(name_, manifest.commit) / StoreLayout::kManifestName;
    if (file_size_if_present(path)) {
      const Manifest earlier = manifest_from_json(read_file(path), path.string());
      for (const ManifestFile& file : earlier.files) {
        if (!blobs_.contains(file.path)) manifest.files.push_back(file);
      }
    }
    std::sort(manifest.files.begin(), manifest.files.end(),
              [](const ManifestFile& a, const ManifestFile& b) { return a.path < b.path; });
    return manifest;
  }

  LocalModel publish() {
    const auto lock = FileLock::lock(layout_.model_lock(name_), FileLock::Mode::kExclusive,
                                     [&] { stop_if_cancelled(); });
    LocalModel model;
    model.name = name_;
    model.manifest = final_manifest();
    model.path = layout_.commit(name_, model.manifest.commit);
    for (const RepoFile& file : files_)
      link_file(layout_.blob(blobs_.at(file.path)), model.path / file.path);
    write_file_atomically(model.path / StoreLayout::kManifestName,
                          manifest_to_json(model.manifest));
    if (!is_commit_id(name_.revision)) {
      write_file_atomically(layout_.ref(name_, name_.revision_or_main()),
                            model.manifest.commit + "\n");
    }
    std::error_code ignored;
    fs::remove(layout_.pending(name_, model.manifest.commit), ignored);
    progress_.phase = PullProgress::Phase::kDone;
    progress_.done_bytes = progress_.total_bytes;
    progress_.done_files = progress_.total_files;
    report();
    return model;
  }

  const ModelName name_;
  const PullOptions& options_;
  const StoreLayout layout_;
  std::unique_ptr<HubClient> hub_;
  RepoSnapshot snapshot_;
  std::vector<RepoFile> files_;               // wanted
  std::vector<RepoFile> missing_;             // of these, not here
  std::map<std::string, std::string> blobs_;  // path to SHA-256, as they come in
  std::uint64_t here_bytes_ = 0;
  PullProgress progress_;
};

}  // namespace

LocalModel pull(const ModelName& name, const PullOptions& options) {
  if (options.settings.offline) {
    auto model = ModelStore(options.settings).find(name);
    if (model) return std::move(*model);
    fail(ErrorCode::kNotFound,
         "{}: not on this machine, and downloads are off (HF_HUB_OFFLINE or SAMPAN_OFFLINE is set)",
         name.to_string());
  }
  return Pull(name, options).run();
}

}  // namespace sampan
