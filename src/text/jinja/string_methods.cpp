#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/attributes.h"
#include "text/jinja/format.h"
#include "text/jinja/html.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/signature.h"
#include "text/jinja/strings.h"
#include "text/jinja/unicode.h"

// The methods of str.
namespace sampan::jinja {
namespace {

constexpr std::size_t kNotFound = std::string_view::npos;

const StringObject& text_of(const Value& self) { return self.as_string(); }

template <Side side>
Value strip_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("strip", args, 0, 1);
  return strip(interpreter, text_of(self), given[0], side);
}

Value split_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const Parameters given("split", args, {"sep", "maxsplit"});
  return interpreter.list(split(interpreter, text_of(self), given[0], given.integer(1, -1)));
}

Value rsplit_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const Parameters given("rsplit", args, {"sep", "maxsplit"});
  return interpreter.list(split_right(interpreter, text_of(self), given[0], given.integer(1, -1)));
}

Value splitlines_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const Parameters given("splitlines", args, {"keepends"});
  return interpreter.list(
      split_lines(interpreter, text_of(self), given.truth(interpreter, 0, false)));
}

// The part of a string that the arguments start and end select: offsets of its ends, or an empty
// part beyond the end.
struct Window {
  std::size_t begin;
  std::size_t end;
  bool valid;  // start is not behind the end
};

Window window(const StringObject& string, const Value& start, const Value& end) {
  const auto length = static_cast<std::int64_t>(string.length());
  const auto bound = [&](const Value& value, std::int64_t otherwise) {
    if (value.missing() || value.is_none()) return otherwise;
    if (!value.is_integral()) {
      fail(ErrorCode::kInvalidArgument,
           "slice indices must be integers or None or have an __index__ method");
    }
    const SliceRange range = resolve_slice(value, {}, {}, length);
    return range.start;
  };
  const bool beyond = start.is_integral() && to_index(start) > length;
  const std::int64_t from = bound(start, 0);
  const std::int64_t to = bound(end, length);
  return {string.offset_of(static_cast<std::size_t>(from)),
          string.offset_of(static_cast<std::size_t>(std::max(from, to))), !beyond && from <= to};
}

template <bool from_right>
std::size_t search(Interpreter& interpreter, const StringObject& string, const Parameters& given) {
  const std::string_view needle = given.string(0).view();
  const Window part = window(string, given[1], given[2]);
  if (!part.valid) return kNotFound;
  const std::string_view text = string.view().substr(0, part.end);
  interpreter.budget().work(text.size());
  if (from_right) {
    const std::size_t at = rfind_bytes(text.substr(part.begin), needle, kNotFound);
    return at == kNotFound ? at : at + part.begin;
  }
  return find_bytes(text, needle, part.begin);
}

template <bool from_right, bool must_exist>
Value find_method_of(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional(must_exist ? "index" : "find", args, 1, 3);
  const std::size_t at = search<from_right>(interpreter, text_of(self), given);
  if (at == kNotFound && must_exist) fail(ErrorCode::kInvalidArgument, "substring not found");
  return Value::integer(at == kNotFound ? -1
                                        : static_cast<std::int64_t>(text_of(self).index_of(at)));
}

Value string_count_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("count", args, 1, 3);
  const StringObject& string = text_of(self);
  const std::string_view needle = given.string(0).view();
  const Window part = window(string, given[1], given[2]);
  if (!part.valid) return Value::integer(0);
  const std::string_view text = string.view().substr(part.begin, part.end - part.begin);
  interpreter.budget().work(text.size());
  if (needle.empty()) return Value::integer(static_cast<std::int64_t>(count_code_points(text)) + 1);
  std::int64_t count = 0;
  for (std::size_t at = find_bytes(text, needle); at != kNotFound;
       at = find_bytes(text, needle, at + needle.size())) {
    ++count;
  }
  return Value::integer(count);
}

template <bool at_end>
bool has_affix(std::string_view text, const Value& affix) {
  if (!affix.is_string()) {
    fail(ErrorCode::kInvalidArgument, "{} first arg must be str or a tuple of str, not {}",
         at_end ? "endswith" : "startswith", type_name(affix));
  }
  const std::string_view wanted = affix.as_string().view();
  return at_end ? text.ends_with(wanted) : text.starts_with(wanted);
}

