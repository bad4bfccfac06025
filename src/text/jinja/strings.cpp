#include "text/jinja/strings.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

void upper_at(std::string& out, std::string_view text, std::size_t offset) {
  append_upper(out, code_point_at(text, offset).code);
}

void capitalize_at(std::string& out, std::string_view text, std::size_t offset) {
  if (offset == 0) {
    append_title(out, code_point_at(text, offset).code);
  } else {
    append_lower_at(out, text, offset);
  }
}

std::int64_t unlimited(std::int64_t count) {
  return count < 0 ? std::numeric_limits<std::int64_t>::max() : count;
}

const StringObject& separator_text(const Value& separator) {
  if (!separator.is_string()) {
    fail(ErrorCode::kInvalidArgument, "must be str or None, not {}", type_name(separator));
  }
  if (separator.as_string().view().empty()) fail(ErrorCode::kInvalidArgument, "empty separator");
  return separator.as_string();
}

bool no_separator(const Value& separator) { return separator.missing() || separator.is_none(); }

// The end of the run of characters at `offset` that are whitespace (or are not).
std::size_t run_end(std::string_view text, std::size_t offset, bool space) {
  while (offset < text.size()) {
    const CodePoint point = code_point_at(text, offset);
    if (is_space(point.code) != space) break;
    offset += point.bytes;
  }
  return offset;
}

std::size_t run_begin(std::string_view text, std::size_t offset, bool space) {
  while (offset > 0) {
    const std::size_t before = previous_code_point(text, offset);
    if (is_space(code_point_at(text, before).code) != space) break;
    offset = before;
  }
  return offset;
}

class CharacterSet {
 public:
  // kMissing or None: whitespace.
  explicit CharacterSet(const Value& chars) : whitespace_(no_separator(chars)) {
    if (whitespace_) return;
    if (!chars.is_string()) {
      fail(ErrorCode::kInvalidArgument, "strip arg must be None or str");
    }
    const std::string_view text = chars.as_string().view();
    for (std::size_t i = 0; i < text.size();) {
      const CodePoint point = code_point_at(text, i);
      codes_.push_back(point.code);
      i += point.bytes;
    }
    std::sort(codes_.begin(), codes_.end());
  }

  bool contains(char32_t code) const {
    return whitespace_ ? is_space(code) : std::binary_search(codes_.begin(), codes_.end(), code);
  }

 private:
  bool whitespace_;
  std::vector<char32_t> codes_;
};

// '' is replaced before, between and after characters.
Value replace_empty(Interpreter& interpreter, const StringObject& string,
                    const StringObject& new_text, std::int64_t count) {
  TextBuilder out(interpreter.budget());
  const Text& text = string.text();
  std::size_t i = 0;
  while (count-- > 0) {
    interpreter.budget().work(new_text.view().size());
    out.append(new_text.text());
    if (i >= text.bytes.size()) break;
    const std::size_t next = i + code_point_at(text.bytes, i).bytes;
    out.append(text, i, next);
    i = next;
  }
  out.append(text, i, text.bytes.size());
  return interpreter.string(out.take(), string.markup());
}

}  // namespace

Value substring(Interpreter& interpreter, const StringObject& string, std::size_t begin,
                std::size_t end) {
  const std::size_t size = end > begin ? end - begin : 0;
  const bool uniform = string.text().provenance.uniform();
  interpreter.budget().work(uniform ? size : std::min(string.text().cost(), 16 * size));
  return interpreter.string(slice_text(string.text(), begin, end), string.markup());
}

Value map_case(Interpreter& interpreter, const StringObject& string, CaseMapping mapping) {
  const Text& text = string.text();
  interpreter.budget().work(text.bytes.size() * 8);
  if (text.provenance.uniform()) {
    std::string out;
    out.reserve(text.bytes.size());
    for (std::size_t i = 0; i < text.bytes.size(); i += code_point_at(text.bytes, i).bytes) {
      mapping(out, text.bytes, i);
    }
    return interpreter.string(Text{std::move(out), text.provenance}, string.markup());
  }
  TextBuilder out(interpreter.budget());
  std::string piece;
  for (std::size_t i = 0; i < text.bytes.size(); i += code_point_at(text.bytes, i).bytes) {
    piece.clear();
    mapping(piece, text.bytes, i);
    out.append(piece, text.provenance.trusted_at(i));
  }
  return interpreter.string(out.take(), string.markup());
}

Value upper_case(Interpreter& interpreter, const StringObject& string) {
  return map_case(interpreter, string, upper_at);
}

Value lower_case(Interpreter& interpreter, const StringObject& string) {
  return map_case(interpreter, string, append_lower_at);
}

Value capitalized(Interpreter& interpreter, const StringObject& string) {
  return map_case(interpreter, string, capitalize_at);
}

Value strip(Interpreter& interpreter, const StringObject& string, const Value& chars, Side side) {
  const CharacterSet set(chars);
  const std::string_view text = string.view();
  std::size_t begin = 0;
  std::size_t end = text.size();
  while (side != Side::kRight && begin < end) {
    const CodePoint point = code_point_at(text, begin);
    if (!set.contains(point.code)) break;
    begin += point.bytes;
  }
  while (side != Side::kLeft && end > begin) {
    const std::size_t before = previous_code_point(text, end);
    if (!set.contains(code_point_at(text, before).code)) break;
    end = before;
  }
  interpreter.budget().work(text.size());
  return substring(interpreter, string, begin, end);
}

