#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

constexpr std::size_t kNowhere = std::string_view::npos;

struct Operator {
  std::string_view text;
  TokenType type;
};

constexpr std::array kOperators = std::to_array<Operator>({
    {"//", TokenType::kFloorDiv},   {"**", TokenType::kPow},         {"==", TokenType::kEq},
    {"!=", TokenType::kNe},         {">=", TokenType::kGtEq},        {"<=", TokenType::kLtEq},
    {"+", TokenType::kAdd},         {"-", TokenType::kSub},          {"/", TokenType::kDiv},
    {"*", TokenType::kMul},         {"%", TokenType::kMod},          {"~", TokenType::kTilde},
    {"[", TokenType::kLeftBracket}, {"]", TokenType::kRightBracket}, {"(", TokenType::kLeftParen},
    {")", TokenType::kRightParen},  {"{", TokenType::kLeftBrace},    {"}", TokenType::kRightBrace},
    {">", TokenType::kGt},          {"<", TokenType::kLt},           {"=", TokenType::kAssign},
    {".", TokenType::kDot},         {":", TokenType::kColon},        {"|", TokenType::kPipe},
    {",", TokenType::kComma},       {";", TokenType::kSemicolon},
});

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

// "\r\n" and "\r" become "\n".
std::string unify_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
    } else {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) lex_text();
    add(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  // What opens at a "{": nothing, or a tag with its sign ("-", "+" or none) and where it ends.
  struct Opening {
    char kind = 0;  // '{' variable, '%' block, '#' comment, 'r' raw
    char sign = 0;
    std::size_t end = 0;
  };

  [[noreturn]] void error(const std::string& message) {
    fail(ErrorCode::kInvalidData, "line {}: {}", line_at(position_), message);
  }

  std::uint32_t line_at(std::size_t offset) {
    while (counted_to_ < offset) line_ += source_[counted_to_++] == '\n';
    return line_;
  }

  void add(TokenType type, std::string value) {
    tokens_.push_back({type, line_at(std::min(position_, source_.size())), std::move(value)});
  }

  bool at(std::size_t offset, std::string_view text) const {
    return std::string_view(source_).substr(std::min(offset, source_.size()), text.size()) == text;
  }

  // The offset behind the whitespace at `offset`.
  std::size_t skip_space(std::size_t offset) const {
    while (offset < source_.size()) {
      const CodePoint point = code_point_at(source_, offset);
      if (!is_space(point.code)) break;
      offset += point.bytes;
    }
    return offset;
  }

  char sign_at(std::size_t offset) const {
    const char c = offset < source_.size() ? source_[offset] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  // "%}" or "-%}" behind a raw tag's name; the end, or kNowhere.
  std::size_t raw_tag_end(std::size_t offset) const {
    if (at(offset, "-%}")) return skip_space(offset + 3);
    return at(offset, "%}") ? offset + 2 : kNowhere;
  }

  Opening opening_at(std::size_t offset) const {
    if (!at(offset, "{") || offset + 1 >= source_.size()) return {};
    const char kind = source_[offset + 1];
    if (kind != '{' && kind != '%' && kind != '#') return {};
    const char sign = sign_at(offset + 2);
    const std::size_t end = offset + 2 + (sign != 0);
    if (kind == '%') {
      const std::size_t name = skip_space(end);
      if (at(name, "raw")) {
        const std::size_t raw_end = raw_tag_end(skip_space(name + 3));
        if (raw_end != kNowhere) return {'r', sign, raw_end};
      }
    }
    return {kind, sign, end};
  }

  // Emits the text before a tag, with the whitespace that the tag's sign or lstrip_blocks takes
  // off.
  void add_data(std::size_t begin, std::size_t end, char sign, bool is_variable) {
    std::string_view text = std::string_view(source_).substr(begin, end - begin);
    if (sign == '-') {
      while (!text.empty()) {
        const std::size_t last = previous_code_point(text, text.size());
        if (!is_space(code_point_at(text, last).code)) break;
        text = text.substr(0, last);
      }
    } else if (sign != '+' && !is_variable) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t line_start = newline == kNowhere ? 0 : newline + 1;
      if (newline != kNowhere || line_starting_) {
        if (line_start < text.size() && skip_space(begin + line_start) >= end) {
          text = text.substr(0, line_start);
        }
      }
    }
    if (!text.empty()) {
      position_ = begin;
      add(TokenType::kData, std::string(text));
    }
  }

  void lex_text() {
    const std::size_t begin = position_;
    std::size_t tag = begin;
    Opening opening;
    for (; tag < source_.size(); ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) tag = source_.size();
      opening = opening_at(tag);
      if (opening.kind != 0) break;
    }
    if (opening.kind == 0) {
      add(TokenType::kData, source_.substr(begin));
      position_ = source_.size();
      return;
    }
    add_data(begin, tag, opening.sign, opening.kind == '{');
    position_ = tag;
    line_starting_ = false;
    if (opening.kind == '#') return lex_comment(opening.end);
    if (opening.kind == 'r') return lex_raw(opening.end);
    const bool variable = opening.kind == '{';
    add(variable ? TokenType::kVariableBegin : TokenType::kBlockBegin, "");
    position_ = opening.end;
    lex_tag(variable);
  }

  void lex_comment(std::size_t begin) {
    for (std::size_t i = begin;; ++i) {
      i = source_.find('#', i);
      if (i == std::string::npos) error("Missing end of comment tag");
      if (!at(i, "#}")) continue;
      const char sign = i > begin ? sign_at(i - 1) : '\0';
      finish_tag(i + 2, sign);
      return;
    }
  }

  // Moves behind a closing "}": "-" takes all whitespace along, no sign one newline, "+" nothing.
  void finish_tag(std::size_t end, char sign) {
    if (sign == '-') {
      end = skip_space(end);
    } else if (sign != '+' && at(end, "\n")) {
      ++end;
    }
    line_starting_ = source_[end - 1] == '\n';
    position_ = end;
  }

  void lex_raw(std::size_t begin) {
    line_starting_ = source_[begin - 1] == '\n';
    for (std::size_t i = begin;; ++i) {
      i = source_.find("{%", i);
      if (i == std::string::npos) error("Missing end of raw directive");
      const char sign = sign_at(i + 2);
      const std::size_t name = skip_space(i + 2 + (sign != 0));
      if (!at(name, "endraw")) continue;
      const std::size_t close = skip_space(name + 6);
      const char end_sign = sign_at(close);
      if (!at(close + (end_sign != 0), "%}")) continue;
      add_data(begin, i, sign, false);
      finish_tag(close + 2 + (end_sign != 0), end_sign);
      return;
    }
  }

  // The end of the tag at the position, if it is one.
  bool lex_tag_end(bool variable) {
    const std::string_view close = variable ? "}}" : "%}";
    const char sign = sign_at(position_);
    if (sign == '+' && variable) return false;
    const std::size_t end = position_ + (sign != 0);
    if (!at(end, close)) return false;
    add(variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, "");
    if (!variable) {
      finish_tag(end + 2, sign);
    } else {
      position_ = sign == '-' ? skip_space(end + 2) : end + 2;
      line_starting_ = source_[position_ - 1] == '\n';
    }
    return true;
  }

  void lex_tag(bool variable) {
    std::vector<char> closers;
    while (position_ < source_.size()) {
      const std::size_t after_space = skip_space(position_);
      if (after_space != position_) {
        position_ = after_space;
        continue;
      }
      if (closers.empty() && lex_tag_end(variable)) return;
      if (!lex_number() && !lex_name() && !lex_string()) lex_operator(closers);
    }
  }

  // Digits with single underscores between them; the offset behind, or kNowhere without a digit.
  std::size_t digits_end(std::size_t offset) const {
    std::size_t end = kNowhere;
    while (offset < source_.size() && is_ascii_digit(source_[offset])) {
      end = ++offset;
      if (at(offset, "_") && offset + 1 < source_.size() && is_ascii_digit(source_[offset + 1])) {
        ++offset;
      }
    }
    return end;
  }

  std::size_t float_end() const {
    if (position_ > 0 && source_[position_ - 1] == '.') return kNowhere;
    const std::size_t whole = digits_end(position_);
    if (whole == kNowhere) return kNowhere;
    const std::size_t fraction = at(whole, ".") ? digits_end(whole + 1) : kNowhere;
    const std::size_t mantissa = fraction == kNowhere ? whole : fraction;
    if (at(mantissa, "e") || at(mantissa, "E")) {
      const std::size_t exponent = digits_end(mantissa + 1 + (sign_at(mantissa + 1) != 0));
      if (exponent != kNowhere) return exponent;
    }
    return fraction;
  }

  std::size_t prefixed_end(std::string_view digits) const {
    std::size_t offset = position_ + 2;
    std::size_t end = kNowhere;
    while (offset < source_.size()) {
      const std::size_t digit = offset + (source_[offset] == '_');
      if (digit >= source_.size() || digits.find(source_[digit]) == kNowhere) break;
      end = offset = digit + 1;
    }
    return end;
  }

  std::size_t integer_end() const {
    if (!is_ascii_digit(source_[position_])) return kNowhere;
    if (source_[position_] != '0') return digits_end(position_);
    const char letter =
        position_ + 1 < source_.size() ? static_cast<char>(source_[position_ + 1] | 0x20) : '\0';
    std::size_t end = kNowhere;
    if (letter == 'b') end = prefixed_end("01");
    if (letter == 'o') end = prefixed_end("01234567");
    if (letter == 'x') end = prefixed_end("0123456789abcdefABCDEF");
    if (end != kNowhere) return end;
    end = position_ + 1;
    while (at(end, "0") || at(end, "_0")) end += at(end, "0") ? 1 : 2;
    return end;
  }

  bool lex_number() {
    const std::size_t real = float_end();
    const std::size_t end = real != kNowhere ? real : integer_end();
    if (end == kNowhere) return false;
    std::string value = source_.substr(position_, end - position_);
    std::erase(value, '_');
    add(real != kNowhere ? TokenType::kFloat : TokenType::kInteger, std::move(value));
    position_ = end;
    return true;
  }

  bool lex_name() {
    std::size_t end = position_;
    while (end < source_.size()) {
      const CodePoint point = code_point_at(source_, end);
      if (!is_identifier_part(point.code)) break;
      end += point.bytes;
    }
    if (end == position_) return false;
    if (!is_identifier_start(code_point_at(source_, position_).code)) {
      error("Invalid character in identifier");
    }
    std::string name = source_.substr(position_, end - position_);
    add(TokenType::kName, std::move(name));
    position_ = end;
    return true;
  }

  bool lex_string() {
    const char quote = source_[position_];
    if (quote != '\'' && quote != '"') return false;
    std::size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return false;
    std::string value =
        unescape(std::string_view(source_).substr(position_ + 1, end - position_ - 1));
    add(TokenType::kString, std::move(value));
    position_ = end + 1;
    return true;
  }

  void lex_operator(std::vector<char>& closers) {
    for (const auto& [text, type] : kOperators) {
      if (!at(position_, text)) continue;
      const char c = text[0];
      if (c == '{') closers.push_back('}');
      if (c == '(') closers.push_back(')');
      if (c == '[') closers.push_back(']');
      if (c == '}' || c == ')' || c == ']') {
        if (closers.empty()) error(fmt::format("unexpected '{}'", c));
        if (closers.back() != c) {
          error(fmt::format("unexpected '{}', expected '{}'", c, closers.back()));
        }
        closers.pop_back();
      }
      add(type, std::string(text));
      position_ += text.size();
      return;
    }
    const CodePoint point = code_point_at(source_, position_);
    error(fmt::format("unexpected char '{}' at {}",
                      printable(source_.substr(position_, point.bytes)), position_));
  }

  std::optional<char32_t> hex_value(std::string_view digits) {
    char32_t value = 0;
    for (const char c : digits) {
      const std::size_t digit = std::string_view("0123456789abcdef")
                                    .find(static_cast<char>(c >= 'A' && c <= 'F' ? c + 32 : c));
      if (digit == kNowhere) return std::nullopt;
      value = value << 4 | static_cast<char32_t>(digit);
    }
    return value;
  }

  void append_escaped(std::string& out, char32_t code) {
    if (code >= 0xD800 && code <= 0xDFFF) {
      fail(ErrorCode::kUnsupported, "line {}: a lone surrogate in a string", line_at(position_));
    }
    if (code > 0x10FFFF) error("illegal Unicode character");
    append_utf8(out, code);
  }

  // \xHH, \uHHHH or \UHHHHHHHH at body[i + 1]; returns the offset behind.
  std::size_t unescape_hex(std::string& out, std::string_view body, std::size_t i,
                           std::size_t size) {
    const std::string_view digits = body.substr(i + 2, size);
    const auto code = hex_value(digits);
    if (digits.size() != size || !code) error("truncated escape in a string");
    append_escaped(out, *code);
    return i + 2 + size;
  }

  std::size_t unescape_octal(std::string& out, std::string_view body, std::size_t i) {
    char32_t code = 0;
    std::size_t end = i + 1;
    while (end < body.size() && end < i + 4 && body[end] >= '0' && body[end] <= '7') {
      code = code * 8 + static_cast<char32_t>(body[end++] - '0');
    }
    append_escaped(out, code);
    return end;
  }

  // What Python's unicode-escape decoding makes of the text between the quotes. It sees characters
  // beyond ASCII as escapes of their own, so that a backslash before one stays, followed by that
  // escape's letters.
  std::string unescape(std::string_view body) {
    std::string out;
    std::size_t i = 0;
    while (i < body.size()) {
      if (body[i] != '\\') {
        out.push_back(body[i++]);
        continue;
      }
      const char c = body[i + 1];  // the lexer saw a character behind every backslash
      static constexpr std::string_view kLetters = "\\'\"abfnrtv";
      static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
      const std::size_t known = kLetters.find(c);
      if (known != kNowhere) {
        out.push_back(kMeanings[known]);
        i += 2;
      } else if (c == '\n') {
        i += 2;
      } else if (c >= '0' && c <= '7') {
        i = unescape_octal(out, body, i);
      } else if (c == 'x') {
        i = unescape_hex(out, body, i, 2);
      } else if (c == 'u') {
        i = unescape_hex(out, body, i, 4);
      } else if (c == 'U') {
        i = unescape_hex(out, body, i, 8);
      } else if (c == 'N') {
        fail(ErrorCode::kUnsupported, "line {}: \\N{{…}} in a string", line_at(position_));
      } else if (static_cast<unsigned char>(c) < 0x80) {
        out.push_back('\\');
        out.push_back(c);
        i += 2;
      } else {
        const CodePoint point = code_point_at(body, i + 1);
        const auto code = static_cast<std::uint32_t>(point.code);
        out += code < 0x100     ? fmt::format("\\x{:02x}", code)
               : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                                : fmt::format("\\U{:08x}", code);
        i += 1 + point.bytes;
      }
    }
    return out;
  }

  std::string source_;
  std::size_t position_ = 0;
  bool line_starting_ = true;
  std::size_t counted_to_ = 0;
  std::uint32_t line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::string describe(const Token& token) {
  switch (token.type) {
    case TokenType::kEnd:
      return "end of template";
    case TokenType::kData:
      return "template data / text";
    case TokenType::kVariableBegin:
      return "begin of print statement";
    case TokenType::kVariableEnd:
      return "end of print statement";
    case TokenType::kBlockBegin:
      return "begin of statement block";
    case TokenType::kBlockEnd:
      return "end of statement block";
    case TokenType::kString:
      return "string";
    default:
      return printable(token.value);
  }
}

std::vector<Token> tokenize(std::string_view source) {
  std::string text = unify_newlines(source);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return Lexer(std::move(text)).run();
}

}  // namespace sampan::jinja
