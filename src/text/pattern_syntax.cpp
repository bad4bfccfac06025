#include "text/pattern_syntax.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/error.h"
#include "text/unicode_table.h"

namespace sampan {
namespace {

bool is_hex(char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); }

// Appends ascending code points to a bracket expression, as ranges.
class RangeWriter {
 public:
  void add(char32_t c) {
    if (c != last_ + 1) {
      flush();
      first_ = c;
    }
    last_ = c;
  }
  std::string finish() {
    flush();
    return std::move(out_);
  }

 private:
  void flush() {
    if (first_ == kNone) return;
    out_ += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", static_cast<std::uint32_t>(first_),
                        static_cast<std::uint32_t>(last_));
  }
  static constexpr char32_t kNone = 0xFFFFFFFF;
  char32_t first_ = kNone;
  char32_t last_ = kNone - 1;
  std::string out_;
};

// The members of a bracket expression that match the code points whose properties have `mask`.
std::string class_members(std::uint64_t mask) {
  const UnicodeTable& table = UnicodeTable::get();
  RangeWriter ranges;
  for (char32_t c = 0; c < kInvalidByte; ++c) {
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    if (!surrogate && (table.mask(c) & mask) != 0) ranges.add(c);
  }
  return ranges.finish();
}

// The same for those of them that PCRE2's data may lack.
std::string newer_members(std::uint64_t mask) {
  static const std::vector<char32_t> newer = [] {
    std::vector<char32_t> found;
    for (char32_t c = 0; c < kInvalidByte; ++c) {
      if ((UnicodeTable::get().mask(c) & kNewer) != 0) found.push_back(c);
    }
    return found;
  }();
  RangeWriter ranges;
  for (const char32_t c : newer) {
    if ((UnicodeTable::get().mask(c) & mask) != 0) ranges.add(c);
  }
  return ranges.finish();
}

constexpr std::uint64_t kAllCategories = (1ull << 30) - 1;

class Translator {
 public:
  explicit Translator(std::string_view pattern) : whole_(pattern), rest_(pattern) {}

  std::string translate() {
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        bracket();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        interval();
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view construct) const {
    fail(ErrorCode::kUnsupported, "tokenizer: pre-tokenizer pattern '{}': '{}' is not supported",
         printable(whole_, 120), printable(construct, 20));
  }
  void copy(std::size_t count) {
    out_ += rest_.substr(0, count);
    rest_.remove_prefix(count);
  }
  void replace(std::size_t count, std::string_view text) {
    out_ += text;
    rest_.remove_prefix(count);
  }

  void escape(bool in_bracket) {
    if (rest_.size() < 2) refuse("\\");
    const char c = rest_[1];
    constexpr std::string_view kSame = "rntf";
    if (kSame.find(c) != std::string_view::npos) return copy(2);
    if (c == 'v') return replace(2, "\\x0B");
    if (c == 'p' || c == 'P') return property(in_bracket);
    if (c == 's' || c == 'S')
      return properties(2, class_members(kSpace), c == 'S', in_bracket, kSpace);
    if (c == 'd' || c == 'D')
      return properties(2, known_members("Nd"), c == 'D', in_bracket, *property_mask("Nd"));
    if (c == 'x') return hex_escape();
    if (c == 'u') return unicode_escape();
    const auto code = static_cast<unsigned char>(c);
    if (is_alphanumeric(c) || code < 0x20 || code >= 0x7F) refuse(rest_.substr(0, 2));
    copy(2);
  }

  // Replaces `count` characters by a set of `members`, or by all others. The others of `mask` are
  // written out inside a bracket expression, which cannot subtract.
  void properties(std::size_t count, const std::string& members, bool negated, bool in_bracket,
                  std::uint64_t mask) {
    if (!in_bracket) return replace(count, fmt::format("[{}{}]", negated ? "^" : "", members));
    if (!negated) return replace(count, members);
    if (mask > kAllCategories) {
      // White space and Han are no categories: everything but them.
      fail(ErrorCode::kUnsupported,
           "tokenizer: pre-tokenizer pattern '{}': '{}' in brackets is not supported",
           printable(whole_, 120), printable(rest_.substr(0, count), 20));
    }
    replace(count, class_members(kAllCategories & ~mask));
  }

