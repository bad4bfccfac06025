#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>

namespace sampan {

// A file being written; what cannot be written is an Error naming the path ("No space left on device").
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  // Flushes; must be called, so that a full disk is noticed.
  void close();

 private:
  [[noreturn]] void fail_write() const;

  std::filesystem::path path_;
  std::FILE* file_;
};

}  // namespace sampan
