#include <algorithm>

#include "base/error.h"
#include "text/jinja/filter_functions.h"
#include "text/jinja/format.h"
#include "text/jinja/functions.h"
#include "text/jinja/html.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/signature.h"
#include "text/jinja/strings.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

// Where a value must be a string already.
const StringObject& require_string(const Value& value, const char* filter) {
  if (value.is_undefined()) undefined_error(value);
  if (!value.is_string()) {
    fail(ErrorCode::kInvalidArgument, "{}: '{}' object is no string", filter, type_name(value));
  }
  return value.as_string();
}

bool is_word(char32_t code) { return code == '_' || is_alnum(code); }

// Whether jinja's title filter starts a word behind this character.
bool starts_word(char32_t code) {
  return code == '-' || code == '(' || code == '{' || code == '[' || code == '<' || is_space(code);
}

void append_percent_encoded(std::string& out, std::string_view text, bool query) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    if (plain) {
      out.push_back(c);
    } else if (c == ' ' && query) {
      out.push_back('+');
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
}

std::string quoted(Interpreter& interpreter, const Value& value, bool query) {
  std::string out;
  append_percent_encoded(out, to_text(interpreter, value).bytes, query);
  interpreter.budget().work(out.size() * 4);
  return out;
}

// pprint sorts the keys of dicts, inner ones too.
Value sort_keys_deeply(Interpreter& interpreter, const Value& value) {
  interpreter.budget().step();
  if (value.is_sequence()) {
    std::vector<Value> items;
    for (const Value& item : value.as_sequence().items) {
      items.push_back(sort_keys_deeply(interpreter, item));
    }
    return value.is(Kind::kList) ? interpreter.list(std::move(items))
                                 : interpreter.tuple(std::move(items));
  }
  if (!value.is(Kind::kDict)) return value;
  std::vector<DictObject::Entry> entries;
  for (const auto& [key, entry] : value.as_dict().entries()) {
    if (!key.is_string())
      fail(ErrorCode::kUnsupported, "pprint of a dict with keys other than str");
    entries.emplace_back(key, sort_keys_deeply(interpreter, entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return compare_keys(a.first, b.first) < 0; });
  return interpreter.dict(std::move(entries));
}

}  // namespace

Value filter_upper(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("upper", args);
  return upper_case(interpreter, soft_string(interpreter, subject).as_string());
}

Value filter_lower(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("lower", args);
  return lower_case(interpreter, soft_string(interpreter, subject).as_string());
}

Value filter_capitalize(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("capitalize", args);
  return capitalized(interpreter, soft_string(interpreter, subject).as_string());
}

Value filter_title(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("title", args);
  const Value string = soft_string(interpreter, subject);
  const Text& text = string.as_string().text();
  interpreter.budget().work(text.bytes.size() * 8);
  TextBuilder out(interpreter.budget());
  std::string piece;
  for (std::size_t i = 0; i < text.bytes.size();) {
    const CodePoint point = code_point_at(text.bytes, i);
    const std::size_t rest_begin = i + point.bytes;
    if (starts_word(point.code)) {
      out.append(text, i, rest_begin);
      i = rest_begin;
      continue;
    }
    std::size_t end = rest_begin;
    while (end < text.bytes.size()) {
      const CodePoint next = code_point_at(text.bytes, end);
      if (starts_word(next.code)) break;
      end += next.bytes;
    }
    piece.clear();
    append_upper(piece, point.code);
    out.append(piece, text.provenance.trusted_at(i));
    // Jinja lowers the rest of a word on its own, which the rule of the final sigma notices.
    const std::string_view rest = std::string_view(text.bytes).substr(rest_begin, end - rest_begin);
    for (std::size_t j = 0; j < rest.size(); j += code_point_at(rest, j).bytes) {
      piece.clear();
      append_lower_at(piece, rest, j);
      out.append(piece, text.provenance.trusted_at(rest_begin + j));
    }
    i = end;
  }
  return interpreter.string(out.take());
}

Value filter_trim(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("trim", args, {"chars"});
  return strip(interpreter, soft_string(interpreter, subject).as_string(), given[0], Side::kBoth);
}

Value filter_string(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::positional("string", args, 0, 0);
  return soft_string(interpreter, subject);
}

Value filter_safe(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("safe", args);
  return interpreter.string(to_text(interpreter, subject), true);
}

Value filter_escape(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::positional("escape", args, 0, 0);
  return escape(interpreter, subject);
}

Value filter_forceescape(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("forceescape", args);
  return escape(interpreter, interpreter.string(to_text(interpreter, subject)));
}

Value filter_striptags(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("striptags", args);
  return interpreter.string(strip_tags(interpreter, to_text(interpreter, subject)));
}

Value filter_replace(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("replace", args, {"old", "new", "count"}, 2);
  const Value text = to_plain_string(interpreter, subject);
  const Value old_text = to_plain_string(interpreter, given[0]);
  const Value new_text = to_plain_string(interpreter, given[1]);
  const std::int64_t count = given[2].is_none() ? -1 : given.integer(2, -1);
  return replace(interpreter, text.as_string(), old_text.as_string(), new_text.as_string(), count);
}

Value filter_center(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("center", args, {"width"});
  const Value text = soft_string(interpreter, subject);
  return center(interpreter, text.as_string(), given.integer(0, 80), " ");
}

Value filter_format(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  if (!args.positional.empty() && !args.keywords.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "can't handle positional and keyword arguments at the same time");
  }
  const Value format = soft_string(interpreter, subject);
  if (args.keywords.empty()) {
    return format_percent(interpreter, format, interpreter.tuple(std::move(args.positional)));
  }
  return format_percent(interpreter, format, make_dict(interpreter, args));
}

