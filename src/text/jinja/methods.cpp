#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "text/jinja/attributes.h"
#include "text/jinja/functions.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/signature.h"

// The methods of everything but str.
namespace sampan::jinja {
namespace {

// Lists, tuples and ranges.

Value index_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("index", args, 1, 3);
  const std::int64_t length = *length_of(interpreter, self);
  const SliceRange part = resolve_slice(given[1], given[2], {}, length);
  const std::vector<Value> items = collect(interpreter, self);
  for (std::int64_t i = part.start; i < part.stop; ++i) {
    const Value& item = items[static_cast<std::size_t>(i)];
    if (item.same_as(given[0]) || equal(interpreter, item, given[0])) return Value::integer(i);
  }
  fail(ErrorCode::kInvalidArgument, "the value to find is not in the {}", type_name(self));
}

Value count_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("count", args, 1, 1);
  std::int64_t count = 0;
  for_each(interpreter, self, [&](const Value& item) {
    count += item.same_as(given[0]) || equal(interpreter, item, given[0]);
    return true;
  });
  return Value::integer(count);
}

Value copy_method(Interpreter&, const Value& self, CallArgs& args) {
  Parameters::positional("copy", args, 0, 0);
  return self;  // nothing can change either
}

// Dicts.

template <ViewObject::What what>
Value view_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("items", args, 0, 0);
  return make_value<ViewObject>(Kind::kView, &interpreter.budget(), what, self);
}

Value get_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("get", args, 1, 2);
  charge_lookup(interpreter.budget(), given[0]);
  require_hashable(given[0]);
  const Value* value = self.as_dict().find(given[0]);
  if (value != nullptr) return *value;
  return given.has(1) ? given[1] : Value::none();
}

Value fromkeys_method(Interpreter& interpreter, const Value&, CallArgs& args) {
  return dict_fromkeys(interpreter, args);
}

Value isdisjoint_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  const auto given = Parameters::positional("isdisjoint", args, 1, 1);
  bool shared = false;
  for_each(interpreter, given[0], [&](const Value& item) {
    shared = contains(interpreter, self, item);
    return !shared;
  });
  return Value::boolean(!shared);
}

// Numbers.

Value bit_length_method(Interpreter&, const Value& self, CallArgs& args) {
  Parameters::positional("bit_length", args, 0, 0);
  return Value::integer(static_cast<std::int64_t>(to_big(self).bit_length()));
}

Value bit_count_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  Parameters::positional("bit_count", args, 0, 0);
  charge_number(interpreter.budget(), self);
  const std::string bits = to_big(self).to_string(2);
  return Value::integer(std::count(bits.begin(), bits.end(), '1'));
}

Value is_integer_method(Interpreter&, const Value& self, CallArgs& args) {
  Parameters::positional("is_integer", args, 0, 0);
  const double value = self.as_float();
  return Value::boolean(std::isfinite(value) && std::floor(value) == value);
}

Value conjugate_method(Interpreter&, const Value& self, CallArgs& args) {
  Parameters::positional("conjugate", args, 0, 0);
  return self.is(Kind::kBool) ? Value::integer(self.as_int()) : self;
}

Value unsupported_method(Interpreter&, const Value& self, CallArgs&) {
  fail(ErrorCode::kUnsupported, "this method of '{}'", type_name(self));
}

// Loops, cyclers.

Value cycle_method(Interpreter&, const Value& self, CallArgs& args) {
  if (!args.keywords.empty() || args.positional.empty()) {
    fail(ErrorCode::kInvalidArgument, "no items for cycling given");
  }
  const auto index = static_cast<std::size_t>(self.as<LoopObject>().index0);
  return args.positional[index % args.positional.size()];
}

