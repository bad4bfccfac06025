#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

// Python's operations on str, shared by methods and filters. Results keep the provenance of the
// bytes that they are made of, and are Markup where the string is.
namespace sampan::jinja {

class Interpreter;

// A mapping of the character at text[offset], appended to `out`.
using CaseMapping = void (*)(std::string& out, std::string_view text, std::size_t offset);

Value substring(Interpreter& interpreter, const StringObject& string, std::size_t begin,
                std::size_t end);
Value map_case(Interpreter& interpreter, const StringObject& string, CaseMapping mapping);
Value upper_case(Interpreter& interpreter, const StringObject& string);
Value lower_case(Interpreter& interpreter, const StringObject& string);
Value capitalized(Interpreter& interpreter, const StringObject& string);

enum class Side { kBoth, kLeft, kRight };
// Without the characters of `chars` (kMissing or None: whitespace) at its ends. Throws for other
// types.
Value strip(Interpreter& interpreter, const StringObject& string, const Value& chars, Side side);

// At every whitespace, or every `separator` (not empty), `most` times at most (negative: no limit),
// from the left or from the right.
std::vector<Value> split(Interpreter& interpreter, const StringObject& string,
                         const Value& separator, std::int64_t most);
std::vector<Value> split_right(Interpreter& interpreter, const StringObject& string,
                               const Value& separator, std::int64_t most);
std::vector<Value> split_lines(Interpreter& interpreter, const StringObject& string,
                               bool keep_ends);

// `count` replacements at most (negative: no limit).
Value replace(Interpreter& interpreter, const StringObject& string, const StringObject& old_text,
              const StringObject& new_text, std::int64_t count);
Value center(Interpreter& interpreter, const StringObject& string, std::int64_t width,
             std::string_view fill);
// separator.join(items); every item must be a string.
Value join(Interpreter& interpreter, const StringObject& separator, const std::vector<Value>& items,
           bool markup);

}  // namespace sampan::jinja