std::vector<Value> split(Interpreter& interpreter, const StringObject& string,
                         const Value& separator, std::int64_t most) {
  most = unlimited(most);
  std::vector<Value> parts;
  const std::string_view text = string.view();
  const auto add = [&](std::size_t begin, std::size_t end) {
    parts.push_back(substring(interpreter, string, begin, end));
  };
  interpreter.budget().work(text.size());
  if (no_separator(separator)) {
    std::size_t begin = run_end(text, 0, true);
    while (begin < text.size()) {
      if (most-- == 0) {
        add(begin, text.size());
        break;
      }
      const std::size_t end = run_end(text, begin, false);
      add(begin, end);
      begin = run_end(text, end, true);
    }
    return parts;
  }
  const std::string_view mark = separator_text(separator).view();
  std::size_t begin = 0;
  while (most-- > 0) {
    const std::size_t at = find_bytes(text, mark, begin);
    if (at == std::string_view::npos) break;
    add(begin, at);
    begin = at + mark.size();
  }
  add(begin, text.size());
  return parts;
}

std::vector<Value> split_right(Interpreter& interpreter, const StringObject& string,
                               const Value& separator, std::int64_t most) {
  most = unlimited(most);
  std::vector<Value> parts;
  const std::string_view text = string.view();
  const auto add = [&](std::size_t begin, std::size_t end) {
    parts.push_back(substring(interpreter, string, begin, end));
  };
  interpreter.budget().work(text.size());
  if (no_separator(separator)) {
    std::size_t end = run_begin(text, text.size(), true);
    while (end > 0) {
      if (most-- == 0) {
        add(0, end);
        break;
      }
      const std::size_t begin = run_begin(text, end, false);
      add(begin, end);
      end = run_begin(text, begin, true);
    }
  } else {
    const std::string_view mark = separator_text(separator).view();
    std::size_t end = text.size();
    while (most-- > 0) {
      if (mark.size() > 16) interpreter.budget().work(end);  // each search reverses the rest
      const std::size_t at = rfind_bytes(text, mark, end);
      if (at == std::string_view::npos) break;
      add(at + mark.size(), end);
      end = at;
    }
    add(0, end);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Value> split_lines(Interpreter& interpreter, const StringObject& string,
                               bool keep_ends) {
  std::vector<Value> lines;
  const std::string_view text = string.view();
  interpreter.budget().work(text.size());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    const std::size_t end = i;
    i += point.bytes;
    if (!is_line_break(point.code)) continue;
    if (point.code == '\r' && i < text.size() && text[i] == '\n') ++i;
    lines.push_back(substring(interpreter, string, begin, keep_ends ? i : end));
    begin = i;
  }
  if (begin < text.size()) lines.push_back(substring(interpreter, string, begin, text.size()));
  return lines;
}

Value replace(Interpreter& interpreter, const StringObject& string, const StringObject& old_text,
              const StringObject& new_text, std::int64_t count) {
  count = unlimited(count);
  const Text& text = string.text();
  interpreter.budget().work(text.bytes.size());
  if (old_text.view().empty()) return replace_empty(interpreter, string, new_text, count);
  TextBuilder out(interpreter.budget());
  std::size_t from = 0;
  while (count-- > 0) {
    const std::size_t at = find_bytes(text.bytes, old_text.view(), from);
    if (at == std::string_view::npos) break;
    interpreter.budget().work(new_text.view().size());
    out.append(text, from, at);
    out.append(new_text.text());
    from = at + old_text.view().size();
  }
  out.append(text, from, text.bytes.size());
  return interpreter.string(out.take(), string.markup());
}

Value center(Interpreter& interpreter, const StringObject& string, std::int64_t width,
             std::string_view fill) {
  const auto length = static_cast<std::int64_t>(string.length());
  TextBuilder out(interpreter.budget());
  if (width <= length) {
    out.append(string.text());
  } else {
    const std::int64_t total = width - length;
    const std::int64_t left = total / 2 + (total & width & 1);
    out.fill(fill, static_cast<std::size_t>(left), true);
    out.append(string.text());
    out.fill(fill, static_cast<std::size_t>(total - left), true);
  }
  interpreter.budget().work(out.size());
  return interpreter.string(out.take(), string.markup());
}

Value join(Interpreter& interpreter, const StringObject& separator, const std::vector<Value>& items,
           bool markup) {
  TextBuilder out(interpreter.budget());
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      fail(ErrorCode::kInvalidArgument, "sequence item {}: expected str instance, {} found", i,
           type_name(items[i]));
    }
    const Value item = markup ? escape(interpreter, items[i]) : items[i];
    interpreter.budget().work(item.as_string().view().size() + separator.view().size());
    if (i > 0) out.append(separator.text());
    out.append(item.as_string().text());
  }
  return interpreter.string(out.take(), markup);
}

}  // namespace sampan::jinja
