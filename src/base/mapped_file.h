#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace sampan {

// A file mapped read-only. The bytes stay valid for the object's life; moving it does not move the
// bytes. Thread-safe. A file that is truncated while mapped raises SIGBUS on access, as for every
// mapping.
class MappedFile {
 public:
  // Throws Error kNotFound, kPermission or kIo naming the path. A directory or an empty file: an
  // empty file maps to an empty span, a directory is kInvalidArgument.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  // Tells the kernel that [offset, offset + size) will not be read again soon, so its pages need
  // not stay resident.
  void release_pages(std::size_t offset, std::size_t size) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// The whole of a small text file. Throws Error kNotFound / kPermission / kIo, and kLimit above
// max_bytes.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes = 256ull << 20);

}  // namespace sampan
