#pragma once

#include <cstdint>
#include <string>

namespace sampan {

// What a byte that belongs to no well-formed UTF-8 sequence decodes to: one past the last code
// point, a value that unicode_table.h classifies as a control character.
inline constexpr char32_t kInvalidByte = 0x110000;

struct CodePoint {
  char32_t value;      // or kInvalidByte
  std::uint32_t size;  // bytes, 1 for an invalid byte
};

// Decodes the code point at `p` (p < end). Ill-formed input (overlong, surrogate, truncated, beyond
// U+10FFFF) yields kInvalidByte and size 1, so that every byte of any input is visited.
inline CodePoint decode_utf8(const char* p, const char* end) {
  const auto byte = [p](int i) { return static_cast<unsigned char>(p[i]); };
  const auto tail = [&byte](int i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return {kInvalidByte, 1};
  const auto left = end - p;
  if (lead < 0xE0) {
    if (left < 2 || !tail(1)) return {kInvalidByte, 1};
    return {((lead & 0x1F) << 6) | (byte(1) & 0x3Fu), 2};
  }
  if (lead < 0xF0) {
    if (left < 3 || !tail(1) || !tail(2)) return {kInvalidByte, 1};
    const char32_t value = ((lead & 0x0F) << 12) | ((byte(1) & 0x3Fu) << 6) | (byte(2) & 0x3Fu);
    if (value < 0x800 || (value >= 0xD800 && value <= 0xDFFF)) return {kInvalidByte, 1};
    return {value, 3};
  }
  if (left < 4 || !tail(1) || !tail(2) || !tail(3)) return {kInvalidByte, 1};
  const char32_t value = ((lead & 0x07) << 18) | ((byte(1) & 0x3Fu) << 12) |
                         ((byte(2) & 0x3Fu) << 6) | (byte(3) & 0x3Fu);
  if (value < 0x10000 || value > 0x10FFFF) return {kInvalidByte, 1};
  return {value, 4};
}

// Appends a code point (not a surrogate, at most U+10FFFF) as UTF-8.
inline void append_utf8(std::string& out, char32_t value) {
  const auto put = [&out](char32_t byte) {
    out += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | (value >> 6));
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | (value >> 12));
    put(0x80 | ((value >> 6) & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | (value >> 18));
    put(0x80 | ((value >> 12) & 0x3F));
    put(0x80 | ((value >> 6) & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

}  // namespace sampan
