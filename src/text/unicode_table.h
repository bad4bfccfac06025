#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/utf8.h"

namespace sampan {

// One bit a general category, then other properties; a code point's properties are one such mask.
enum CharMask : std::uint64_t {
  kLu = 1ull << 0,
  kLl = 1ull << 1,
  kLt = 1ull << 2,
  kLm = 1ull << 3,
  kLo = 1ull << 4,
  kLetter = kLu | kLl | kLt | kLm | kLo,      // \p{L}
  kMark = 7ull << 5,                          // \p{M}: Mn Mc Me
  kNumber = 7ull << 8,                        // \p{N}: Nd Nl No
  kPunctuation = 127ull << 11,                // \p{P}: Pc Pd Ps Pe Pi Pf Po
  kSymbol = 15ull << 18,                      // \p{S}: Sm Sc Sk So
  kSeparator = 7ull << 22,                    // \p{Z}: Zs Zl Zp
  kOther = 31ull << 25,                       // \p{C}: Cc Cf Cs Co Cn
  kSpace = 1ull << 32,                        // \s
  kNewline = 1ull << 33,                      // \r or \n
  kHanScript = 1ull << 34,                    // \p{Han}
  kWordChar = 1ull << 35,                     // \w of Rust's regex crate
  kRustNumeric = 1ull << 36,                  // the Digits pre-tokenizer's digits
  kRustPunctuation = 1ull << 37,              // the Punctuation pre-tokenizer's marks
  kNfcCheck = 1ull << 38,                     // NFC quick check No or Maybe
  kNewer = 1ull << 39,                        // not in Unicode 14, or of another category there
  kNfcForeign = 1ull << 40,                   // see unicode_data.h
  kUpperish = kLu | kLt | kLm | kLo | kMark,  // o200k's first letter class
  kLowerish = kLl | kLm | kLo | kMark,        // o200k's second letter class
};

// The properties of every code point as the Hugging Face tokenizers library sees them
// (tools/make_unicode_table.py). Immutable after construction, thread-safe.
class UnicodeTable {
 public:
  // Takes 0..0x10FFFF and kInvalidByte.
  std::uint64_t mask(char32_t code_point) const { return masks_[records_[code_point]]; }
  std::uint8_t combining_class(char32_t code_point) const { return classes_[records_[code_point]]; }

  static const UnicodeTable& get();

 private:
  UnicodeTable();
  std::vector<std::uint8_t> records_;  // one a code point, and one for kInvalidByte
  std::array<std::uint64_t, 256> masks_{};
  std::array<std::uint8_t, 256> classes_{};
};

// The mask that a \p{NAME} names: a general category or group of them ("L", "Lu", "L&"), or "Han".
// Nothing for a name that this table does not know.
std::optional<std::uint64_t> property_mask(std::string_view name);

struct Char {
  std::uint64_t mask;
  std::uint32_t size;  // bytes
};

// The character at p < end with its properties; an invalid byte is a control character of one byte.
inline Char char_at(const UnicodeTable& table, const char* p, const char* end) {
  const CodePoint code_point = decode_utf8(p, end);
  return {table.mask(code_point.value), code_point.size};
}

}  // namespace sampan
