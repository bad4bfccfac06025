#pragma once

#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;
struct CallArgs;

// format % arguments: a tuple gives several, a dict the named ones (%(name)s). Text arguments keep
// their provenance, the rest has the format's. Throws Error kInvalidArgument where Python refuses.
Value format_percent(Interpreter& interpreter, const Value& format, const Value& arguments);

// format.format(…), with fields ({0.name[key]!r:>10}), nested specifications and automatic
// numbering.
Value format_braces(Interpreter& interpreter, const Value& format, const CallArgs& args);

// Largest width and precision that either accepts.
inline constexpr std::int64_t kMaxFormatWidth = 1'000'000;

}  // namespace sampan::jinja
