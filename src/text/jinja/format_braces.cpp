#include <algorithm>
#include <optional>

#include "base/error.h"
#include "text/jinja/attributes.h"
#include "text/jinja/format.h"
#include "text/jinja/format_number.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

// A parsed format specification: [[fill]align][sign][#][0][width][grouping][.precision][type]
struct BraceSpec {
  std::string fill = " ";
  char align = 0;
  char sign = 0;
  bool alternate = false;
  bool zero = false;
  std::int64_t width = 0;
  char group = 0;
  std::int64_t precision = -1;
  char type = 0;
};

[[noreturn]] void value_error(const std::string& message) {
  fail(ErrorCode::kInvalidArgument, "{}", message);
}

std::int64_t take_number(std::string_view text, std::size_t& position) {
  std::int64_t value = 0;
  while (position < text.size() && text[position] >= '0' && text[position] <= '9') {
    value = std::min<std::int64_t>(value * 10 + (text[position++] - '0'), kMaxFormatWidth + 1);
  }
  if (value > kMaxFormatWidth) {
    fail(ErrorCode::kLimit, "a format width or precision above {}", kMaxFormatWidth);
  }
  return value;
}

bool is_align(char c) { return c == '<' || c == '>' || c == '=' || c == '^'; }

BraceSpec parse_spec(std::string_view text, bool is_number) {
  BraceSpec spec;
  std::size_t i = 0;
  bool fill_given = false;
  const std::size_t first = text.empty() ? 0 : code_point_at(text, 0).bytes;
  if (first < text.size() && is_align(text[first])) {
    spec.fill = text.substr(0, first);
    spec.align = text[first];
    i = first + 1;
    fill_given = true;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[0];
    i = 1;
  }
  const auto at = [&](char c) { return i < text.size() && text[i] == c; };
  if (at('+') || at('-') || at(' ')) spec.sign = text[i++];
  if (at('#')) {
    spec.alternate = true;
    ++i;
  }
  if (!fill_given && at('0')) {
    spec.fill = "0";
    if (spec.align == 0 && is_number) spec.align = '=';
    ++i;
  }
  spec.width = take_number(text, i);
  if (at(',') || at('_')) spec.group = text[i++];
  if (at(',') || at('_')) value_error("Cannot specify both ',' and '_'.");
  if (at('.')) {
    ++i;
    if (i >= text.size() || text[i] < '0' || text[i] > '9') {
      value_error("Format specifier missing precision");
    }
    spec.precision = take_number(text, i);
  }
  if (i + 1 < text.size()) value_error("Invalid format specifier");
  if (i < text.size()) spec.type = text[i];
  return spec;
}

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, const CallArgs& args, bool markup)
      : interpreter_(interpreter), args_(args), markup_(markup) {}

  // Python nests replacement fields two deep: within a specification, and no further.
  Text run(const Text& format, int depth) {
    if (depth < 0) value_error("Max string recursion exceeded");
    interpreter_.budget().work(format.bytes.size());
    TextBuilder out(interpreter_.budget());
    std::size_t i = 0;
    const std::string& bytes = format.bytes;
    while (i < bytes.size()) {
      const std::size_t brace = std::min(bytes.find_first_of("{}", i), bytes.size());
      out.append(format, i, brace);
      if (brace == bytes.size()) break;
      if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
        out.append(format, brace, brace + 1);
        i = brace + 2;
        continue;
      }
      if (bytes[brace] == '}') value_error("Single '}' encountered in format string");
      i = field(format, brace, out, depth);
    }
    return out.take();
  }

 private:
  // The replacement field that opens at `open`; returns the offset behind it.
  std::size_t field(const Text& format, std::size_t open, TextBuilder& out, int depth) {
    const std::string& bytes = format.bytes;
    std::size_t end = open + 1;
    int nesting = 1;
    for (; end < bytes.size(); ++end) {
      if (bytes[end] == '{') ++nesting;
      if (bytes[end] == '}' && --nesting == 0) break;
    }
    if (end >= bytes.size()) {
      value_error(end == open + 1 ? "Single '{' encountered in format string"
                                  : "expected '}' before end of string");
    }
    // The name ends at the first ! or : outside brackets.
    std::size_t name_end = open + 1;
    bool bracket = false;
    for (; name_end < end; ++name_end) {
      const char c = bytes[name_end];
      if (c == '[') bracket = true;
      if (c == ']') bracket = false;
      if (c == '{') value_error("unexpected '{' in field name");
      if (!bracket && (c == '!' || c == ':')) break;
    }
    char conversion = 0;
    std::size_t spec_begin = name_end;
    if (name_end < end && bytes[name_end] == '!') {
      if (name_end + 1 >= end) value_error("unmatched '{' in format spec");
      conversion = bytes[name_end + 1];
      spec_begin = name_end + 2;
      if (spec_begin < end && bytes[spec_begin] != ':') {
        value_error("expected ':' after conversion specifier");
      }
    }
    if (spec_begin < end) ++spec_begin;
    Value value = lookup(std::string_view(bytes).substr(open + 1, name_end - open - 1));
    if (conversion != 0) value = convert(value, conversion);
    const Text spec = run(slice_text(format, spec_begin, end), depth - 1);
    write(out, value, spec.bytes, format.provenance.trusted_at(open));
    return end + 1;
  }

  static bool all_digits(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  }

  Value positional(std::int64_t index) const {
    if (static_cast<std::size_t>(index) >= args_.positional.size()) {
      value_error("Replacement index " + std::to_string(index) +
                  " out of range for positional args tuple");
    }
    return args_.positional[static_cast<std::size_t>(index)];
  }

  Value first_value(std::string_view name, bool whole_name) {
    if (name.empty() && whole_name) {
      if (manual_)
        value_error("cannot switch from manual field specification to automatic field numbering");
      automatic_ = true;
      return positional(next_++);
    }
    if (all_digits(name)) {
      if (whole_name) {
        if (automatic_)
          value_error("cannot switch from manual field specification to automatic field numbering");
        manual_ = true;
      }
      std::size_t position = 0;
      return positional(take_number(name, position));
    }
    for (const auto& [key, value] : args_.keywords) {
      if (key == name) return value;
    }
    value_error("KeyError: '" + printable(name) + "'");
  }

  Value lookup(std::string_view name) {
    std::size_t i = std::min(name.find_first_of(".["), name.size());
    Value value = first_value(name.substr(0, i), i == name.size());
    while (i < name.size()) {
      if (name[i] == '.') {
        const std::size_t end = std::min(name.find_first_of(".[", i + 1), name.size());
        const std::string_view attribute = name.substr(i + 1, end - i - 1);
        if (attribute.empty()) value_error("Empty attribute in format string");
        value = get_attribute(interpreter_, value, attribute);
        i = end;
      } else if (name[i] == '[') {
        const std::size_t end = name.find(']', i);
        if (end == std::string_view::npos) value_error("Missing ']' in format string");
        const std::string_view key = name.substr(i + 1, end - i - 1);
        if (key.empty()) value_error("Empty attribute in format string");
        std::size_t position = 0;
        value = get_item(interpreter_, value,
                         all_digits(key) ? Value::integer(take_number(key, position))
                                         : interpreter_.string(std::string(key), false));
        i = end + 1;
      } else {
        value_error("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  Value convert(const Value& value, char conversion) {
    if (conversion == 's') return interpreter_.string(to_text(interpreter_, value));
    if (conversion != 'r' && conversion != 'a') value_error("Unknown conversion specifier");
    TextBuilder out(interpreter_.budget());
    append_repr(interpreter_, out, value);
    if (conversion == 'r') return interpreter_.string(out.take());
    return interpreter_.string(to_ascii(out.text().bytes), false);
  }

  void write(TextBuilder& out, const Value& value, std::string_view spec, bool trusted) {
    const bool is_markup = value.is_string() && value.as_string().markup();
    if (!markup_) return write_plain(out, value, spec, trusted);
    if (is_markup && !spec.empty()) value_error("Unsupported format specification for Markup.");
    if (is_markup) return out.append(value.as_string().text());
    TextBuilder plain(interpreter_.budget());
    write_plain(plain, value, spec, trusted);
    out.append(escape(interpreter_, interpreter_.string(plain.take())).as_string().text());
  }

  void write_plain(TextBuilder& out, const Value& value, std::string_view spec, bool trusted) {
    if (spec.empty()) return append_str(interpreter_, out, value);
    if (value.is_string())
      return write_string(out, value.as_string(), parse_spec(spec, false), trusted);
    if (value.is_integral()) return write_integer(out, value, parse_spec(spec, true), trusted);
    if (value.is(Kind::kFloat)) return write_float(out, value, parse_spec(spec, true), trusted);
    value_error(std::string("unsupported format string passed to ") + type_name(value) +
                ".__format__");
  }

  void pad(TextBuilder& out, const BraceSpec& spec, char default_align, std::size_t length, bool trusted,
           auto&& content) {
    const char align = spec.align == 0 ? default_align : spec.align;
    const auto width = static_cast<std::size_t>(spec.width);
    const std::size_t fill = width > length ? width - length : 0;
    const std::size_t left = align == '>' ? fill : (align == '^' ? fill / 2 : 0);
    out.fill(spec.fill, left, trusted);
    content();
    out.fill(spec.fill, fill - left, trusted);
  }

  void write_string(TextBuilder& out, const StringObject& value, const BraceSpec& spec, bool trusted) {
    if (spec.sign != 0) value_error("Sign not allowed in string format specifier");
    if (spec.alternate) value_error("Alternate form (#) not allowed in string format specifier");
    if (spec.align == '=') value_error("'=' alignment not allowed in string format specifier");
    if (spec.group != 0) value_error("Cannot specify a separator with 's'.");
    if (spec.type != 0 && spec.type != 's') unknown_code(spec.type, "str");
    std::size_t length = value.length();
    if (spec.precision >= 0) length = std::min(length, static_cast<std::size_t>(spec.precision));
    pad(out, spec, '<', length, trusted,
        [&] { out.append(value.text(), 0, value.offset_of(length)); });
  }

  [[noreturn]] static void unknown_code(char code, const char* type) {
    value_error("Unknown format code '" + printable(std::string_view(&code, 1)) +
                "' for object of type '" + type + "'");
  }

  void write_number(TextBuilder& out, const NumberText& number, const BraceSpec& spec, int group_size,
                    bool value_trusted, bool trusted) {
    const bool zeros = spec.align == '=' && spec.fill == "0";
    const std::size_t sign = number.sign.size();
    const auto width = static_cast<std::size_t>(spec.width);
    const std::string digits = group_digits(number.digits, spec.group, group_size,
                                            zeros && width > sign ? width - sign : 0);
    const std::size_t length = sign + digits.size();
    if (spec.align == '=') {
      out.append(number.sign, value_trusted);
      out.fill(spec.fill, width > length ? width - length : 0, trusted);
      out.append(digits, value_trusted);
      return;
    }
    pad(out, spec, '>', length, trusted, [&] { out.append(number.sign + digits, value_trusted); });
  }

  void write_integer(TextBuilder& out, const Value& value, const BraceSpec& spec, bool trusted) {
    static constexpr std::string_view kFloatTypes = "eEfFgG%";
    if (spec.type != 0 && kFloatTypes.find(spec.type) != std::string_view::npos) {
      return write_float(out, Value::real(to_double(value), value.trusted()), spec, trusted);
    }
    if (spec.precision >= 0) value_error("Precision not allowed in integer format specifier");
    const char type = spec.type == 0 || spec.type == 'n' ? 'd' : spec.type;
    if (type == 'c') return write_character(out, value, spec, trusted);
    if (std::string_view("bdoxX").find(type) == std::string_view::npos) unknown_code(type, "int");
    if (spec.group == ',' && type != 'd') value_error("Cannot specify ',' with this type.");
    if (spec.group != 0 && spec.type == 'n') value_error("Cannot specify a separator with 'n'.");
    charge_number(interpreter_.budget(), value);
    NumberStyle style;
    style.type = type;
    style.alternate = spec.alternate;
    style.sign = spec.sign == 0 ? '-' : spec.sign;
    write_number(out, format_integer(value, style), spec, type == 'd' ? 3 : 4, value.trusted(),
                 trusted);
  }

  void write_character(TextBuilder& out, const Value& value, const BraceSpec& spec, bool trusted) {
    if (spec.sign != 0) value_error("Sign not allowed with integer format specifier 'c'");
    if (spec.alternate)
      value_error("Alternate form (#) not allowed with integer format specifier 'c'");
    if (spec.group != 0) value_error("Cannot specify a separator with 'c'.");
    const std::int64_t code = to_index(value);
    if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      value_error("%c arg not in range(0x110000)");
    }
    std::string character;
    append_utf8(character, static_cast<char32_t>(code));
    pad(out, spec, '>', 1, trusted, [&] { out.append(character, false); });
  }

  void write_float(TextBuilder& out, const Value& value, const BraceSpec& spec, bool trusted) {
    if (spec.type != 0 && std::string_view("eEfFgGn%").find(spec.type) == std::string_view::npos) {
      unknown_code(spec.type, "float");
    }
    if (spec.group != 0 && spec.type == 'n') value_error("Cannot specify a separator with 'n'.");
    NumberStyle style;
    style.type = spec.type == 'n' ? 'g' : spec.type;
    style.precision = static_cast<int>(spec.precision);
    style.alternate = spec.alternate;
    style.sign = spec.sign == 0 ? '-' : spec.sign;
    write_number(out, format_float(to_double(value), style), spec, 3, value.trusted(), trusted);
  }

  Interpreter& interpreter_;
  const CallArgs& args_;
  const bool markup_;
  std::int64_t next_ = 0;
  bool automatic_ = false;
  bool manual_ = false;
};

}  // namespace

Value format_braces(Interpreter& interpreter, const Value& format, const CallArgs& args) {
  const bool markup = format.as_string().markup();
  Text out = BraceFormatter(interpreter, args, markup).run(format.as_string().text(), 2);
  return interpreter.string(std::move(out), markup);
}

}  // namespace sampan::jinja