template <bool at_end>
Value affix_method(Interpreter&, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional(at_end ? "endswith" : "startswith", args, 1, 3);
  const Window part = window(text_of(self), given[1], given[2]);
  const std::string_view text = text_of(self).view().substr(part.begin, part.end - part.begin);
  bool found = false;
  if (given[0].is(Kind::kTuple)) {
    for (const Value& affix : given[0].as_sequence().items) {
      found = found || has_affix<at_end>(text, affix);
    }
  } else {
    found = has_affix<at_end>(text, given[0]);
  }
  return Value::boolean(found && part.valid);
}

Value replace_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("replace", args, 2, 3);
  given.string(1);
  const Value fresh = text_of(self).markup() ? escape(interpreter, given[1]) : given[1];
  return replace(interpreter, text_of(self), given.string(0), fresh.as_string(),
                 given.integer(2, -1));
}

template <Value (*function)(Interpreter&, const StringObject&)>
Value case_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("method", args, 0, 0);
  return function(interpreter, text_of(self));
}

bool cased(char32_t code) { return is_lower(code) || is_upper(code) || is_title(code); }

void title_at(std::string& out, std::string_view text, std::size_t offset) {
  const bool inside =
      offset > 0 && cased(code_point_at(text, previous_code_point(text, offset)).code);
  if (inside) {
    append_lower_at(out, text, offset);
  } else {
    append_title(out, code_point_at(text, offset).code);
  }
}

void swap_at(std::string& out, std::string_view text, std::size_t offset) {
  const CodePoint point = code_point_at(text, offset);
  if (is_upper(point.code)) {
    append_lower_at(out, text, offset);
  } else if (is_lower(point.code)) {
    append_upper(out, point.code);
  } else {
    out.append(text, offset, point.bytes);
  }
}

void fold_at(std::string& out, std::string_view text, std::size_t offset) {
  append_folded(out, code_point_at(text, offset).code);
}

template <CaseMapping mapping>
Value mapping_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("method", args, 0, 0);
  return map_case(interpreter, text_of(self), mapping);
}

// Whether every character passes; false for an empty string unless the test holds of nothing.
template <bool (*test)(char32_t), bool of_empty>
Value every_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("method", args, 0, 0);
  const std::string_view text = text_of(self).view();
  interpreter.budget().work(text.size() * 4);
  if (text.empty()) return Value::boolean(of_empty);
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    if (!test(point.code)) return Value::boolean(false);
    i += point.bytes;
  }
  return Value::boolean(true);
}

bool is_ascii_code(char32_t code) { return code < 0x80; }

// Some character passes, and none of the forbidden ones is there.
template <bool (*wanted)(char32_t), bool (*forbidden)(char32_t)>
Value cased_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("method", args, 0, 0);
  const std::string_view text = text_of(self).view();
  interpreter.budget().work(text.size() * 4);
  bool found = false;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    if (forbidden(point.code) || is_title(point.code)) return Value::boolean(false);
    found = found || wanted(point.code);
    i += point.bytes;
  }
  return Value::boolean(found);
}

Value istitle_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("istitle", args, 0, 0);
  const std::string_view text = text_of(self).view();
  interpreter.budget().work(text.size() * 4);
  bool found = false;
  bool inside = false;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    const bool capital = is_upper(point.code) || is_title(point.code);
    if (capital && inside) return Value::boolean(false);
    if (is_lower(point.code) && !inside) return Value::boolean(false);
    inside = capital || is_lower(point.code);
    found = found || inside;
    i += point.bytes;
  }
  return Value::boolean(found);
}

Value isidentifier_method(Interpreter&, const Value& self, CallArgs& args) {
  Parameters::positional("isidentifier", args, 0, 0);
  const std::string_view text = text_of(self).view();
  if (text.empty() || !is_identifier_start(code_point_at(text, 0).code))
    return Value::boolean(false);
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    if (!is_identifier_part(point.code)) return Value::boolean(false);
    i += point.bytes;
  }
  return Value::boolean(true);
}

