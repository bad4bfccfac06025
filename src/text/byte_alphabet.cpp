#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "text/utf8.h"

namespace sampan {
namespace {

constexpr int kOutside = -1;
constexpr int kAlphabetEnd = 0x144;

constexpr bool stands_for_itself(int byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// code point -> byte
constexpr std::array<std::int16_t, kAlphabetEnd> make_alphabet() {
  std::array<std::int16_t, kAlphabetEnd> alphabet{};
  alphabet.fill(kOutside);
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const int code_point = stands_for_itself(byte) ? byte : next++;
    alphabet[static_cast<std::size_t>(code_point)] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr auto kAlphabet = make_alphabet();

}  // namespace

bool append_alphabet_bytes(std::string_view text, std::string& bytes) {
  const std::size_t before = bytes.size();
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p < end) {
    const CodePoint code_point = decode_utf8(p, end);
    if (code_point.value >= kAlphabetEnd || kAlphabet[code_point.value] == kOutside) {
      bytes.resize(before);
      return false;
    }
    bytes += static_cast<char>(kAlphabet[code_point.value]);
    p += code_point.size;
  }
  return true;
}

}  // namespace sampan
