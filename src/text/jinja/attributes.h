#pragma once

#include <string_view>

#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;
struct CallArgs;

// object.name of a template: the attribute if there is one, else the item; Undefined where there is
// neither, or where the sandbox refuses the attribute (list.append, x.__class__). Throws for an
// Undefined object.
Value get_attribute(Interpreter& interpreter, const Value& object, std::string_view name);
// object[key] of a template: the item if there is one, else (for strings) the attribute.
Value get_item(Interpreter& interpreter, const Value& object, const Value& key);
// The filter |attr: the attribute only.
Value get_attribute_only(Interpreter& interpreter, const Value& object, std::string_view name);

using MethodFunction = Value (*)(Interpreter& interpreter, const Value& self, CallArgs& args);

struct MethodInfo {
  std::string_view name;
  MethodFunction function;  // null: Python has it, the sandbox forbids it
};

// The method of a value's type, or null. Sources of the tables: string_methods.cpp, methods.cpp.
const MethodInfo* find_method(const Value& self, std::string_view name);
const MethodInfo* find_string_method(std::string_view name);
const MethodInfo* find_markup_method(std::string_view name);

}  // namespace sampan::jinja