Value join_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("join", args, 1, 1);
  const std::vector<Value> items = collect(interpreter, given[0]);
  return join(interpreter, text_of(self), items, text_of(self).markup());
}

Value remove_prefix(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("removeprefix", args, 1, 1);
  const std::string_view text = text_of(self).view();
  const std::string_view prefix = given.string(0).view();
  return substring(interpreter, text_of(self), text.starts_with(prefix) ? prefix.size() : 0,
                   text.size());
}

Value remove_suffix(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("removesuffix", args, 1, 1);
  const std::string_view text = text_of(self).view();
  const std::string_view suffix = given.string(0).view();
  return substring(interpreter, text_of(self), 0,
                   text.ends_with(suffix) ? text.size() - suffix.size() : text.size());
}

template <bool from_right>
Value partition_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("partition", args, 1, 1);
  const StringObject& string = text_of(self);
  const std::string_view text = string.view();
  const std::string_view mark = given.string(0).view();
  if (mark.empty()) fail(ErrorCode::kInvalidArgument, "empty separator");
  interpreter.budget().work(text.size());
  const std::size_t at = from_right ? rfind_bytes(text, mark, kNotFound) : find_bytes(text, mark);
  const Value whole = substring(interpreter, string, 0, text.size());
  const Value nothing = substring(interpreter, string, 0, 0);
  if (at == kNotFound) {
    return interpreter.tuple(from_right ? std::vector<Value>{nothing, nothing, whole}
                                        : std::vector<Value>{whole, nothing, nothing});
  }
  const Value middle = interpreter.string(given.string(0).text(), string.markup());
  return interpreter.tuple({substring(interpreter, string, 0, at), middle,
                            substring(interpreter, string, at + mark.size(), text.size())});
}

std::string_view fill_character(const Parameters& given) {
  if (!given.has(1)) return " ";
  if (given.string(1).length() != 1) {
    fail(ErrorCode::kInvalidArgument, "The fill character must be exactly one character long");
  }
  return given.string(1).view();
}

Value center_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("center", args, 1, 2);
  return center(interpreter, text_of(self), given.integer(0, 0), fill_character(given));
}

template <bool left>
Value justify_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("just", args, 1, 2);
  const StringObject& string = text_of(self);
  const auto length = static_cast<std::int64_t>(string.length());
  const std::int64_t fill = std::max<std::int64_t>(0, given.integer(0, 0) - length);
  TextBuilder out(interpreter.budget());
  if (!left) out.fill(fill_character(given), static_cast<std::size_t>(fill), true);
  out.append(string.text());
  if (left) out.fill(fill_character(given), static_cast<std::size_t>(fill), true);
  interpreter.budget().work(out.size());
  return interpreter.string(out.take(), string.markup());
}

Value zfill_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("zfill", args, 1, 1);
  const StringObject& string = text_of(self);
  const auto length = static_cast<std::int64_t>(string.length());
  const std::int64_t fill = std::max<std::int64_t>(0, given.integer(0, 0) - length);
  const Text& text = string.text();
  const bool sign = !text.bytes.empty() && (text.bytes[0] == '+' || text.bytes[0] == '-');
  TextBuilder out(interpreter.budget());
  out.append(text, 0, sign);
  out.fill("0", static_cast<std::size_t>(fill), true);
  out.append(text, sign, text.bytes.size());
  interpreter.budget().work(out.size());
  return interpreter.string(out.take(), string.markup());
}

Value expandtabs_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const Parameters given("expandtabs", args, {"tabsize"});
  const std::int64_t size = given.integer(0, 8);
  const Text& text = text_of(self).text();
  TextBuilder out(interpreter.budget());
  std::int64_t column = 0;
  for (std::size_t i = 0; i < text.bytes.size();) {
    interpreter.budget().step();
    const CodePoint point = code_point_at(text.bytes, i);
    if (point.code == '\t') {
      const std::int64_t fill = size > 0 ? size - column % size : 0;
      out.fill(" ", static_cast<std::size_t>(fill), text.provenance.trusted_at(i));
      interpreter.budget().work(static_cast<std::size_t>(fill));
      column += fill;
    } else {
      out.append(text, i, i + point.bytes);
      column = point.code == '\n' || point.code == '\r' ? 0 : column + 1;
    }
    i += point.bytes;
  }
  return interpreter.string(out.take(), text_of(self).markup());
}

