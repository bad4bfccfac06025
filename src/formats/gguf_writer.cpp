#include "formats/gguf_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::uint64_t kAlignment = 32;
constexpr std::string_view kAlignmentKey = "general.alignment";

template <typename T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void append_text(std::string& out, std::string_view text) {
  append(out, static_cast<std::uint64_t>(text.size()));
  out += text;
}

std::uint64_t padding(std::uint64_t bytes) {
  return (kAlignment - bytes % kAlignment) % kAlignment;
}

}  // namespace

GgufWriter::GgufWriter(std::filesystem::path path) : path_(std::move(path)) {
  temporary_path_ = path_;
  temporary_path_ += fmt::format(".partial-{}", ::getpid());
  fd_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_io(errno);
}

GgufWriter::~GgufWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_path_.c_str());
}

void GgufWriter::fail_io(int error) const {
  const ErrorCode code = error == EACCES || error == EPERM || error == EROFS
                             ? ErrorCode::kPermission
                         : error == ENOENT ? ErrorCode::kNotFound
                                           : ErrorCode::kIo;
  const std::string name = printable(path_.string(), 300);
  if (!data_begun_) fail(code, "{}: {}", name, std::strerror(error));
  fail(code, "{}: {}; {} of {} bytes written", name, std::strerror(error), file_bytes_written_,
       file_bytes());
}

// `seen` stays sorted, so that a duplicate is found without hashing what a file said.
void GgufWriter::check_new(std::vector<std::string>& seen, std::string_view name,
                           std::string_view what) {
  SAMPAN_CHECK(!data_begun_);
  if (name.empty() || name.size() > kMaxGgufNameBytes) {
    fail(ErrorCode::kInvalidArgument, "gguf: {} of {} bytes, 1 to {} are allowed", what,
         name.size(), kMaxGgufNameBytes);
  }
  const auto place = std::lower_bound(seen.begin(), seen.end(), name);
  if (place != seen.end() && *place == name) {
    fail(ErrorCode::kInvalidArgument, "gguf: {} {} is there twice", what, printable(name));
  }
  seen.emplace(place, name);
}

void GgufWriter::add_key(std::string_view key, GgufType type) {
  SAMPAN_CHECK(key != kAlignmentKey);
  check_new(keys_, key, "metadata key");
  append_text(metadata_, key);
  append(metadata_, static_cast<std::uint32_t>(type));
}

void GgufWriter::add_array(std::string_view key, GgufType element_type, std::uint64_t count) {
  add_key(key, GgufType::kArray);
  append(metadata_, static_cast<std::uint32_t>(element_type));
  append(metadata_, count);
}

void GgufWriter::add_string(std::string_view key, std::string_view value) {
  add_key(key, GgufType::kString);
  append_text(metadata_, value);
}

void GgufWriter::add_u32(std::string_view key, std::uint32_t value) {
  add_key(key, GgufType::kU32);
  append(metadata_, value);
}

void GgufWriter::add_u64(std::string_view key, std::uint64_t value) {
  add_key(key, GgufType::kU64);
  append(metadata_, value);
}

void GgufWriter::add_i32(std::string_view key, std::int32_t value) {
  add_key(key, GgufType::kI32);
  append(metadata_, value);
}

void GgufWriter::add_f32(std::string_view key, float value) {
  add_key(key, GgufType::kF32);
  append(metadata_, value);
}

void GgufWriter::add_bool(std::string_view key, bool value) {
  add_key(key, GgufType::kBool);
  append(metadata_, static_cast<std::uint8_t>(value));
}

void GgufWriter::add_strings(std::string_view key, std::span<const std::string> values) {
  add_array(key, GgufType::kString, values.size());
  for (const std::string& value : values) append_text(metadata_, value);
}

void GgufWriter::add_u32s(std::string_view key, std::span<const std::uint32_t> values) {
  add_array(key, GgufType::kU32, values.size());
  for (const std::uint32_t value : values) append(metadata_, value);
}

void GgufWriter::add_i32s(std::string_view key, std::span<const std::int32_t> values) {
  add_array(key, GgufType::kI32, values.size());
  for (const std::int32_t value : values) append(metadata_, value);
}

void GgufWriter::add_f32s(std::string_view key, std::span<const float> values) {
  add_array(key, GgufType::kF32, values.size());
  for (const float value : values) append(metadata_, value);
}

