#pragma once

#include <cstddef>
#include <string>
#include <string_view>

// Strings as Python sees them: sequences of code points, with Python's classes and case mappings.
// All functions take well-formed UTF-8 and are thread-safe. Characters newer than the installed
// utf8proc count as unassigned.
namespace sampan::jinja {

struct CodePoint {
  char32_t code;
  std::size_t bytes;  // its length in UTF-8
};

// The code point that starts at text[offset].
CodePoint code_point_at(std::string_view text, std::size_t offset);
// The offset at which the code point before text[offset] starts; offset > 0.
std::size_t previous_code_point(std::string_view text, std::size_t offset);
void append_utf8(std::string& out, char32_t code);
std::size_t count_code_points(std::string_view text);
bool is_ascii(std::string_view text);
// The offset of the first byte that breaks UTF-8 (surrogates and overlong forms do), or npos.
std::size_t find_invalid_utf8(std::string_view text);

// str.isspace, also what strip() and split() without arguments go by and what \s matches.
bool is_space(char32_t code);
// Where splitlines() splits ("\r\n" is one break).
bool is_line_break(char32_t code);
bool is_printable(char32_t code);
bool is_alpha(char32_t code);
bool is_decimal(char32_t code);
bool is_digit(char32_t code);
bool is_numeric(char32_t code);
bool is_lower(char32_t code);
bool is_upper(char32_t code);
bool is_title(char32_t code);
inline bool is_alnum(char32_t code) {
  return is_alpha(code) || is_decimal(code) || is_digit(code) || is_numeric(code);
}
// Python's identifiers, before normalisation.
bool is_identifier_start(char32_t code);
bool is_identifier_part(char32_t code);
// The value of a decimal digit of any script; is_decimal(code) must hold.
int decimal_value(char32_t code);

// Full case mappings of one character, appended to `out`. lower_at also applies the rule of the
// final sigma, for which it looks at the neighbours.
void append_upper(std::string& out, char32_t code);
void append_title(std::string& out, char32_t code);
void append_folded(std::string& out, char32_t code);
void append_lower_at(std::string& out, std::string_view text, std::size_t offset);

// str.lower() of the whole text.
std::string lower(std::string_view text);

// The first occurrence of `needle` at or after `from`, or npos. Linear in the sizes, whatever the
// texts.
std::size_t find_bytes(std::string_view text, std::string_view needle, std::size_t from = 0);
// The last occurrence that ends at or before `end`, or npos. Linear in the sizes.
std::size_t rfind_bytes(std::string_view text, std::string_view needle, std::size_t end);

}  // namespace sampan::jinja