Value filter_indent(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("indent", args, {"width", "first", "blank"});
  const StringObject& string = require_string(subject, "indent");
  const bool markup = string.markup();
  Text indention;
  if (given[0].is_string()) {
    indention = given[0].as_string().text();
  } else {
    TextBuilder spaces(interpreter.budget());
    spaces.fill(" ", static_cast<std::size_t>(std::max<std::int64_t>(0, given.integer(0, 4))),
                true);
    indention = spaces.take();
  }
  const bool first = given.truth(interpreter, 1, false);
  const bool blank = given.truth(interpreter, 2, false);
  TextBuilder ended(interpreter.budget());
  ended.append(string.text());
  ended.append("\n", true);
  const Value whole = interpreter.string(ended.take(), markup);
  const std::vector<Value> lines = split_lines(interpreter, whole.as_string(), false);
  TextBuilder out(interpreter.budget());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Text& line = lines[i].as_string().text();
    if (i > 0) out.append("\n", true);
    if (i > 0 ? blank || !line.bytes.empty() : first) out.append(indention);
    interpreter.budget().work(line.bytes.size() + indention.bytes.size());
    out.append(line);
  }
  return interpreter.string(out.take(), markup);
}

Value filter_truncate(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("truncate", args, {"length", "killwords", "end", "leeway"});
  const Value end = given.has(2) ? given[2] : interpreter.string("...", true);
  if (!end.is_string() && !end.is_sequence()) {
    fail(ErrorCode::kInvalidArgument, "truncate: end is no string");
  }
  const std::int64_t length = given.integer(0, 255);
  const std::int64_t end_length = *length_of(interpreter, end);
  const std::int64_t leeway = given[3].is_none() ? 5 : given.integer(3, 5);
  if (length < end_length) {
    fail(ErrorCode::kInvalidArgument, "expected length >= {}, got {}", end_length, length);
  }
  if (leeway < 0) fail(ErrorCode::kInvalidArgument, "expected leeway >= 0, got {}", leeway);
  const auto size = length_of(interpreter, subject);
  if (!size) {
    fail(ErrorCode::kInvalidArgument, "object of type '{}' has no len()", type_name(subject));
  }
  if (*size <= length || *size - length <= leeway) return subject;
  const Value cut = slice(interpreter, subject, {}, Value::integer(length - end_length), {});
  if (given.truth(interpreter, 1, false)) return binary(interpreter, BinaryOp::kAdd, cut, end);
  const StringObject& text = require_string(cut, "truncate");
  const std::vector<Value> parts = split_right(interpreter, text, interpreter.string(" ", true), 1);
  return binary(interpreter, BinaryOp::kAdd, parts[0], end);
}

Value filter_wordcount(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("wordcount", args);
  const Value string = soft_string(interpreter, subject);
  const std::string_view text = string.as_string().view();
  interpreter.budget().work(text.size() * 8);
  std::int64_t words = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    const bool word = is_word(point.code);
    words += word && !inside;
    inside = word;
    i += point.bytes;
  }
  return Value::integer(words);
}

Value filter_urlencode(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("urlencode", args);
  if (subject.is_string() || !is_iterable(subject)) {
    return interpreter.string(quoted(interpreter, subject, false), false);
  }
  std::string out;
  const auto add = [&](const Value& key, const Value& value) {
    if (!out.empty()) out.push_back('&');
    out += quoted(interpreter, key, true) + "=" + quoted(interpreter, value, true);
  };
  if (subject.is(Kind::kDict)) {
    for (const auto& [key, value] : subject.as_dict().entries()) add(key, value);
  } else {
    for_each(interpreter, subject, [&](const Value& item) {
      const std::vector<Value> pair = collect(interpreter, item);
      if (pair.size() != 2) fail(ErrorCode::kInvalidArgument, "urlencode: not a pair");
      add(pair[0], pair[1]);
      return true;
    });
  }
  return interpreter.string(std::move(out), false);
}

Value filter_xmlattr(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("xmlattr", args, {"autospace"});
  if (subject.is_undefined()) undefined_error(subject);
  if (!subject.is(Kind::kDict)) {
    fail(ErrorCode::kInvalidArgument, "'{}' object has no attribute 'items'", type_name(subject));
  }
  TextBuilder out(interpreter.budget());
  const bool space = given.truth(interpreter, 0, true);
  for (const auto& [key, value] : subject.as_dict().entries()) {
    if (value.is_none() || value.is_undefined()) continue;
    const StringObject& name = require_string(key, "xmlattr");
    if (name.view().find_first_of(" \t\n\v\f\r/>=") != std::string_view::npos) {
      fail(ErrorCode::kInvalidArgument, "Invalid character in attribute name: '{}'",
           printable(name.view()));
    }
    if (!out.empty() || space) out.append(" ", true);
    out.append(escape(interpreter, key).as_string().text());
    out.append("=\"", true);
    out.append(escape(interpreter, value).as_string().text());
    out.append("\"", true);
  }
  return interpreter.string(out.take());
}

Value filter_pprint(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("pprint", args);
  const Value sorted = sort_keys_deeply(interpreter, subject);
  TextBuilder out(interpreter.budget());
  append_repr(interpreter, out, sorted);
  const bool breakable = subject.is_string() || subject.is_sequence() || subject.is(Kind::kDict);
  if (breakable && count_code_points(out.text().bytes) > 80) {
    fail(ErrorCode::kUnsupported, "pprint of what takes more than one line");
  }
  return interpreter.string(out.take());
}

}  // namespace sampan::jinja
