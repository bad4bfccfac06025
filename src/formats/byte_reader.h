#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sampan {

// What is being read, for the message: "metadata count", or "tensor" and its (untrusted) name.
struct ReadLabel {
  ReadLabel(const char* kind_text) : kind(kind_text) {}
  ReadLabel(const char* kind_text, std::string_view untrusted_name)
      : kind(kind_text), name(untrusted_name) {}
  std::string text() const {
    return name.empty() ? std::string(kind) : std::string(kind) + " " + printable(name);
  }

  std::string_view kind;
  std::string_view name;
};

// Reads little-endian values one after the other from untrusted bytes; every read is checked
// against what is left. Throws Error kInvalidData "FORMAT: WHAT: 8 bytes needed, 3 left". Borrows
// the bytes and the format's name.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view format)
      : bytes_(bytes), format_(format) {}

  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }
  const std::byte* here() const { return bytes_.data() + position_; }

  template <typename T>
  T take(const ReadLabel& what) {
    need(sizeof(T), what);
    T value;
    std::memcpy(&value, here(), sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::string_view take_text(std::uint64_t bytes, const ReadLabel& what) {
    need(bytes, what);
    const std::string_view text(reinterpret_cast<const char*>(here()),
                                static_cast<std::size_t>(bytes));
    position_ += static_cast<std::size_t>(bytes);
    return text;
  }

  void skip(std::uint64_t bytes, const ReadLabel& what) {
    need(bytes, what);
    position_ += static_cast<std::size_t>(bytes);
  }

  // Throws unless `count` things of at least `bytes_each` bytes can still follow; no product can
  // overflow.
  void need_each(std::uint64_t count, std::uint64_t bytes_each, const ReadLabel& what) const {
    if (count > left() / bytes_each) {
      fail(ErrorCode::kInvalidData, "{}: {}: {} of at least {} bytes declared, {} bytes left",
           format_, what.text(), count, bytes_each, left());
    }
  }

 private:
  void need(std::uint64_t bytes, const ReadLabel& what) const {
    if (bytes > left()) {
      fail(ErrorCode::kInvalidData, "{}: {}: {} bytes needed, {} left", format_, what.text(), bytes,
           left());
    }
  }

  std::span<const std::byte> bytes_;
  std::string_view format_;
  std::size_t position_ = 0;
};

}  // namespace sampan
