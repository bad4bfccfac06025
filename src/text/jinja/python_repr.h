#pragma once

#include "text/jinja/text.h"
#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;

// Appends Python's str(value): what {{ value }} prints. Strings keep their provenance; numbers are
// trusted where the template made them; everything else counts as the conversation's. Objects that
// Python prints with an address are printed without.
void append_str(Interpreter& interpreter, TextBuilder& out, const Value& value);
// Appends Python's repr(value).
void append_repr(Interpreter& interpreter, TextBuilder& out, const Value& value);

// str(value) as a text, and as a value; a string is itself, Markup becomes plain.
Text to_text(Interpreter& interpreter, const Value& value);
Value to_plain_string(Interpreter& interpreter, const Value& value);
// markupsafe.soft_str: a string, Markup too, is itself; others become str(value).
Value soft_string(Interpreter& interpreter, const Value& value);

// repr() of a str: quotes chosen, unprintable characters escaped.
std::string string_repr(std::string_view text);
// What ascii() makes of a repr(): characters beyond ASCII escaped.
std::string to_ascii(std::string_view repr);

}  // namespace sampan::jinja