void GgufWriter::add_bools(std::string_view key, const std::vector<bool>& values) {
  add_array(key, GgufType::kBool, values.size());
  for (const bool value : values) append(metadata_, static_cast<std::uint8_t>(value));
}

void GgufWriter::add_entry(const GgufEntry& entry) {
  if (entry.key == kAlignmentKey) return;
  if (entry.type == GgufType::kArray) {
    add_array(entry.key, entry.element_type, entry.count);
  } else {
    add_key(entry.key, entry.type);
  }
  metadata_.append(reinterpret_cast<const char*>(entry.value.data()), entry.value.size());
}

void GgufWriter::add_tensor(std::string_view name, DType dtype, const Shape& shape) {
  check_new(names_, name, "tensor");
  const std::optional<std::uint32_t> type = ggml_type_of(dtype);
  if (!type) {
    fail(ErrorCode::kInvalidArgument, "gguf: tensor {}: a GGUF file cannot hold {}",
         printable(name), dtype_name(dtype));
  }
  const std::int64_t block = dtype_info(dtype).block_elements;
  const bool negative = std::any_of(shape.begin(), shape.end(), [](auto size) { return size < 0; });
  if (shape.size() > 4 || negative || (shape.empty() ? 1 : shape.back()) % block != 0) {
    fail(ErrorCode::kInvalidArgument, "gguf: tensor {}: {} cannot have shape {}", printable(name),
         dtype_name(dtype), shape_text(shape));
  }
  const std::optional<std::uint64_t> bytes = checked_tensor_bytes(dtype, shape);
  if (!bytes) {
    fail(ErrorCode::kInvalidArgument, "gguf: tensor {}: shape {} is too large", printable(name),
         shape_text(shape));
  }
  append_text(descriptions_, name);
  append(descriptions_, static_cast<std::uint32_t>(shape.size()));
  for (auto size = shape.rbegin(); size != shape.rend(); ++size) append(descriptions_, *size);
  append(descriptions_, *type);
  append(descriptions_, data_bytes_);
  tensors_.push_back({std::string(name), *bytes});
  data_bytes_ += *bytes + padding(*bytes);
}

std::uint64_t GgufWriter::file_bytes() const {
  const std::uint64_t header = 24 + metadata_.size() + descriptions_.size();
  return header + padding(header) + data_bytes_;
}

void GgufWriter::put(const void* data, std::size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(fd_, next, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_io(errno);
    next += written;
    size -= static_cast<std::size_t>(written);
    file_bytes_written_ += static_cast<std::uint64_t>(written);
  }
}

void GgufWriter::begin_data() {
  data_begun_ = true;
  // A full disk is found out before hours of work where the file system can reserve space; others
  // find it at the write.
  if (::fallocate(fd_, 0, 0, static_cast<off_t>(file_bytes())) != 0 &&
      (errno == ENOSPC || errno == EFBIG || errno == EDQUOT)) {
    fail_io(errno);
  }
  std::string header = "GGUF";
  append(header, std::uint32_t{3});
  append(header, static_cast<std::uint64_t>(tensors_.size()));
  append(header, static_cast<std::uint64_t>(keys_.size()));
  header += metadata_;
  header += descriptions_;
  header.append(padding(header.size()), '\0');
  put(header.data(), header.size());
}

void GgufWriter::pad_tensor() {
  static constexpr char kZeros[kAlignment] = {};
  put(kZeros, padding(tensors_[current_].bytes));
  ++current_;
  current_bytes_ = 0;
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  if (!data_begun_) begin_data();
  while (!bytes.empty()) {
    SAMPAN_CHECK(current_ < tensors_.size());
    const std::uint64_t left = tensors_[current_].bytes - current_bytes_;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size()));
    put(bytes.data(), size);
    bytes = bytes.subspan(size);
    current_bytes_ += size;
    if (current_bytes_ == tensors_[current_].bytes) pad_tensor();
  }
}

void GgufWriter::finish() {
  if (!data_begun_) begin_data();
  while (current_ < tensors_.size() && tensors_[current_].bytes == 0) pad_tensor();
  SAMPAN_CHECK(current_ == tensors_.size());
  if (::fsync(fd_) != 0 && errno != EINVAL) fail_io(errno);
  const int fd = std::exchange(fd_, -1);
  const bool closed = ::close(fd) == 0;
  const int close_error = errno;
  if (!closed || ::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    const int error = closed ? errno : close_error;
    ::unlink(temporary_path_.c_str());
    fail_io(error);
  }
}

}  // namespace sampan
