#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sampan {

// Throws Error for the current errno: kNotFound, kPermission or kIo, "PATH: cannot ACTION: reason",
// and on a full disk what to do.
[[noreturn]] void fail_errno(const std::filesystem::path& path, std::string_view action);

// An open file descriptor, closed on destruction. Movable.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle();
  FileHandle(FileHandle&& other) noexcept;
  FileHandle& operator=(FileHandle&& other) noexcept;
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC and mode 0644; throws as fail_errno.
FileHandle open_file(const std::filesystem::path& path, int flags);

// Write or read all of the bytes at an offset; throw as fail_errno. read_at throws kIo when the
// file ends early.
void write_at(const FileHandle& file, const std::filesystem::path& path, std::uint64_t offset,
              std::span<const std::byte> bytes);
void read_at(const FileHandle& file, const std::filesystem::path& path, std::uint64_t offset,
             std::span<std::byte> bytes);

void create_folders(const std::filesystem::path& path);
void sync_file(const FileHandle& file, const std::filesystem::path& path);
void sync_folder(const std::filesystem::path& path);
// Renames within one file system and makes the new name durable.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
// Writes a temporary file beside path, syncs it and renames it over path: readers see the old text
// or the new.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);
// Makes target another name of the existing file source: a hard link, or a relative symbolic link
// where the file system has none. An existing target is replaced atomically.
void link_file(const std::filesystem::path& source, const std::filesystem::path& target);

std::uint64_t free_bytes(const std::filesystem::path& folder);
// The size of a regular file (symbolic links followed), nothing where there is none.
std::optional<std::uint64_t> file_size_if_present(const std::filesystem::path& path);

// An advisory lock between processes (flock), held until destruction. The kernel frees it when its
// process dies, however it dies. Two locks in one process exclude each other too.
class FileLock {
 public:
  enum class Mode { kShared, kExclusive };
  // Nothing when another holder is in the way. Creates the lock file and its folder.
  static std::optional<FileLock> try_lock(const std::filesystem::path& path, Mode mode);
  // Waits, calling poll() every 50 ms: it may throw to give up, and may be empty.
  static FileLock lock(const std::filesystem::path& path, Mode mode,
                       const std::function<void()>& poll);

 private:
  explicit FileLock(FileHandle file) : file_(std::move(file)) {}
  FileHandle file_;
};

// Bytes as people read them: "512 B", "3.4 MB", "1.25 GB" (powers of 1000).
std::string format_bytes(std::uint64_t bytes);

}  // namespace sampan
