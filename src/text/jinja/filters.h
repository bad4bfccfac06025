#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;
struct CallArgs;

// subject|name(args)
using FilterFunction = Value (*)(Interpreter& interpreter, const Value& subject, CallArgs& args);

struct FilterInfo {
  std::string_view name;
  FilterFunction function;
};

// The filter of that name, or null. All filters of Jinja 3.1 exist; those that are random or depend
// on a text layout library of Python (random, urlize, wordwrap) throw Error kUnsupported when they
// run.
const FilterInfo* find_filter(std::string_view name);

}  // namespace sampan::jinja
