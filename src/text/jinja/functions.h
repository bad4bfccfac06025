#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;
struct CallArgs;

// The globals of a chat template: range, dict, namespace, cycler, joiner, lipsum, raise_exception,
// strftime_now. kMissing for another name.
Value global_function(std::string_view name);
Value call_function(Interpreter& interpreter, const Value& function, CallArgs& args);
// The attributes of a global, such as dict.fromkeys; kMissing for none.
Value function_attribute(const Value& function, std::string_view name);
Value call_joiner(Interpreter& interpreter, const Value& joiner, CallArgs& args);

// dict(…) and dict.fromkeys(…) of Python.
Value make_dict(Interpreter& interpreter, CallArgs& args);
Value dict_fromkeys(Interpreter& interpreter, CallArgs& args);

}  // namespace sampan::jinja
