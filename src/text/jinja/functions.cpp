#include "text/jinja/functions.h"

#include <array>
#include <optional>

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/signature.h"
#include "text/jinja/strftime.h"

namespace sampan::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100'000;         // Jinja's sandbox sets this one
constexpr std::int64_t kMaxRangeBound = 1ll << 40;  // so that no item overflows

enum FunctionId : std::int64_t {
  kRangeFunction,
  kDictFunction,
  kFromkeysFunction,
  kNamespaceFunction,
  kCyclerFunction,
  kJoinerFunction,
  kLipsumFunction,
  kRaiseFunction,
  kStrftimeFunction,
};

struct Global {
  std::string_view name;
  FunctionId id;
};

constexpr std::array kGlobals = std::to_array<Global>({
    {"range", kRangeFunction},
    {"dict", kDictFunction},
    {"namespace", kNamespaceFunction},
    {"cycler", kCyclerFunction},
    {"joiner", kJoinerFunction},
    {"lipsum", kLipsumFunction},
    {"raise_exception", kRaiseFunction},
    {"strftime_now", kStrftimeFunction},
});

std::int64_t range_bound(const Value& value) {
  if (value.is_undefined()) undefined_error(value);
  const std::int64_t bound = to_index(value);
  if (bound > kMaxRangeBound || bound < -kMaxRangeBound) {
    fail(ErrorCode::kLimit, "range() of {}, {} at most", bound, kMaxRangeBound);
  }
  return bound;
}

Value make_range(Interpreter& interpreter, CallArgs& args) {
  const auto given = Parameters::positional("range", args, 1, 3);
  const std::int64_t start = given.has(1) ? range_bound(given[0]) : 0;
  const std::int64_t stop = range_bound(given[given.has(1) ? 1 : 0]);
  const std::int64_t step = given.has(2) ? range_bound(given[2]) : 1;
  if (step == 0) fail(ErrorCode::kInvalidArgument, "range() arg 3 must not be zero");
  std::int64_t length = 0;
  if (step > 0 && start < stop) length = (stop - start - 1) / step + 1;
  if (step < 0 && start > stop) length = (start - stop - 1) / -step + 1;
  if (length > kMaxRange) {
    fail(ErrorCode::kLimit, "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
         kMaxRange);
  }
  return make_value<RangeObject>(Kind::kRange, &interpreter.budget(), start, stop, step, length);
}

Value make_cycler(Interpreter& interpreter, CallArgs& args) {
  if (!args.keywords.empty()) {
    fail(ErrorCode::kInvalidArgument, "cycler() takes no keyword arguments");
  }
  if (args.positional.empty()) {
    fail(ErrorCode::kInvalidArgument, "at least one item has to be provided");
  }
  return make_value<CyclerObject>(Kind::kCycler, &interpreter.budget(), std::move(args.positional));
}

Value make_joiner(Interpreter& interpreter, CallArgs& args) {
  const Parameters given("joiner", args, {"sep"});
  return make_value<JoinerObject>(Kind::kJoiner, &interpreter.budget(),
                                  given.has(0) ? given[0] : interpreter.string(", ", true));
}

[[noreturn]] void raise_exception(Interpreter& interpreter, CallArgs& args) {
  const Parameters given("raise_exception", args, {"message"}, 1);
  fail(ErrorCode::kInvalidArgument, "{}", to_text(interpreter, given[0]).bytes);
}

Value strftime_now(Interpreter& interpreter, CallArgs& args) {
  const Parameters given("strftime_now", args, {"format"}, 1);
  const Text& format = given.string(0).text();
  interpreter.budget().work(format.bytes.size() * 16);
  const bool trusted = format.provenance.uniform() && format.provenance.first();
  return interpreter.string(format_time(format.bytes, interpreter.clock()()), trusted);
}

// Key and value of an item that dict() is made of.
DictObject::Entry pair_of(Interpreter& interpreter, const Value& item, std::size_t index) {
  if (!is_iterable(item)) {
    fail(ErrorCode::kInvalidArgument,
         "cannot convert dictionary update sequence element #{} to a sequence", index);
  }
  std::vector<Value> parts = collect(interpreter, item);
  if (parts.size() != 2) {
    fail(ErrorCode::kInvalidArgument,
         "dictionary update sequence element #{} has length {}; 2 is required", index,
         parts.size());
  }
  require_hashable(parts[0]);
  return {std::move(parts[0]), std::move(parts[1])};
}

}  // namespace

Value make_dict(Interpreter& interpreter, CallArgs& args) {
  if (args.positional.size() > 1) {
    fail(ErrorCode::kInvalidArgument, "dict expected at most 1 argument, got {}",
         args.positional.size());
  }
  std::vector<DictObject::Entry> entries;
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    // dict() asks an object for its keys(), and any question is too much for an Undefined.
    if (from.is_undefined()) undefined_error(from);
    if (from.is(Kind::kDict)) {
      entries = from.as_dict().entries();
    } else {
      for_each(interpreter, from, [&](const Value& item) {
        entries.push_back(pair_of(interpreter, item, entries.size()));
        return true;
      });
    }
  }
  for (auto& [key, value] : args.keywords) {
    entries.emplace_back(interpreter.string(key, true), std::move(value));
  }
  return interpreter.dict(std::move(entries));
}

Value dict_fromkeys(Interpreter& interpreter, CallArgs& args) {
  const auto given = Parameters::positional("fromkeys", args, 1, 2);
  std::vector<DictObject::Entry> entries;
  for_each(interpreter, given[0], [&](const Value& key) {
    require_hashable(key);
    entries.emplace_back(key, given.has(1) ? given[1] : Value::none());
    return true;
  });
  return interpreter.dict(std::move(entries));
}

Value global_function(std::string_view name) {
  for (const auto& [known, id] : kGlobals) {
    if (known == name) return Value::function(id);
  }
  return {};
}

Value function_attribute(const Value& function, std::string_view name) {
  if (function.as_int() == kDictFunction && name == "fromkeys") {
    return Value::function(kFromkeysFunction);
  }
  return {};
}

Value call_function(Interpreter& interpreter, const Value& function, CallArgs& args) {
  switch (static_cast<FunctionId>(function.as_int())) {
    case kRangeFunction:
      return make_range(interpreter, args);
    case kDictFunction:
      return make_dict(interpreter, args);
    case kFromkeysFunction:
      return dict_fromkeys(interpreter, args);
    case kNamespaceFunction:
      return interpreter.make_namespace(std::move(args));
    case kCyclerFunction:
      return make_cycler(interpreter, args);
    case kJoinerFunction:
      return make_joiner(interpreter, args);
    case kLipsumFunction:
      fail(ErrorCode::kUnsupported, "lipsum(), which is random");
    case kRaiseFunction:
      raise_exception(interpreter, args);
    case kStrftimeFunction:
      return strftime_now(interpreter, args);
  }
  return Value::none();
}

Value call_joiner(Interpreter& interpreter, const Value& joiner, CallArgs& args) {
  Parameters::positional("joiner", args, 0, 0);
  auto& object = joiner.as_mutable<JoinerObject>();
  if (object.used) return object.separator;
  object.used = true;
  return interpreter.string("", true);
}

}  // namespace sampan::jinja
