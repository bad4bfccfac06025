#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja/attributes.h"
#include "text/jinja/filter_functions.h"
#include "text/jinja/format_number.h"
#include "text/jinja/json.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/signature.h"

namespace sampan::jinja {
namespace {

// float(value) of Python; nothing where it raises TypeError or ValueError.
std::optional<double> float_of(const Value& value) {
  if (value.is_undefined()) undefined_error(value);
  if (value.is_number()) return to_double(value);
  if (value.is_string()) return parse_float(value.as_string().view());
  return std::nullopt;
}

double power_of_ten(std::int64_t exponent) { return std::pow(10.0, static_cast<double>(exponent)); }

// math.ceil or math.floor of value * 10**precision, over 10**precision.
Value round_towards(Interpreter& interpreter, const Value& value, std::int64_t precision, bool up) {
  Budget& budget = interpreter.budget();
  const Value unit = precision >= 0 ? arithmetic(budget, Arithmetic::kPower, Value::integer(10),
                                                 Value::integer(precision))
                                    : Value::real(power_of_ten(precision));
  Value scaled = arithmetic(budget, Arithmetic::kMultiply, value, unit);
  if (scaled.is(Kind::kFloat)) {
    const double whole = up ? std::ceil(scaled.as_float()) : std::floor(scaled.as_float());
    scaled = truncate_to_int(budget, whole);
  }
  return arithmetic(budget, Arithmetic::kDivide, scaled, unit);
}

JsonStyle json_style(Interpreter& interpreter, const Parameters& given) {
  JsonStyle style;
  style.ensure_ascii = given.truth(interpreter, 0, false);
  style.sort_keys = given.truth(interpreter, 3, false);
  if (given.has(1) && !given[1].is_none()) {
    style.indented = true;
    style.item_separator = ",";
    if (given[1].is_string()) {
      style.indent = given[1].as_string().view();
    } else {
      const std::int64_t width = std::max<std::int64_t>(0, to_index(given[1]));
      if (width > 1024) fail(ErrorCode::kLimit, "tojson: an indent of {}, 1024 at most", width);
      style.indent.assign(static_cast<std::size_t>(width), ' ');
    }
  }
  if (given.has(2) && !given[2].is_none()) {
    const std::vector<Value> separators = collect(interpreter, given[2]);
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      fail(ErrorCode::kInvalidArgument, "tojson: separators are two strings");
    }
    style.item_separator = separators[0].as_string().view();
    style.key_separator = separators[1].as_string().view();
  }
  return style;
}

}  // namespace

Value filter_abs(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::positional("abs", args, 0, 0);
  if (!subject.is_number()) {
    fail(ErrorCode::kInvalidArgument, "bad operand type for abs(): '{}'", type_name(subject));
  }
  if (subject.is(Kind::kFloat))
    return Value::real(std::fabs(subject.as_float()), subject.trusted());
  const bool negative = compare_numbers(subject, Value::integer(0)) < 0;
  if (negative) return negate(interpreter.budget(), subject);
  return subject.is(Kind::kBool) ? Value::integer(subject.as_int()) : subject;
}

Value filter_attr(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("attr", args, {"name"}, 1);
  if (!given[0].is_string()) {
    fail(ErrorCode::kInvalidArgument, "attribute name must be string, not '{}'",
         type_name(given[0]));
  }
  return get_attribute_only(interpreter, subject, given[0].as_string().view());
}

Value filter_default(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("default", args, {"default_value", "boolean"});
  const bool falsy = given.truth(interpreter, 1, false) && !truthy(interpreter, subject);
  if (!subject.is_undefined() && !falsy) return subject;
  return given.has(0) ? given[0] : interpreter.string("", true);
}

Value filter_length(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::positional("length", args, 0, 0);
  const auto length = length_of(interpreter, subject);
  if (!length) {
    fail(ErrorCode::kInvalidArgument, "object of type '{}' has no len()", type_name(subject));
  }
  return Value::integer(*length);
}

