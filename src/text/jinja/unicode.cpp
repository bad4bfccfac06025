#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "text/jinja/unicode_tables.h"

namespace sampan::jinja {
namespace {

template <std::size_t n>
bool contains(const CodeRange (&table)[n], char32_t code) {
  const auto* range =
      std::lower_bound(std::begin(table), std::end(table), code,
                       [](const CodeRange& entry, char32_t value) { return entry.last < value; });
  return range != std::end(table) && code >= range->first;
}

template <std::size_t n>
bool append_long(const LongCase (&table)[n], std::string& out, char32_t code) {
  const auto* entry =
      std::lower_bound(std::begin(table), std::end(table), code,
                       [](const LongCase& row, char32_t value) { return row.code < value; });
  if (entry == std::end(table) || entry->code != code) return false;
  for (const char32_t* p = entry->text; *p != 0; ++p) append_utf8(out, *p);
  return true;
}

utf8proc_category_t category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

bool is_cased(char32_t code) { return is_lower(code) || is_upper(code) || is_title(code); }

// Unicode's Case_Ignorable: what the final-sigma rule skips over.
bool is_case_ignorable(char32_t code) {
  static constexpr char32_t kPunctuation[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                              0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                              0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  if (std::binary_search(std::begin(kPunctuation), std::end(kPunctuation), code)) return true;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return false;
  }
}

bool cased_before(std::string_view text, std::size_t offset) {
  while (offset > 0) {
    offset = previous_code_point(text, offset);
    const char32_t code = code_point_at(text, offset).code;
    if (!is_case_ignorable(code)) return is_cased(code);
  }
  return false;
}

bool cased_after(std::string_view text, std::size_t offset) {
  while (offset < text.size()) {
    const CodePoint point = code_point_at(text, offset);
    if (!is_case_ignorable(point.code)) return is_cased(point.code);
    offset += point.bytes;
  }
  return false;
}

}  // namespace

CodePoint code_point_at(std::string_view text, std::size_t offset) {
  const auto byte = [&](std::size_t i) -> char32_t {
    return static_cast<unsigned char>(text[offset + i]);
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) {
    return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  }
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

std::size_t previous_code_point(std::string_view text, std::size_t offset) {
  do {
    --offset;
  } while (offset > 0 && (static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80);
  return offset;
}

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

bool is_ascii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

std::size_t find_invalid_utf8(std::string_view text) {
  std::size_t offset = 0;
  while (offset < text.size()) {
    if (static_cast<unsigned char>(text[offset]) < 0x80) {
      ++offset;
      continue;
    }
    utf8proc_int32_t code = 0;
    const auto length =
        utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset,
                         static_cast<utf8proc_ssize_t>(text.size() - offset), &code);
    if (length <= 0) return offset;
    offset += static_cast<std::size_t>(length);
  }
  return std::string_view::npos;
}

bool is_space(char32_t code) {
  if (code < 0x80) return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_line_break(char32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

bool is_printable(char32_t code) {
  if (code < 0x7F) return code >= 0x20;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_alpha(char32_t code) {
  const auto kind = category(code);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t code) { return category(code) == UTF8PROC_CATEGORY_ND; }

bool is_digit(char32_t code) { return is_decimal(code) || contains(kOtherDigit, code); }

bool is_numeric(char32_t code) {
  const auto kind = category(code);
  return (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO) ||
         contains(kOtherNumeric, code);
}

bool is_lower(char32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LL || contains(kOtherLower, code);
}

bool is_upper(char32_t code) {
  return category(code) == UTF8PROC_CATEGORY_LU || contains(kOtherUpper, code);
}

bool is_title(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LT; }

bool is_identifier_start(char32_t code) {
  return code == '_' || is_alpha(code) || category(code) == UTF8PROC_CATEGORY_NL;
}

bool is_identifier_part(char32_t code) {
  if (is_identifier_start(code)) return true;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return code == 0xB7 || code == 0x387;
  }
}

int decimal_value(char32_t code) {
  // Each script's digits stand in one run of ten that starts at zero, except the mathematical ones:
  // five runs end to end.
  if (code >= 0x1D7CE && code <= 0x1D7FF) return static_cast<int>((code - 0x1D7CE) % 10);
  char32_t zero = code;
  while (zero > 0 && code - zero < 9 && is_decimal(zero - 1)) --zero;
  return static_cast<int>(code - zero);
}

void append_upper(std::string& out, char32_t code) {
  if (append_long(kLongUpper, out, code)) return;
  append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code))));
}

void append_title(std::string& out, char32_t code) {
  if (append_long(kLongTitle, out, code)) return;
  append_utf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code))));
}

void append_folded(std::string& out, char32_t code) {
  utf8proc_int32_t folded[8];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), folded, 8,
                                             UTF8PROC_CASEFOLD, &boundary);
  for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, 8); ++i) {
    append_utf8(out, static_cast<char32_t>(folded[i]));
  }
}

void append_lower_at(std::string& out, std::string_view text, std::size_t offset) {
  const CodePoint point = code_point_at(text, offset);
  if (point.code == 0x130) {
    append_utf8(out, 'i');
    append_utf8(out, 0x307);
  } else if (point.code == 0x3A3) {
    const bool final = cased_before(text, offset) && !cased_after(text, offset + point.bytes);
    append_utf8(out, final ? 0x3C2 : 0x3C3);
  } else {
    append_utf8(out,
                static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point.code))));
  }
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    append_lower_at(out, text, i);
    i += code_point_at(text, i).bytes;
  }
  return out;
}

std::size_t find_bytes(std::string_view text, std::string_view needle, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* found =
      ::memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t rfind_bytes(std::string_view text, std::string_view needle, std::size_t end) {
  text = text.substr(0, end);
  if (needle.size() <= 16) return text.rfind(needle);
  // Searched in reverse, so that the linear forward search serves here too.
  const std::string reversed(text.rbegin(), text.rend());
  const std::string key(needle.rbegin(), needle.rend());
  const std::size_t found = find_bytes(reversed, key);
  return found == std::string_view::npos ? found : text.size() - found - needle.size();
}

}  // namespace sampan::jinja
