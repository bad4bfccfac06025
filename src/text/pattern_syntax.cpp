#include "text/pattern_syntax.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "text/unicode_table.h"

namespace sampan {
namespace {

bool is_hex(char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : whole_(pattern), rest_(pattern) {}

  std::string translate() {
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '\\') {
        escape();
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

  // The same inside and outside of brackets.
  void escape() {
    if (rest_.size() < 2) refuse("\\");
    const char c = rest_[1];
    constexpr std::string_view kSame = "rntfsSdD";
    if (kSame.find(c) != std::string_view::npos) return copy(2);
    if (c == 'v') return replace(2, "\\x0B");
    if (c == 'p' || c == 'P') return property();
    if (c == 'x') return hex_escape();
    if (c == 'u') return unicode_escape();
    if (is_alphanumeric(c) || c < 0x20 || c == 0x7F) refuse(rest_.substr(0, 2));
    copy(2);
  }

  void property() {
    const std::size_t close = rest_.find('}');
    if (rest_.size() < 4 || rest_[2] != '{' || close == std::string_view::npos || close > 40) {
      refuse(rest_.substr(0, 2));
    }
    std::string_view name = rest_.substr(3, close - 3);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
      return is_alphanumeric(c) || c == '_' || c == '&';
    });
    if (!plain) refuse(rest_.substr(0, close + 1));
    const bool category = name != "Han" && property_mask(name).has_value();
    // A script means the Script property; without "sc:" PCRE2 would take Script_Extensions.
    out_ +=
        fmt::format("\\{}{{{}{}{}}}", rest_[1], negated ? "^" : "", category ? "" : "sc:", name);
    rest_.remove_prefix(close + 1);
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
        escape();
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
