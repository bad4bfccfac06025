#include <algorithm>

#include "base/error.h"
#include "text/jinja/format.h"
#include "text/jinja/format_number.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

struct PercentSpec {
  bool left = false;
  bool zero = false;
  NumberStyle number;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char type = 0;
};

class PercentFormatter {
 public:
  PercentFormatter(Interpreter& interpreter, const StringObject& format, const Value& arguments)
      : interpreter_(interpreter),
        text_(format.text()),
        markup_(format.markup()),
        arguments_(arguments),
        out_(interpreter.budget()) {
    if (arguments.is(Kind::kTuple)) {
      values_ = arguments.as_sequence().items;
    } else {
      values_ = {arguments};
      // What Python can index by a key may hold more than is used.
      may_be_unused_ = arguments.is(Kind::kDict) || arguments.is(Kind::kList) ||
                       arguments.is_undefined() || arguments.is(Kind::kRange);
    }
  }

  Value run() {
    interpreter_.budget().work(text_.bytes.size());
    while (position_ < text_.bytes.size()) {
      const std::size_t percent = std::min(text_.bytes.find('%', position_), text_.bytes.size());
      out_.append(text_, position_, percent);
      position_ = percent;
      if (percent < text_.bytes.size()) conversion();
    }
    if (used_ < values_.size() && !may_be_unused_) {
      fail(ErrorCode::kInvalidArgument, "not all arguments converted during string formatting");
    }
    return interpreter_.string(out_.take(), markup_);
  }

 private:
  char peek() {
    if (position_ >= text_.bytes.size()) fail(ErrorCode::kInvalidArgument, "incomplete format");
    return text_.bytes[position_];
  }

  Value next_argument() {
    if (named_) return *named_;
    if (used_ >= values_.size()) {
      fail(ErrorCode::kInvalidArgument, "not enough arguments for format string");
    }
    return values_[used_++];
  }

  std::int64_t number() {
    std::int64_t value = 0;
    while (peek() >= '0' && peek() <= '9') {
      value = std::min<std::int64_t>(value * 10 + (peek() - '0'), kMaxFormatWidth + 1);
      ++position_;
    }
    return checked(value);
  }

  static std::int64_t checked(std::int64_t size) {
    if (size > kMaxFormatWidth) {
      fail(ErrorCode::kLimit, "a format width or precision above {}", kMaxFormatWidth);
    }
    return size;
  }

  std::int64_t star() {
    ++position_;
    const Value value = next_argument();
    if (!value.is_integral()) fail(ErrorCode::kInvalidArgument, "* wants int");
    return checked(to_index(value));
  }

  void key() {
    const std::size_t begin = ++position_;
    int depth = 1;
    while (depth > 0) {
      const char c = peek();
      depth += c == '(' ? 1 : (c == ')' ? -1 : 0);
      ++position_;
    }
    if (!arguments_.is(Kind::kDict)) fail(ErrorCode::kInvalidArgument, "format requires a mapping");
    const std::string_view name =
        std::string_view(text_.bytes).substr(begin, position_ - 1 - begin);
    const Value* value = arguments_.as_dict().find(name);
    if (value == nullptr) fail(ErrorCode::kInvalidArgument, "KeyError: '{}'", printable(name));
    named_ = value;
  }

  bool flag(PercentSpec& spec) {
    switch (peek()) {
      case '-':
        spec.left = true;
        return true;
      case '+':
        spec.number.sign = '+';
        return true;
      case ' ':
        if (spec.number.sign != '+') spec.number.sign = ' ';
        return true;
      case '#':
        spec.number.alternate = true;
        return true;
      case '0':
        spec.zero = true;
        return true;
      default:
        return false;
    }
  }

  void conversion() {
    const bool trusted = text_.provenance.trusted_at(position_);
    ++position_;
    named_ = nullptr;
    PercentSpec spec;
    if (peek() == '(') key();
    while (flag(spec)) ++position_;
    if (peek() == '*') {
      spec.width = star();
      if (spec.width < 0) {
        spec.left = true;
        spec.width = -spec.width;
      }
    } else {
      spec.width = number();
    }
    if (peek() == '.') {
      ++position_;
      if (peek() == '*') {
        spec.precision = std::max<std::int64_t>(0, star());
      } else {
        spec.precision = number();
      }
    }
    if (peek() == 'h' || peek() == 'l' || peek() == 'L') ++position_;
    spec.type = peek();
    ++position_;
    if (spec.type == '%') return out_.append("%", trusted);
    write(spec, trusted);
  }

