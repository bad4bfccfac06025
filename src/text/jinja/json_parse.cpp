#include "base/error.h"
#include "text/jinja/json.h"
#include "text/jinja/number.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

// Leaves room below kMaxValueDepth for what a template builds around its data.
constexpr int kMaxJsonDepth = 200;

class JsonParser {
 public:
  JsonParser(Budget* budget, std::string_view text, bool trusted, const char* name)
      : budget_(budget), text_(text), trusted_(trusted), name_(name) {}

  Value run() {
    const std::size_t bad = find_invalid_utf8(text_);
    if (bad != std::string_view::npos) {
      position_ = bad;
      error("is not UTF-8");
    }
    skip_space();
    Value value = parse(0);
    skip_space();
    if (position_ != text_.size()) error("more behind the JSON value");
    return value;
  }

 private:
  [[noreturn]] void error(std::string_view what) const {
    fail(ErrorCode::kInvalidData, "{}: byte {} of {}: {}", name_, position_, text_.size(), what);
  }

  char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }

  void skip_space() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++position_;
  }

  bool take(std::string_view word) {
    if (!text_.substr(position_).starts_with(word)) return false;
    position_ += word.size();
    return true;
  }

  Value parse(int depth) {
    if (depth > kMaxJsonDepth) {
      fail(ErrorCode::kLimit, "{}: byte {}: JSON nested more than {} deep", name_, position_,
           kMaxJsonDepth);
    }
    switch (peek()) {
      case '"':
        return make_string(budget_, parse_string(), trusted_);
      case '{':
        return parse_object(depth);
      case '[':
        return parse_array(depth);
      default:
        break;
    }
    if (take("null")) return Value::none();
    if (take("true")) return Value::boolean(true);
    if (take("false")) return Value::boolean(false);
    if (take("NaN")) return Value::real(*parse_float("nan"));
    if (take("Infinity")) return Value::real(*parse_float("inf"));
    if (take("-Infinity")) return Value::real(*parse_float("-inf"));
    return parse_number();
  }

  bool digits() {
    const std::size_t begin = position_;
    while (peek() >= '0' && peek() <= '9') ++position_;
    return position_ > begin;
  }

  Value parse_number() {
    const std::size_t begin = position_;
    if (peek() == '-') ++position_;
    const std::size_t first = position_;
    if (!digits()) {
      position_ = begin;
      error("no JSON value");
    }
    if (text_[first] == '0') position_ = first + 1;
    bool real = false;
    std::size_t end = position_;
    if (peek() == '.') {
      ++position_;
      if (digits()) {
        real = true;
        end = position_;
      }
    }
    position_ = end;
    if (peek() == 'e' || peek() == 'E') {
      ++position_;
      if (peek() == '+' || peek() == '-') ++position_;
      if (digits()) {
        real = true;
        end = position_;
      }
    }
    position_ = end;
    const std::string_view number = text_.substr(begin, end - begin);
    if (real) return Value::real(parse_float(number).value_or(0));
    return make_integer(budget_, parse_int(number).value_or(BigInt()));
  }

  Value parse_array(int depth) {
    ++position_;
    std::vector<Value> items;
    skip_space();
    if (peek() == ']') {
      ++position_;
      return make_list(budget_, std::move(items));
    }
    while (true) {
      skip_space();
      items.push_back(parse(depth + 1));
      skip_space();
      if (peek() == ']') break;
      if (peek() != ',') error("',' or ']' expected");
      ++position_;
    }
    ++position_;
    return make_list(budget_, std::move(items));
  }

  Value parse_object(int depth) {
    ++position_;
    std::vector<DictObject::Entry> entries;
    skip_space();
    if (peek() == '}') {
      ++position_;
      return make_value<DictObject>(Kind::kDict, budget_, std::move(entries));
    }
    while (true) {
      skip_space();
      if (peek() != '"') error("a key in double quotes expected");
      Value key = make_string(budget_, parse_string(), trusted_);
      skip_space();
      if (peek() != ':') error("':' expected");
      ++position_;
      skip_space();
      entries.emplace_back(std::move(key), parse(depth + 1));
      skip_space();
      if (peek() == '}') break;
      if (peek() != ',') error("',' or '}' expected");
      ++position_;
    }
    ++position_;
    return make_value<DictObject>(Kind::kDict, budget_, std::move(entries));
  }

  std::string parse_string() {
    ++position_;
    std::string out;
    while (true) {
      const std::size_t begin = position_;
      while (position_ < text_.size() && text_[position_] != '"' && text_[position_] != '\\' &&
             static_cast<unsigned char>(text_[position_]) >= 0x20) {
        ++position_;
      }
      out.append(text_, begin, position_ - begin);
      if (position_ >= text_.size()) error("unterminated string");
      if (text_[position_] == '"') break;
      if (text_[position_] != '\\') error("a control character in a string");
      ++position_;
      parse_escape(out);
    }
    ++position_;
    return out;
  }

  void parse_escape(std::string& out) {
    static constexpr std::string_view kLetters = "\"\\/bfnrt";
    static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const std::size_t known =
        position_ < text_.size() ? kLetters.find(text_[position_]) : std::string_view::npos;
    if (known != std::string_view::npos) {
      out.push_back(kMeanings[known]);
      ++position_;
      return;
    }
    if (peek() != 'u') error("an unknown escape");
    ++position_;
    char32_t code = parse_hex();
    if (code >= 0xD800 && code <= 0xDBFF && take("\\u")) {
      const char32_t low = parse_hex();
      if (low < 0xDC00 || low > 0xDFFF) error("a lone surrogate");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code >= 0xD800 && code <= 0xDFFF) error("a lone surrogate");
    append_utf8(out, code);
  }

  char32_t parse_hex() {
    char32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const std::size_t digit =
          std::string_view("0123456789abcdef")
              .find(static_cast<char>(peek() >= 'A' && peek() <= 'F' ? peek() + 32 : peek()));
      if (digit == std::string_view::npos || position_ >= text_.size())
        error("\\u without four hex digits");
      code = code << 4 | static_cast<char32_t>(digit);
      ++position_;
    }
    return code;
  }

  Budget* budget_;
  std::string_view text_;
  bool trusted_;
  const char* name_;
  std::size_t position_ = 0;
};

}  // namespace

Value parse_json(Budget* budget, std::string_view text, bool trusted, const char* name) {
  return JsonParser(budget, text, trusted, name).run();
}

}  // namespace sampan::jinja
