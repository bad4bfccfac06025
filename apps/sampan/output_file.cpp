#include "output_file.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace sampan {

OutputFile::OutputFile(const std::filesystem::path& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
  if (file_ == nullptr) fail_write();
}

OutputFile::~OutputFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail_write();
}

void OutputFile::close() {
  std::FILE* file = file_;
  file_ = nullptr;
  if (std::fclose(file) != 0) fail_write();
}

void OutputFile::fail_write() const {
  fail(ErrorCode::kIo, "{}: cannot write: {}", printable(path_.string(), 300), std::strerror(errno));
}

}  // namespace sampan