  void write(const PercentSpec& spec, bool trusted) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a':
        return write_text(spec, next_argument(), trusted);
      case 'c':
        return pad_text(spec, character(next_argument()), trusted);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return write_integer(spec, next_argument(), trusted);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return write_float(spec, next_argument(), trusted);
      default:
        fail(ErrorCode::kInvalidArgument, "unsupported format character '{}'",
             printable(std::string_view(&spec.type, 1)));
    }
  }

  void write_text(const PercentSpec& spec, const Value& value, bool trusted) {
    Text text;
    if (spec.type == 's') {
      text = to_text(interpreter_, value);
    } else {
      TextBuilder repr(interpreter_.budget());
      append_repr(interpreter_, repr, value);
      text = repr.take();
      if (spec.type == 'a') text = {to_ascii(text.bytes), Provenance(false)};
    }
    if (markup_) {
      const bool is_markup = spec.type == 's' && value.is_string() && value.as_string().markup();
      text =
          escape(interpreter_, interpreter_.string(std::move(text), is_markup)).as_string().text();
    }
    pad_text(spec, text, trusted);
  }

  Text character(const Value& value) {
    std::string out;
    if (value.is_string() && value.as_string().length() == 1) return value.as_string().text();
    if (!value.is_integral()) fail(ErrorCode::kInvalidArgument, "%c requires int or char");
    const std::int64_t code = to_index(value);
    if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      fail(ErrorCode::kInvalidArgument, "%c arg not in range(0x110000)");
    }
    append_utf8(out, static_cast<char32_t>(code));
    return {std::move(out), Provenance(false)};
  }

  void pad_text(const PercentSpec& spec, const Text& text, bool trusted) {
    std::size_t end = text.bytes.size();
    std::size_t length = count_code_points(text.bytes);
    if (spec.type != 'c' && spec.precision >= 0 &&
        static_cast<std::size_t>(spec.precision) < length) {
      end = 0;
      length = static_cast<std::size_t>(spec.precision);
      for (std::size_t i = 0; i < length; ++i) end += code_point_at(text.bytes, end).bytes;
    }
    const auto width = static_cast<std::size_t>(spec.width);
    const std::size_t fill = width > length ? width - length : 0;
    if (!spec.left) out_.fill(" ", fill, trusted);
    out_.append(text, 0, end);
    if (spec.left) out_.fill(" ", fill, trusted);
  }

  void pad_number(const PercentSpec& spec, const NumberText& number, bool trusted, bool pad_trusted) {
    const std::size_t length = number.sign.size() + number.digits.size();
    const auto width = static_cast<std::size_t>(spec.width);
    const std::size_t fill = width > length ? width - length : 0;
    const bool zeros = spec.zero && !spec.left;
    if (!spec.left && !zeros) out_.fill(" ", fill, pad_trusted);
    out_.append(number.sign, trusted);
    if (zeros) out_.fill("0", fill, trusted);
    out_.append(number.digits, trusted);
    if (spec.left) out_.fill(" ", fill, pad_trusted);
  }

  void write_integer(const PercentSpec& spec, const Value& value, bool trusted) {
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (value.is_undefined() && decimal) undefined_error(value);
    Value integral = value;
    if (decimal && value.is(Kind::kFloat)) {
      integral = truncate_to_int(interpreter_.budget(), value.as_float());
    } else if (!value.is_integral()) {
      fail(ErrorCode::kInvalidArgument, "%{} format: {} is required, not {}", spec.type,
           decimal ? "a real number" : "an integer", type_name(value));
    }
    charge_number(interpreter_.budget(), integral);
    NumberStyle style = spec.number;
    style.type = decimal ? 'd' : spec.type;
    style.precision = static_cast<int>(spec.precision);
    pad_number(spec, format_integer(integral, style), value.trusted(), trusted);
  }

  void write_float(const PercentSpec& spec, const Value& value, bool trusted) {
    if (value.is_undefined()) undefined_error(value);
    if (!value.is_number()) {
      fail(ErrorCode::kInvalidArgument, "must be real number, not {}", type_name(value));
    }
    NumberStyle style = spec.number;
    style.type = spec.type;
    style.precision = static_cast<int>(spec.precision);
    pad_number(spec, format_float(to_double(value), style), value.trusted(), trusted);
  }

  Interpreter& interpreter_;
  const Text& text_;
  const bool markup_;
  const Value arguments_;
  std::vector<Value> values_;
  bool may_be_unused_ = false;
  std::size_t used_ = 0;
  const Value* named_ = nullptr;
  std::size_t position_ = 0;
  TextBuilder out_;
};

}  // namespace

Value format_percent(Interpreter& interpreter, const Value& format, const Value& arguments) {
  return PercentFormatter(interpreter, format.as_string(), arguments).run();
}

}  // namespace sampan::jinja
