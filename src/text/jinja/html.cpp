#include "text/jinja/html.h"

#include <array>
#include <string>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

struct Entity {
  std::string_view name;
  std::string_view text;
};

constexpr std::array kEntities = std::to_array<Entity>({{"amp;", "&"},
                                                        {"lt;", "<"},
                                                        {"gt;", ">"},
                                                        {"quot;", "\""},
                                                        {"apos;", "'"},
                                                        {"nbsp;", "\u00A0"}});

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The number of a reference such as #39; or #x27; in `digits` (what follows "#"); the bytes used, 0
// for none.
std::size_t numeric_reference(std::string_view digits, std::string& out) {
  const bool hex = !digits.empty() && (digits[0] == 'x' || digits[0] == 'X');
  const std::string_view allowed = hex ? "0123456789abcdefABCDEF" : "0123456789";
  const std::size_t begin = hex ? 1 : 0;
  std::size_t end = begin;
  char32_t code = 0;
  while (end < digits.size() && allowed.find(digits[end]) != kNone) {
    const char c = digits[end++];
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    code = std::min<char32_t>(code * (hex ? 16 : 10) + static_cast<char32_t>(digit), 0x110000);
  }
  if (end == begin) return 0;
  if (code >= 0x80 && code <= 0x9F) {
    fail(ErrorCode::kUnsupported, "a character reference to a control character");
  }
  const bool bad = code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF);
  append_utf8(out, bad ? 0xFFFD : code);
  return end + (end < digits.size() && digits[end] == ';');
}

}  // namespace

Text unescape_html(Interpreter& interpreter, const Text& text) {
  const std::string_view bytes = text.bytes;
  interpreter.budget().work(bytes.size());
  TextBuilder out(interpreter.budget());
  std::size_t from = 0;
  while (true) {
    const std::size_t at = bytes.find('&', from);
    if (at == kNone) break;
    out.append(text, from, at);
    const std::string_view rest = bytes.substr(at + 1);
    const bool trusted = text.provenance.trusted_at(at);
    from = at + 1;
    std::string character;
    if (!rest.empty() && rest[0] == '#') {
      const std::size_t used = numeric_reference(rest.substr(1), character);
      if (used > 0) {
        out.append(character, trusted);
        from += 1 + used;
        continue;
      }
    }
    const Entity* match = nullptr;
    for (const Entity& entity : kEntities) {
      if (rest.starts_with(entity.name)) match = &entity;
    }
    if (match != nullptr) {
      out.append(match->text, trusted);
      from += match->name.size();
    } else if (!rest.empty() && is_name_char(rest[0])) {
      fail(ErrorCode::kUnsupported, "the character reference &{}", printable(rest, 12));
    } else {
      out.append(text, at, at + 1);
    }
  }
  out.append(text, from, bytes.size());
  return out.take();
}

Text strip_tags(Interpreter& interpreter, const Text& text) {
  const std::string_view bytes = text.bytes;
  interpreter.budget().work(bytes.size() * 2);
  TextBuilder bare(interpreter.budget());
  std::size_t from = 0;
  for (std::size_t open = bytes.find('<'); open != kNone; open = bytes.find('<', from)) {
    const bool comment = bytes.substr(open).starts_with("<!--");
    const std::size_t close = comment ? bytes.find("-->", open + 4) : bytes.find('>', open);
    if (close == kNone) break;
    bare.append(text, from, open);
    from = close + (comment ? 3 : 1);
  }
  bare.append(text, from, bytes.size());
  const Text joined = bare.take();
  TextBuilder out(interpreter.budget());
  bool pending = false;
  for (std::size_t i = 0; i < joined.bytes.size();) {
    const CodePoint point = code_point_at(joined.bytes, i);
    if (is_space(point.code)) {
      pending = !out.empty();
    } else {
      if (pending) out.append(" ", true);
      pending = false;
      out.append(joined, i, i + point.bytes);
    }
    i += point.bytes;
  }
  return unescape_html(interpreter, out.take());
}

}  // namespace sampan::jinja