Value format_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  return format_braces(interpreter, self, args);
}

Value format_map_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("format_map", args, 1, 1);
  if (!given[0].is(Kind::kDict)) fail(ErrorCode::kInvalidArgument, "format_map() wants a dict");
  CallArgs named;
  for (const auto& [key, value] : given[0].as_dict().entries()) {
    if (key.is_string()) named.keywords.emplace_back(key.as_string().view(), value);
  }
  return format_braces(interpreter, self, named);
}

Value unsupported_string_method(Interpreter&, const Value&, CallArgs&) {
  fail(ErrorCode::kUnsupported, "the string methods encode, maketrans and translate");
}

Value unescape_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("unescape", args, 0, 0);
  return interpreter.string(unescape_html(interpreter, text_of(self).text()));
}

Value striptags_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("striptags", args, 0, 0);
  return interpreter.string(strip_tags(interpreter, text_of(self).text()));
}

constexpr std::array kMethods = std::to_array<MethodInfo>({
    {"capitalize", case_method<capitalized>},
    {"casefold", mapping_method<fold_at>},
    {"center", center_method},
    {"count", string_count_method},
    {"encode", unsupported_string_method},
    {"endswith", affix_method<true>},
    {"expandtabs", expandtabs_method},
    {"find", find_method_of<false, false>},
    {"format", format_method},
    {"format_map", format_map_method},
    {"index", find_method_of<false, true>},
    {"isalnum", every_method<is_alnum, false>},
    {"isalpha", every_method<is_alpha, false>},
    {"isascii", every_method<is_ascii_code, true>},
    {"isdecimal", every_method<is_decimal, false>},
    {"isdigit", every_method<is_digit, false>},
    {"isidentifier", isidentifier_method},
    {"islower", cased_method<is_lower, is_upper>},
    {"isnumeric", every_method<is_numeric, false>},
    {"isprintable", every_method<is_printable, true>},
    {"isspace", every_method<is_space, false>},
    {"istitle", istitle_method},
    {"isupper", cased_method<is_upper, is_lower>},
    {"join", join_method},
    {"ljust", justify_method<true>},
    {"lower", case_method<lower_case>},
    {"lstrip", strip_method<Side::kLeft>},
    {"maketrans", unsupported_string_method},
    {"partition", partition_method<false>},
    {"removeprefix", remove_prefix},
    {"removesuffix", remove_suffix},
    {"replace", replace_method},
    {"rfind", find_method_of<true, false>},
    {"rindex", find_method_of<true, true>},
    {"rjust", justify_method<false>},
    {"rpartition", partition_method<true>},
    {"rsplit", rsplit_method},
    {"rstrip", strip_method<Side::kRight>},
    {"split", split_method},
    {"splitlines", splitlines_method},
    {"startswith", affix_method<false>},
    {"strip", strip_method<Side::kBoth>},
    {"swapcase", mapping_method<swap_at>},
    {"title", mapping_method<title_at>},
    {"translate", unsupported_string_method},
    {"upper", case_method<upper_case>},
    {"zfill", zfill_method},
});

constexpr std::array kMarkupMethods = std::to_array<MethodInfo>({
    {"striptags", striptags_method},
    {"unescape", unescape_method},
});

}  // namespace

const MethodInfo* find_string_method(std::string_view name) {
  const auto* at = std::lower_bound(
      kMethods.begin(), kMethods.end(), name,
      [](const MethodInfo& method, std::string_view wanted) { return method.name < wanted; });
  return at != kMethods.end() && at->name == name ? at : nullptr;
}

const MethodInfo* find_markup_method(std::string_view name) {
  for (const MethodInfo& method : kMarkupMethods) {
    if (method.name == name) return &method;
  }
  return find_string_method(name);
}

}  // namespace sampan::jinja
