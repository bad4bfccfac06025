#include "text/jinja/tests.h"

#include <array>

#include "base/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/iterators.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/signature.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

using Check = bool (*)(Interpreter& interpreter, const Value& value);

// A test without arguments.
template <Check check>
bool simple(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("test", args);
  return check(interpreter, subject);
}

bool is_defined(Interpreter&, const Value& value) { return !value.is_undefined(); }
bool is_undefined(Interpreter&, const Value& value) { return value.is_undefined(); }
bool is_none(Interpreter&, const Value& value) { return value.is_none(); }
bool is_boolean(Interpreter&, const Value& value) { return value.is(Kind::kBool); }
bool is_true(Interpreter&, const Value& value) { return value.is(Kind::kBool) && value.as_bool(); }
bool is_false(Interpreter&, const Value& value) {
  return value.is(Kind::kBool) && !value.as_bool();
}
bool is_integer(Interpreter&, const Value& value) {
  return value.is_integral() && !value.is(Kind::kBool);
}
bool is_float(Interpreter&, const Value& value) { return value.is(Kind::kFloat); }
bool is_number(Interpreter&, const Value& value) { return value.is_number(); }
bool is_string(Interpreter&, const Value& value) { return value.is_string(); }
bool is_mapping(Interpreter&, const Value& value) { return value.is(Kind::kDict); }
bool is_escaped(Interpreter&, const Value& value) {
  return value.is_string() && value.as_string().markup();
}
bool is_sequence(Interpreter&, const Value& value) {
  return value.is_string() || value.is_sequence() || value.is(Kind::kDict) ||
         value.is(Kind::kRange) || value.is_undefined();
}
bool is_iterable_value(Interpreter&, const Value& value) { return is_iterable(value); }
bool is_callable(Interpreter&, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kFunction:
    case Kind::kMacro:
    case Kind::kLoop:
    case Kind::kMethod:
    case Kind::kJoiner:
      return true;
    default:
      return false;
  }
}

bool remainder_is(Interpreter& interpreter, const Value& value, const Value& divisor,
                  std::int64_t wanted) {
  const Value remainder = binary(interpreter, BinaryOp::kMod, value, divisor);
  return equal(interpreter, remainder, Value::integer(wanted));
}

bool is_odd(Interpreter& interpreter, const Value& value) {
  return remainder_is(interpreter, value, Value::integer(2), 1);
}
bool is_even(Interpreter& interpreter, const Value& value) {
  return remainder_is(interpreter, value, Value::integer(2), 0);
}

bool is_divisible_by(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("divisibleby", args, {"num"}, 1);
  return remainder_is(interpreter, subject, given[0], 0);
}

template <bool (*wanted)(char32_t), bool (*forbidden)(char32_t)>
bool is_cased(Interpreter& interpreter, const Value& value) {
  const Text text = to_text(interpreter, value);
  interpreter.budget().work(text.bytes.size() * 4);
  bool found = false;
  for (std::size_t i = 0; i < text.bytes.size();) {
    const CodePoint point = code_point_at(text.bytes, i);
    if (forbidden(point.code) || is_title(point.code)) return false;
    found = found || wanted(point.code);
    i += point.bytes;
  }
  return found;
}

bool is_filter(Interpreter&, const Value& value) {
  require_hashable(value);
  return value.is_string() && find_filter(value.as_string().view()) != nullptr;
}

bool is_test(Interpreter&, const Value& value) {
  require_hashable(value);
  return value.is_string() && find_test(value.as_string().view()) != nullptr;
}

bool is_same_as(Interpreter&, const Value& subject, CallArgs& args) {
  const Parameters given("sameas", args, {"other"}, 1);
  const Value& other = given[0];
  if (subject.same_as(other)) return true;
  // Python keeps one object of every one-character and empty string.
  if (!subject.is_string() || !other.is_string()) return false;
  const std::string_view text = subject.as_string().view();
  return text == other.as_string().view() && subject.as_string().length() <= 1;
}

bool is_in(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("in", args, {"seq"}, 1);
  return contains(interpreter, given[0], subject);
}

template <CompareOp op>
bool compares(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const auto given = Parameters::positional("comparison", args, 1, 1);
  return compare(interpreter, op, subject, given[0]);
}

constexpr std::array kTests = std::to_array<TestInfo>({
    {"!=", compares<CompareOp::kNe>},
    {"<", compares<CompareOp::kLt>},
    {"<=", compares<CompareOp::kLe>},
    {"==", compares<CompareOp::kEq>},
    {">", compares<CompareOp::kGt>},
    {">=", compares<CompareOp::kGe>},
    {"boolean", simple<is_boolean>},
    {"callable", simple<is_callable>},
    {"defined", simple<is_defined>},
    {"divisibleby", is_divisible_by},
    {"eq", compares<CompareOp::kEq>},
    {"equalto", compares<CompareOp::kEq>},
    {"escaped", simple<is_escaped>},
    {"even", simple<is_even>},
    {"false", simple<is_false>},
    {"filter", simple<is_filter>},
    {"float", simple<is_float>},
    {"ge", compares<CompareOp::kGe>},
    {"greaterthan", compares<CompareOp::kGt>},
    {"gt", compares<CompareOp::kGt>},
    {"in", is_in},
    {"integer", simple<is_integer>},
    {"iterable", simple<is_iterable_value>},
    {"le", compares<CompareOp::kLe>},
    {"lessthan", compares<CompareOp::kLt>},
    {"lower", simple<is_cased<is_lower, is_upper>>},
    {"lt", compares<CompareOp::kLt>},
    {"mapping", simple<is_mapping>},
    {"ne", compares<CompareOp::kNe>},
    {"none", simple<is_none>},
    {"number", simple<is_number>},
    {"odd", simple<is_odd>},
    {"sameas", is_same_as},
    {"sequence", simple<is_sequence>},
    {"string", simple<is_string>},
    {"test", simple<is_test>},
    {"true", simple<is_true>},
    {"undefined", simple<is_undefined>},
    {"upper", simple<is_cased<is_upper, is_lower>>},
});

}  // namespace

const TestInfo* find_test(std::string_view name) {
  for (const TestInfo& test : kTests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

}  // namespace sampan::jinja
