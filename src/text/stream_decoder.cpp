#include "text/stream_decoder.h"

#include <algorithm>

#include "text/utf8.h"

namespace sampan {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Prefix {
  std::size_t
      length;     // of the longest beginning of a well-formed sequence at the front, at least 1
  bool complete;  // it is a whole sequence
  bool open;      // more bytes could complete it, and there are none left
};

// Unicode Standard, table 3-7 and "maximal subpart" (section 3.9).
Prefix sequence_prefix(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {1, false, false};
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, false, true};
    unsigned low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (byte(i) < low || byte(i) > high) return {i, false, false};
  }
  return {length, true, false};
}

}  // namespace

std::string Utf8Stream::append(std::string_view bytes) {
  std::string joined;
  std::string_view rest = bytes;
  if (!held_.empty()) {
    joined = std::move(held_).append(bytes);
    held_.clear();
    rest = joined;
  }
  std::string out;
  out.reserve(rest.size());
  while (!rest.empty()) {
    const Prefix prefix = sequence_prefix(rest);
    if (prefix.open) {
      held_ = rest;
      break;
    }
    out += prefix.complete ? rest.substr(0, prefix.length) : kReplacement;
    rest.remove_prefix(prefix.length);
  }
  return out;
}

std::string Utf8Stream::flush() {
  const bool held = !held_.empty();
  held_.clear();
  return std::string(held ? kReplacement : std::string_view());
}

std::string StreamDecoder::append(std::int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  return stream_.append(tokenizer_->token_bytes(id));
}

}  // namespace sampan