Value changed_method(Interpreter& interpreter, const Value& self, CallArgs& args) {
  if (!args.keywords.empty()) {
    fail(ErrorCode::kInvalidArgument, "changed() takes no keyword arguments");
  }
  auto& loop = self.as_mutable<LoopObject>();
  Value now = interpreter.tuple(std::move(args.positional));
  if (!loop.changed.missing() && equal(interpreter, loop.changed, now))
    return Value::boolean(false);
  interpreter.keep_loop(self);
  loop.changed = std::move(now);
  return Value::boolean(true);
}

Value next_method(Interpreter&, const Value& self, CallArgs& args) {
  Parameters::positional("next", args, 0, 0);
  auto& cycler = self.as_mutable<CyclerObject>();
  Value item = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return item;
}

Value reset_method(Interpreter&, const Value& self, CallArgs& args) {
  Parameters::positional("reset", args, 0, 0);
  self.as_mutable<CyclerObject>().position = 0;
  return Value::none();
}

constexpr std::array kListMethods = std::to_array<MethodInfo>({
    {"append", nullptr},
    {"clear", nullptr},
    {"copy", copy_method},
    {"count", count_method},
    {"extend", nullptr},
    {"index", index_method},
    {"insert", nullptr},
    {"pop", nullptr},
    {"remove", nullptr},
    {"reverse", nullptr},
    {"sort", nullptr},
});

constexpr std::array kTupleMethods = std::to_array<MethodInfo>({
    {"count", count_method},
    {"index", index_method},
});

constexpr std::array kDictMethods = std::to_array<MethodInfo>({
    {"clear", nullptr},
    {"copy", copy_method},
    {"fromkeys", fromkeys_method},
    {"get", get_method},
    {"items", view_method<ViewObject::What::kItems>},
    {"keys", view_method<ViewObject::What::kKeys>},
    {"pop", nullptr},
    {"popitem", nullptr},
    {"setdefault", nullptr},
    {"update", nullptr},
    {"values", view_method<ViewObject::What::kValues>},
});

constexpr std::array kViewMethods = std::to_array<MethodInfo>({
    {"isdisjoint", isdisjoint_method},
});

constexpr std::array kIntMethods = std::to_array<MethodInfo>({
    {"as_integer_ratio", unsupported_method},
    {"bit_count", bit_count_method},
    {"bit_length", bit_length_method},
    {"conjugate", conjugate_method},
    {"from_bytes", unsupported_method},
    {"to_bytes", unsupported_method},
});

constexpr std::array kFloatMethods = std::to_array<MethodInfo>({
    {"as_integer_ratio", unsupported_method},
    {"conjugate", conjugate_method},
    {"fromhex", unsupported_method},
    {"hex", unsupported_method},
    {"is_integer", is_integer_method},
});

constexpr std::array kLoopMethods = std::to_array<MethodInfo>({
    {"changed", changed_method},
    {"cycle", cycle_method},
});

constexpr std::array kCyclerMethods = std::to_array<MethodInfo>({
    {"next", next_method},
    {"reset", reset_method},
});

template <std::size_t n>
const MethodInfo* find_in(const std::array<MethodInfo, n>& table, std::string_view name) {
  for (const MethodInfo& method : table) {
    if (method.name == name) return &method;
  }
  return nullptr;
}

}  // namespace

const MethodInfo* find_method(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::kString:
      return self.as_string().markup() ? find_markup_method(name) : find_string_method(name);
    case Kind::kList:
      return find_in(kListMethods, name);
    case Kind::kTuple:
    case Kind::kRange:
      return find_in(kTupleMethods, name);
    case Kind::kDict:
      return find_in(kDictMethods, name);
    case Kind::kView:
      return self.as<ViewObject>().what == ViewObject::What::kValues ? nullptr
                                                                     : find_in(kViewMethods, name);
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kBigInt:
      return find_in(kIntMethods, name);
    case Kind::kFloat:
      return find_in(kFloatMethods, name);
    case Kind::kLoop:
      return find_in(kLoopMethods, name);
    case Kind::kCycler:
      return find_in(kCyclerMethods, name);
    default:
      return nullptr;
  }
}

}  // namespace sampan::jinja
