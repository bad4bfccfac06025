#include "hub/file_system.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/error.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {

// A name beside path that no other thread or process uses.
fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  return path.parent_path() / fmt::format(".tmp-{}-{}", ::getpid(), counter.fetch_add(1));
}

}  // namespace

void fail_errno(const fs::path& path, std::string_view action) {
  const int error = errno;
  const std::string name = printable(path.string(), 300);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    fail(ErrorCode::kIo,
         "{}: cannot {}: {}; free some space and run the same command again, it continues", name,
         action, std::strerror(error));
  }
  const ErrorCode code = error == ENOENT || error == ENOTDIR ? ErrorCode::kNotFound
                         : error == EACCES || error == EPERM || error == EROFS
                             ? ErrorCode::kPermission
                             : ErrorCode::kIo;
  fail(code, "{}: cannot {}: {}", name, action, std::strerror(error));
}

FileHandle::~FileHandle() {
  if (fd_ >= 0) ::close(fd_);
}

FileHandle::FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileHandle& FileHandle::operator=(FileHandle&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileHandle open_file(const fs::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) fail_errno(path, "open");
  return FileHandle(fd);
}

void write_at(const FileHandle& file, const fs::path& path, std::uint64_t offset,
              std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(file.fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno(path, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

void read_at(const FileHandle& file, const fs::path& path, std::uint64_t offset,
             std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pread(file.fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno(path, "read");
    if (n == 0) {
      fail(ErrorCode::kIo, "{}: the file ends at byte {}, {} more were expected",
           printable(path.string(), 300), offset, bytes.size());
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

void create_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    errno = error.value();
    fail_errno(path, "create the folder");
  }
}

void sync_file(const FileHandle& file, const fs::path& path) {
  if (::fsync(file.fd()) != 0) fail_errno(path, "write to disk");
}

void sync_folder(const fs::path& path) {
  const FileHandle folder = open_file(path, O_RDONLY | O_DIRECTORY);
  // Some file systems cannot sync a folder and say EINVAL; there the rename is as durable as it
  // gets.
  if (::fsync(folder.fd()) != 0 && errno != EINVAL) fail_errno(path, "write to disk");
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_errno(to, "rename into place");
  sync_folder(to.parent_path());
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  create_folders(path.parent_path());
  const fs::path temporary = temporary_name(path);
  {
    const FileHandle file = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL);
    write_at(file, temporary, 0, std::as_bytes(std::span(text)));
    sync_file(file, temporary);
  }
  rename_durably(temporary, path);
}

void link_file(const fs::path& source, const fs::path& target) {
  create_folders(target.parent_path());
  struct stat a {
  }, b{};
  if (::stat(source.c_str(), &a) != 0) fail_errno(source, "find");
  if (::stat(target.c_str(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) return;
  const fs::path temporary = temporary_name(target);
  if (::link(source.c_str(), temporary.c_str()) != 0) {
    const fs::path relative = fs::relative(source, target.parent_path());
    if (::symlink(relative.c_str(), temporary.c_str()) != 0) fail_errno(target, "link");
  }
  rename_durably(temporary, target);
}

std::uint64_t free_bytes(const fs::path& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) fail_errno(folder, "ask for the free space of");
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

std::optional<std::uint64_t> file_size_if_present(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return static_cast<std::uint64_t>(info.st_size);
}

std::optional<FileLock> FileLock::try_lock(const fs::path& path, Mode mode) {
  create_folders(path.parent_path());
  FileHandle file = open_file(path, O_RDWR | O_CREAT);
  const int operation = mode == Mode::kShared ? LOCK_SH : LOCK_EX;
  while (::flock(file.fd(), operation | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    if (errno != EINTR) fail_errno(path, "lock");
  }
  return FileLock(std::move(file));
}

FileLock FileLock::lock(const fs::path& path, Mode mode, const std::function<void()>& poll) {
  while (true) {
    if (auto lock = try_lock(path, mode)) return std::move(*lock);
    if (poll) poll();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, kUnits[unit]);
}

}  // namespace sampan
