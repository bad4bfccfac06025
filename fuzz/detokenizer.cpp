// Bytes in pieces through the incremental decoder: every part is well-formed UTF-8, and the parts
// are the decoding of the whole. Each piece is as long as its first byte says, modulo 8.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/stream_decoder.h"
#include "text/utf8.h"

namespace {

using namespace sampan;

void check_well_formed(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode_utf8(text.data() + i, text.data() + text.size());
    SAMPAN_CHECK(c.value != kInvalidByte);
    i += c.size;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string bytes, text;
  Utf8Stream stream;
  for (std::size_t i = 0; i < size;) {
    const std::string_view piece = input.substr(i + 1, data[i] % 8);
    i += 1 + piece.size();
    bytes += piece;
    const std::string part = stream.append(piece);
    check_well_formed(part);
    text += part;
  }
  text += stream.flush();
  Utf8Stream whole;
  std::string wanted = whole.append(bytes);
  wanted += whole.flush();
  SAMPAN_CHECK(text == wanted);
  // Valid text comes out as it is.
  bool valid = true;
  for (std::size_t i = 0; i < bytes.size();) {
    const CodePoint c = decode_utf8(bytes.data() + i, bytes.data() + bytes.size());
    valid &= c.value != kInvalidByte;
    i += c.size;
  }
  SAMPAN_CHECK(!valid || text == bytes);
  return 0;
}
