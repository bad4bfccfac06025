#include "text/jinja/attributes.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/functions.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"

namespace sampan::jinja {
namespace {

// What Python's getattr finds: nothing (kMissing), a value, or one that the sandbox hides.
struct Found {
  Value value;
  bool hidden = false;
};

Found found(Value value) { return {std::move(value), false}; }
Found hidden() { return {Value::none(), true}; }

// The attributes of every Python object that a template could name.
bool is_object_attribute(std::string_view name) {
  static constexpr std::array kNames = std::to_array<std::string_view>(
      {"__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
       "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
       "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
       "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
       "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"});
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

Found number_attribute(const Value& number, std::string_view name) {
  const bool is_float = number.is(Kind::kFloat);
  const Value whole = number.is(Kind::kBool) ? Value::integer(number.as_int()) : number;
  if (name == "real") return found(whole);
  if (name == "imag") return found(is_float ? Value::real(0) : Value::integer(0));
  if (!is_float && name == "numerator") return found(whole);
  if (!is_float && name == "denominator") return found(Value::integer(1));
  return {};
}

Value parameter_names(Interpreter& interpreter, const MacroFunction& function) {
  std::vector<Value> names;
  for (const auto& parameter : function.parameters) {
    names.push_back(interpreter.string(parameter->name, true));
  }
  return interpreter.tuple(std::move(names));
}

Found macro_attribute(Interpreter& interpreter, const MacroObject& macro, std::string_view name) {
  const MacroFunction& function = *macro.function;
  if (name == "name") {
    return found(function.name.empty() ? Value::none() : interpreter.string(function.name, true));
  }
  if (name == "arguments") return found(parameter_names(interpreter, function));
  if (name == "catch_kwargs") return found(Value::boolean(function.uses_keywords));
  if (name == "catch_varargs") return found(Value::boolean(function.uses_positional));
  if (name == "caller") return found(Value::boolean(function.uses_caller));
  if (name == "explicit_caller") return found(Value::boolean(function.explicit_caller));
  return {};
}

Value outside(Interpreter& interpreter, const Value& item, const char* message) {
  return item.missing() ? interpreter.undefined(message) : item;
}

Found loop_attribute(Interpreter& interpreter, const Value& value, std::string_view name) {
  auto& loop = value.as_mutable<LoopObject>();
  const auto number = [](std::int64_t n) { return found(Value::integer(n, true)); };
  if (name == "index") return number(loop.index0 + 1);
  if (name == "index0") return number(loop.index0);
  if (name == "first") return found(Value::boolean(loop.index0 == 0));
  if (name == "last") return found(Value::boolean(loop.peek(interpreter).missing()));
  if (name == "length") return number(loop.length(interpreter));
  if (name == "revindex") return number(loop.length(interpreter) - loop.index0);
  if (name == "revindex0") return number(loop.length(interpreter) - loop.index0 - 1);
  if (name == "depth") return number(loop.depth0 + 1);
  if (name == "depth0") return number(loop.depth0);
  if (name == "previtem") {
    return found(loop.index0 == 0 ? interpreter.undefined("there is no previous item")
                                  : outside(interpreter, loop.before, "there is no previous item"));
  }
  if (name == "nextitem") {
    return found(outside(interpreter, loop.peek(interpreter), "there is no next item"));
  }
  return {};
}

Found cycler_attribute(Interpreter& interpreter, const Value& value, std::string_view name) {
  const auto& cycler = value.as<CyclerObject>();
  if (name == "current") return found(cycler.items[cycler.position]);
  if (name == "items") return found(interpreter.tuple(cycler.items));
  if (name == "pos") return found(Value::integer(static_cast<std::int64_t>(cycler.position), true));
  return {};
}

Found joiner_attribute(const Value& value, std::string_view name) {
  const auto& joiner = value.as<JoinerObject>();
  if (name == "sep") return found(joiner.separator);
  if (name == "used") return found(Value::boolean(joiner.used));
  return {};
}

Found special_attribute(Interpreter& interpreter, const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kBigInt:
    case Kind::kFloat:
      return number_attribute(object, name);
    case Kind::kTuple: {
      const auto& tuple = object.as_sequence();
      if (tuple.group && name == "grouper") return found(tuple.items[0]);
      if (tuple.group && name == "list") return found(tuple.items[1]);
      return {};
    }
    case Kind::kRange: {
      const auto& range = object.as<RangeObject>();
      if (name == "start") return found(Value::integer(range.start));
      if (name == "stop") return found(Value::integer(range.stop));
      if (name == "step") return found(Value::integer(range.step));
      return {};
    }
    case Kind::kView:
      return name == "mapping" ? found(object.as<ViewObject>().dict) : Found{};
    case Kind::kNamespace: {
      const Value* value = object.as<NamespaceObject>().find(name);
      return value == nullptr ? Found{} : found(*value);
    }
    case Kind::kMacro:
      return macro_attribute(interpreter, object.as<MacroObject>(), name);
    case Kind::kLoop:
      return loop_attribute(interpreter, object, name);
    case Kind::kCycler:
      return cycler_attribute(interpreter, object, name);
    case Kind::kJoiner:
      return joiner_attribute(object, name);
    case Kind::kFunction:
      return found(function_attribute(object, name));
    default:
      return {};
  }
}

Found python_attribute(Interpreter& interpreter, const Value& object, std::string_view name) {
  const bool is_namespace = object.is(Kind::kNamespace);
  if (!is_namespace && is_object_attribute(name)) return hidden();
  if (const MethodInfo* method = find_method(object, name)) {
    if (method->function == nullptr) return hidden();
    return found(make_value<MethodObject>(Kind::kMethod, &interpreter.budget(), object, method));
  }
  return special_attribute(interpreter, object, name);
}

std::string object_name(const Value& object) {
  return object.is_none() ? "None" : std::string(type_name(object)) + " object";
}

Value no_attribute(Interpreter& interpreter, const Value& object, std::string_view name) {
  return interpreter.undefined("'" + object_name(object) + "' has no attribute '" +
                               printable(name) + "'");
}

Value unsafe_attribute(Interpreter& interpreter, const Value& object, std::string_view name) {
  return interpreter.undefined("access to attribute '" + printable(name) + "' of '" +
                               type_name(object) + "' object is unsafe.");
}

// The item of a sequence at a Python index, or kMissing.
Value item_at(Interpreter& interpreter, const Value& object, const Value& key) {
  if (!key.is_integral() || key.is(Kind::kBigInt)) return {};
  const std::int64_t length = *length_of(interpreter, object);
  std::int64_t index = key.as_int();
  if (index < 0) index += length;
  if (index < 0 || index >= length) return {};
  const auto at = static_cast<std::size_t>(index);
  if (object.is_sequence()) return object.as_sequence().items[at];
  if (object.is(Kind::kRange)) return Value::integer(object.as<RangeObject>().at(index));
  const StringObject& string = object.as_string();
  return interpreter.string(
      slice_text(string.text(), string.offset_of(at), string.offset_of(at + 1)), string.markup());
}

bool hashable(const Value& key) {
  if (key.is(Kind::kTuple)) {
    const auto& items = key.as_sequence().items;
    return std::all_of(items.begin(), items.end(), hashable);
  }
  return !key.is(Kind::kList) && !key.is(Kind::kDict) && !key.is(Kind::kView);
}

// Python's object[key], kMissing for a TypeError or LookupError.
Value python_item(Interpreter& interpreter, const Value& object, const Value& key) {
  switch (object.kind()) {
    case Kind::kUndefined:
      undefined_error(object);
    case Kind::kDict: {
      if (!hashable(key)) return {};
      charge_lookup(interpreter.budget(), key);
      const Value* value = object.as_dict().find(key);
      return value == nullptr ? Value() : *value;
    }
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
      return item_at(interpreter, object, key);
    default:
      return {};
  }
}

}  // namespace

Value get_attribute(Interpreter& interpreter, const Value& object, std::string_view name) {
  interpreter.budget().step();
  Found attribute = python_attribute(interpreter, object, name);
  if (attribute.hidden) return unsafe_attribute(interpreter, object, name);
  if (object.is_undefined()) undefined_error(object);
  if (!attribute.value.missing()) return std::move(attribute.value);
  if (object.is(Kind::kDict)) {
    if (const Value* item = object.as_dict().find(name)) return *item;
  }
  return no_attribute(interpreter, object, name);
}

Value get_attribute_only(Interpreter& interpreter, const Value& object, std::string_view name) {
  interpreter.budget().step();
  Found attribute = python_attribute(interpreter, object, name);
  if (attribute.hidden) return unsafe_attribute(interpreter, object, name);
  if (object.is_undefined()) undefined_error(object);
  if (!attribute.value.missing()) return std::move(attribute.value);
  return no_attribute(interpreter, object, name);
}

Value get_item(Interpreter& interpreter, const Value& object, const Value& key) {
  interpreter.budget().step();
  Value item = python_item(interpreter, object, key);
  if (!item.missing()) return item;
  if (!key.is_string()) {
    const std::string shown = key.is(Kind::kInt) ? number_text(key) : "of that kind";
    return interpreter.undefined(object_name(object) + " has no element " + shown);
  }
  const std::string_view name = key.as_string().view();
  Found attribute = python_attribute(interpreter, object, name);
  if (attribute.hidden) return unsafe_attribute(interpreter, object, name);
  if (!attribute.value.missing()) return std::move(attribute.value);
  return no_attribute(interpreter, object, name);
}

}  // namespace sampan::jinja