  static std::string known_members(std::string_view category) {
    return fmt::format("\\p{{{}}}{}", category, newer_members(*property_mask(category)));
  }

  void property(bool in_bracket) {
    const std::size_t close = rest_.find('}');
    if (rest_.size() < 4 || rest_[2] != '{' || close == std::string_view::npos || close > 40) {
      refuse(rest_.substr(0, 2));
    }
    std::string_view name = rest_.substr(3, close - 3);
    bool negated = rest_[1] == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const auto mask = property_mask(name);
    if (!mask) refuse(rest_.substr(0, close + 1));
    // A script means the Script property; without "sc:" PCRE2 would take Script_Extensions.
    const std::string members =
        name == "Han" ? "\\p{sc:Han}" + newer_members(kHanScript) : known_members(name);
    properties(close + 1, members, negated, in_bracket, *mask);
  }

  // \x41 below 0x80 (above, Oniguruma means a byte) or \x{1F600}.
  void hex_escape() {
    std::size_t i = 2;
    if (rest_.size() > 3 && rest_[2] == '{') {
      i = 3;
      while (i < rest_.size() && is_hex(rest_[i])) ++i;
      if (i == 3 || i > 9 || i >= rest_.size() || rest_[i] != '}') refuse(rest_.substr(0, 3));
      return copy(i + 1);
    }
    if (rest_.size() < 4 || !is_hex(rest_[2]) || !is_hex(rest_[3]) || rest_[2] > '7')
      refuse(rest_.substr(0, 4));
    copy(4);
  }

  void unicode_escape() {
    if (rest_.size() < 6 || !std::all_of(rest_.begin() + 2, rest_.begin() + 6, is_hex))
      refuse("\\u");
    out_ += fmt::format("\\x{{{}}}", rest_.substr(2, 4));
    rest_.remove_prefix(6);
  }

  void group() {
    constexpr std::string_view kGroups[] = {"(?:",  "(?=",  "(?!",  "(?>",
                                            "(?<=", "(?<!", "(?i:", "(?-i:"};
    if (rest_.size() > 1 && rest_[1] == '*') refuse("(*");
    if (rest_.size() < 2 || rest_[1] != '?') return copy(1);
    for (const std::string_view opening : kGroups) {
      if (rest_.starts_with(opening)) return copy(opening.size());
    }
    refuse(rest_.substr(0, 4));
  }

  // {n}, {n,} or {n,m}. What follows them means other things in the two syntaxes.
  void interval() {
    std::size_t i = 1;
    while (i < rest_.size() && is_digit(rest_[i])) ++i;
    const bool has_minimum = i > 1;
    if (i < rest_.size() && rest_[i] == ',') ++i;
    while (i < rest_.size() && is_digit(rest_[i])) ++i;
    if (!has_minimum || i >= rest_.size() || rest_[i] != '}') refuse("{");
    ++i;
    if (i < rest_.size() &&
        (rest_[i] == '+' || rest_[i] == '?' || rest_[i] == '{' || rest_[i] == '*')) {
      refuse(rest_.substr(i - 1, 2));
    }
    copy(i);
  }

  void bracket() {
    copy(1);
    if (rest_.starts_with('^')) copy(1);
    if (rest_.starts_with(']')) refuse("[]");
    while (!rest_.starts_with(']')) {
      if (rest_.empty()) refuse("[");
      if (rest_[0] == '[') refuse("[...[");
      if (rest_.starts_with("&&")) refuse("&&");
      if (rest_[0] == '\\') {
        escape(true);
      } else {
        copy(1);
      }
    }
    copy(1);
  }

  std::string_view whole_;
  std::string_view rest_;
  std::string out_;
};

}  // namespace

std::string to_pcre2_syntax(std::string_view pattern) { return Translator(pattern).translate(); }

}  // namespace sampan