Value filter_int(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("int", args, {"default", "base"});
  Value fallback = given.has(0) ? given[0] : Value::integer(0, true);
  if (subject.is_undefined()) undefined_error(subject);
  if (subject.is_integral()) {
    return subject.is(Kind::kBool) ? Value::integer(subject.as_int()) : subject;
  }
  if (subject.is(Kind::kFloat)) {
    if (std::isnan(subject.as_float())) return fallback;
    return truncate_to_int(interpreter.budget(), subject.as_float());
  }
  if (!subject.is_string()) return fallback;
  const std::string_view text = subject.as_string().view();
  const std::size_t digits = std::min<std::size_t>(text.size(), 5000);  // longer ones are refused
  interpreter.budget().work(text.size() + digits * digits / 32);
  const std::int64_t base = given.integer(1, 10);
  if (base == 0 || (base >= 2 && base <= 36)) {
    if (auto whole = parse_int(text, static_cast<int>(base))) {
      return make_integer(&interpreter.budget(), *whole);
    }
  }
  const auto real = parse_float(text);
  if (!real || !std::isfinite(*real)) return fallback;
  return truncate_to_int(interpreter.budget(), *real);
}

Value filter_float(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("float", args, {"default"});
  if (subject.is_string()) interpreter.budget().work(subject.as_string().view().size());
  if (const auto value = float_of(subject)) return Value::real(*value);
  return given.has(0) ? given[0] : Value::real(0.0, true);
}

Value filter_round(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("round", args, {"precision", "method"});
  const std::string_view method = given.has(1) && given[1].is_string()
                                      ? given[1].as_string().view()
                                      : (given.has(1) ? "?" : "common");
  if (method != "common" && method != "ceil" && method != "floor") {
    fail(ErrorCode::kInvalidArgument, "method must be common, ceil or floor");
  }
  if (subject.is_undefined()) undefined_error(subject);
  if (!subject.is_number()) {
    fail(ErrorCode::kInvalidArgument, "type {} doesn't define __round__ method",
         type_name(subject));
  }
  if (method == "common" && given[0].is_none()) {
    if (!subject.is(Kind::kFloat)) return round_number(interpreter.budget(), subject, 0);
    const Value whole = round_number(interpreter.budget(), subject, 0);
    return truncate_to_int(interpreter.budget(), whole.as_float());
  }
  const std::int64_t precision = given.integer(0, 0);
  if (method == "common") return round_number(interpreter.budget(), subject, precision);
  return round_towards(interpreter, subject, precision, method == "ceil");
}

Value filter_filesizeformat(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("filesizeformat", args, {"binary"});
  const bool binary = given.truth(interpreter, 0, false);
  const auto bytes = float_of(subject);
  if (!bytes) fail(ErrorCode::kInvalidArgument, "could not convert to float");
  const double base = binary ? 1024 : 1000;
  if (*bytes == 1) return interpreter.string("1 Byte", true);
  if (*bytes < base) {
    const Value whole = truncate_to_int(interpreter.budget(), *bytes);
    return interpreter.string(number_text(whole) + " Bytes", false);
  }
  static constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  std::size_t i = 0;
  do {
    unit *= base;
  } while (!(*bytes < unit) && ++i < kPrefixes.size());
  const std::size_t last = std::min(i, kPrefixes.size() - 1);
  NumberStyle style;
  style.type = 'f';
  style.precision = 1;
  const NumberText text = format_float(base * *bytes / unit, style);
  std::string prefix(1, kPrefixes[last]);
  if (binary) prefix = std::string(1, static_cast<char>(prefix[0] & ~0x20)) + "i";
  return interpreter.string(text.sign + text.digits + " " + prefix + "B", false);
}

Value filter_tojson(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  return interpreter.string(dump_json(interpreter, subject, json_style(interpreter, given)), false);
}

Value filter_unsupported(Interpreter&, const Value&, CallArgs&) {
  fail(ErrorCode::kUnsupported, "the filters random, urlize and wordwrap");
}

}  // namespace sampan::jinja
