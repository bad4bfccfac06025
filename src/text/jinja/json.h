#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;

// Parses JSON as Python's json.loads does: integers of any size stay exact, NaN and Infinity are
// read, of equal keys the first's place and the last's value count. Strings are marked `trusted` or
// not. `budget` may be null. Throws Error kInvalidData ("NAME: byte 12: …") for what is no JSON, a
// lone surrogate (which Python keeps but nothing can encode) or broken UTF-8, and kLimit beyond 200
// levels.
Value parse_json(Budget* budget, std::string_view text, bool trusted, const char* name);

// How json.dumps writes.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;  // of one level, where indented
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps(value). Throws Error kInvalidArgument for what JSON has no form for.
std::string dump_json(Interpreter& interpreter, const Value& value, const JsonStyle& style);

}  // namespace sampan::jinja
