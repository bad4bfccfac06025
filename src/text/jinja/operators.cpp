#include "text/jinja/operators.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/number.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

[[noreturn]] void unsupported_operands(std::string_view op, const Value& a, const Value& b) {
  fail(ErrorCode::kInvalidArgument, "unsupported operand type(s) for {}: '{}' and '{}'", op,
       type_name(a), type_name(b));
}

constexpr std::string_view symbol(BinaryOp op) {
  constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
  return kSymbols[static_cast<int>(op)];
}

constexpr std::string_view symbol(CompareOp op) {
  constexpr std::string_view kSymbols[] = {"==", "!=", ">", ">=", "<", "<=", "in", "not in"};
  return kSymbols[static_cast<int>(op)];
}

bool equal_items(Interpreter& interpreter, const std::vector<Value>& a,
                 const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].same_as(b[i]) && !equal(interpreter, a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(Interpreter& interpreter, const DictObject& a, const DictObject& b) {
  if (a.entries().size() != b.entries().size()) return false;
  for (const auto& [key, value] : a.entries()) {
    interpreter.budget().step();
    const Value* other = b.find(key);
    if (other == nullptr) return false;
    if (!value.same_as(*other) && !equal(interpreter, value, *other)) return false;
  }
  return true;
}

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  if (a.length != b.length) return false;
  if (a.length == 0) return true;
  return a.start == b.start && (a.length == 1 || a.step == b.step);
}

bool equal_views(Interpreter& interpreter, const ViewObject& a, const ViewObject& b) {
  if (a.what != b.what || a.what == ViewObject::What::kValues) return &a == &b;
  const DictObject& x = a.dict.as_dict();
  const DictObject& y = b.dict.as_dict();
  if (a.what == ViewObject::What::kItems) return equal_dicts(interpreter, x, y);
  if (x.entries().size() != y.entries().size()) return false;
  return std::all_of(x.entries().begin(), x.entries().end(), [&](const auto& entry) {
    interpreter.budget().step();
    return y.find(entry.first) != nullptr;
  });
}

bool ordered_items(Interpreter& interpreter, CompareOp op, const std::vector<Value>& a,
                   const std::vector<Value>& b) {
  const std::size_t common = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (!a[i].same_as(b[i]) && !equal(interpreter, a[i], b[i])) {
      return ordered(interpreter, op, a[i], b[i]);
    }
  }
  return ordered(interpreter, op, Value::integer(static_cast<std::int64_t>(a.size())),
                 Value::integer(static_cast<std::int64_t>(b.size())));
}

bool ordered_by(CompareOp op, int order) {
  switch (op) {
    case CompareOp::kLt:
      return order < 0;
    case CompareOp::kLe:
      return order <= 0;
    case CompareOp::kGt:
      return order > 0;
    default:
      return order >= 0;
  }
}

bool any_equal(Interpreter& interpreter, const std::vector<Value>& items, const Value& wanted) {
  return std::any_of(items.begin(), items.end(), [&](const Value& item) {
    return item.same_as(wanted) || equal(interpreter, item, wanted);
  });
}

bool view_contains(Interpreter& interpreter, const ViewObject& view, const Value& item) {
  const DictObject& dict = view.dict.as_dict();
  if (view.what == ViewObject::What::kKeys) {
    require_hashable(item);
    return dict.find(item) != nullptr;
  }
  if (view.what == ViewObject::What::kValues) {
    return std::any_of(dict.entries().begin(), dict.entries().end(), [&](const auto& entry) {
      return entry.second.same_as(item) || equal(interpreter, entry.second, item);
    });
  }
  if (!item.is(Kind::kTuple) || item.as_sequence().items.size() != 2) return false;
  const auto& pair = item.as_sequence().items;
  require_hashable(pair[0]);
  const Value* value = dict.find(pair[0]);
  return value != nullptr && equal(interpreter, *value, pair[1]);
}

bool range_contains(const RangeObject& range, const Value& item) {
  if (!item.is_number()) return false;
  if (range.length == 0 || is_nan(item)) return false;
  const Value low = Value::integer(std::min(range.start, range.at(range.length - 1)));
  const Value high = Value::integer(std::max(range.start, range.at(range.length - 1)));
  if (compare_numbers(item, low) < 0 || compare_numbers(item, high) > 0) return false;
  std::int64_t whole = 0;
  if (item.is(Kind::kFloat)) {
    whole = static_cast<std::int64_t>(item.as_float());
    if (static_cast<double>(whole) != item.as_float()) return false;
  } else {
    whole = item.as_int();
  }
  return (static_cast<__int128>(whole) - range.start) % range.step == 0;
}

Value add_strings(Interpreter& interpreter, const Value& a, const Value& b) {
  const bool markup = a.as_string().markup() || b.as_string().markup();
  const Value left = markup ? escape(interpreter, a) : a;
  const Value right = markup ? escape(interpreter, b) : b;
  const Text& x = left.as_string().text();
  const Text& y = right.as_string().text();
  interpreter.budget().work(x.cost() + y.cost());
  TextBuilder out(interpreter.budget());
  out.append(x);
  out.append(y);
  return interpreter.string(out.take(), markup);
}

Value add_sequences(Interpreter& interpreter, const Value& a, const Value& b) {
  const auto& x = a.as_sequence().items;
  const auto& y = b.as_sequence().items;
  interpreter.budget().work((x.size() + y.size()) * sizeof(Value));
  std::vector<Value> items;
  items.reserve(x.size() + y.size());
  items.insert(items.end(), x.begin(), x.end());
  items.insert(items.end(), y.begin(), y.end());
  return a.is(Kind::kList) ? interpreter.list(std::move(items))
                           : interpreter.tuple(std::move(items));
}

Value add(Interpreter& interpreter, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) return add_strings(interpreter, a, b);
  if (a.is_sequence() && a.kind() == b.kind()) return add_sequences(interpreter, a, b);
  if (a.is_number() && b.is_number()) {
    return arithmetic(interpreter.budget(), Arithmetic::kAdd, a, b);
  }
  if (a.is_string()) {
    fail(ErrorCode::kInvalidArgument, "can only concatenate str (not \"{}\") to str", type_name(b));
  }
  unsupported_operands("+", a, b);
}

// How often a repetition repeats, checked against the memory that the result takes.
std::size_t repetitions(Interpreter& interpreter, const Value& count, std::size_t bytes) {
  if (count.is(Kind::kBigInt)) {
    fail(ErrorCode::kInvalidArgument, "cannot fit 'int' into an index-sized integer");
  }
  const std::int64_t times = std::max<std::int64_t>(0, to_index(count));
  const std::size_t limit = interpreter.budget().limits().max_memory_bytes;
  if (bytes > 0 && static_cast<std::size_t>(times) > limit / bytes) {
    fail(ErrorCode::kLimit, "{} times {} bytes, {} allowed", times, bytes, limit);
  }
  interpreter.budget().work(static_cast<std::size_t>(times) * bytes);
  return static_cast<std::size_t>(times);
}

Value repeat(Interpreter& interpreter, const Value& value, const Value& count) {
  if (value.is_string()) {
    const Text& text = value.as_string().text();
    std::size_t times = repetitions(interpreter, count, text.bytes.size());
    if (text.bytes.empty()) times = 0;
    TextBuilder out(interpreter.budget());
    for (std::size_t i = 0; i < times; ++i) out.append(text);
    return interpreter.string(out.take(), value.as_string().markup());
  }
  const auto& items = value.as_sequence().items;
  std::size_t times = repetitions(interpreter, count, items.size() * sizeof(Value));
  if (items.empty()) times = 0;
  std::vector<Value> out;
  out.reserve(items.size() * times);
  for (std::size_t i = 0; i < times; ++i) out.insert(out.end(), items.begin(), items.end());
  return value.is(Kind::kList) ? interpreter.list(std::move(out))
                               : interpreter.tuple(std::move(out));
}

Value multiply(Interpreter& interpreter, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return arithmetic(interpreter.budget(), Arithmetic::kMultiply, a, b);
  }
  const auto repeats = [](const Value& value) { return value.is_string() || value.is_sequence(); };
  if (repeats(a) && b.is_integral()) return repeat(interpreter, a, b);
  if (repeats(b) && a.is_integral()) return repeat(interpreter, b, a);
  unsupported_operands("*", a, b);
}

Arithmetic arithmetic_of(BinaryOp op) {
  switch (op) {
    case BinaryOp::kSub:
      return Arithmetic::kSubtract;
    case BinaryOp::kDiv:
      return Arithmetic::kDivide;
    case BinaryOp::kFloorDiv:
      return Arithmetic::kFloorDivide;
    case BinaryOp::kMod:
      return Arithmetic::kModulo;
    default:
      return Arithmetic::kPower;
  }
}

std::int64_t slice_bound(const Value& bound) {
  if (!bound.is_integral()) {
    fail(ErrorCode::kInvalidArgument,
         "slice indices must be integers or None or have an __index__ method");
  }
  return to_index(bound);
}

bool given(const Value& bound) { return !bound.missing() && !bound.is_none(); }

// The step of a sliced range; beyond int64 only where the slice has one item at most, so that no
// item depends on it.
std::int64_t wrapping_product(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

Value slice_string(Interpreter& interpreter, const StringObject& string, const SliceRange& range) {
  const Text& text = string.text();
  if (range.step == 1) {
    const std::size_t begin = string.offset_of(static_cast<std::size_t>(range.start));
    const std::size_t end = string.offset_of(static_cast<std::size_t>(range.start + range.count));
    interpreter.budget().work(end - begin);
    return interpreter.string(slice_text(text, begin, end), string.markup());
  }
  TextBuilder out(interpreter.budget());
  for (std::int64_t i = 0; i < range.count; ++i) {
    interpreter.budget().step();
    const std::size_t begin =
        string.offset_of(static_cast<std::size_t>(range.start + i * range.step));
    out.append(text, begin, begin + code_point_at(text.bytes, begin).bytes);
  }
  return interpreter.string(out.take(), string.markup());
}

Value slice_sequence(Interpreter& interpreter, const Value& value, const SliceRange& range) {
  const auto& items = value.as_sequence().items;
  interpreter.budget().work(static_cast<std::size_t>(range.count) * sizeof(Value));
  std::vector<Value> out;
  out.reserve(static_cast<std::size_t>(range.count));
  for (std::int64_t i = 0; i < range.count; ++i) {
    out.push_back(items[static_cast<std::size_t>(range.start + i * range.step)]);
  }
  return value.is(Kind::kList) ? interpreter.list(std::move(out))
                               : interpreter.tuple(std::move(out));
}

}  // namespace

void undefined_error(const Value& undefined) {
  fail(ErrorCode::kInvalidArgument, "{}",
       undefined.object() == nullptr ? "undefined" : undefined.as<UndefinedObject>().message);
}

std::optional<std::int64_t> length_of(Interpreter& interpreter, const Value& value) {
  switch (value.kind()) {
    case Kind::kString:
      return static_cast<std::int64_t>(value.as_string().length());
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<std::int64_t>(value.as_sequence().items.size());
    case Kind::kDict:
      return static_cast<std::int64_t>(value.as_dict().entries().size());
    case Kind::kView:
      return static_cast<std::int64_t>(value.as<ViewObject>().dict.as_dict().entries().size());
    case Kind::kRange:
      return value.as<RangeObject>().length;
    case Kind::kUndefined:
      return 0;
    case Kind::kLoop:
      return value.as_mutable<LoopObject>().length(interpreter);
    default:
      return std::nullopt;
  }
}

bool truthy(Interpreter& interpreter, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_int() != 0;
    case Kind::kFloat:
      return value.as_float() != 0;
    default:
      return length_of(interpreter, value).value_or(1) != 0;
  }
}

bool equal(Interpreter& interpreter, const Value& a, const Value& b) {
  interpreter.budget().step();
  if (a.is_number() && b.is_number()) {
    return !is_nan(a) && !is_nan(b) && compare_numbers(a, b) == 0;
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      interpreter.budget().work(std::min(a.as_string().view().size(), b.as_string().view().size()));
      return a.as_string().view() == b.as_string().view();
    case Kind::kList:
    case Kind::kTuple:
      return equal_items(interpreter, a.as_sequence().items, b.as_sequence().items);
    case Kind::kDict:
      return equal_dicts(interpreter, a.as_dict(), b.as_dict());
    case Kind::kRange:
      return equal_ranges(a.as<RangeObject>(), b.as<RangeObject>());
    case Kind::kView:
      return equal_views(interpreter, a.as<ViewObject>(), b.as<ViewObject>());
    case Kind::kMethod:
      return a.as<MethodObject>().info == b.as<MethodObject>().info &&
             a.as<MethodObject>().self.same_as(b.as<MethodObject>().self);
    default:
      return a.same_as(b);
  }
}

bool ordered(Interpreter& interpreter, CompareOp op, const Value& a, const Value& b) {
  interpreter.budget().step();
  if (a.is_undefined()) undefined_error(a);
  if (b.is_undefined()) undefined_error(b);
  if (a.is_number() && b.is_number()) {
    return !is_nan(a) && !is_nan(b) && ordered_by(op, compare_numbers(a, b));
  }
  if (a.is_string() && b.is_string()) {
    interpreter.budget().work(std::min(a.as_string().view().size(), b.as_string().view().size()));
    return ordered_by(op, a.as_string().view().compare(b.as_string().view()));
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    return ordered_items(interpreter, op, a.as_sequence().items, b.as_sequence().items);
  }
  fail(ErrorCode::kInvalidArgument, "'{}' not supported between instances of '{}' and '{}'",
       symbol(op), type_name(a), type_name(b));
}

bool compare(Interpreter& interpreter, CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEq:
      return equal(interpreter, a, b);
    case CompareOp::kNe:
      return !equal(interpreter, a, b);
    case CompareOp::kIn:
      return contains(interpreter, b, a);
    case CompareOp::kNotIn:
      return !contains(interpreter, b, a);
    default:
      return ordered(interpreter, op, a, b);
  }
}

bool contains(Interpreter& interpreter, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString: {
      if (!item.is_string()) {
        fail(ErrorCode::kInvalidArgument, "'in <string>' requires string as left operand, not {}",
             type_name(item));
      }
      const std::string_view text = container.as_string().view();
      interpreter.budget().work(text.size());
      return find_bytes(text, item.as_string().view()) != std::string_view::npos;
    }
    case Kind::kList:
    case Kind::kTuple:
      return any_equal(interpreter, container.as_sequence().items, item);
    case Kind::kDict:
      require_hashable(item);
      charge_lookup(interpreter.budget(), item);
      return container.as_dict().find(item) != nullptr;
    case Kind::kView:
      return view_contains(interpreter, container.as<ViewObject>(), item);
    case Kind::kRange:
      return range_contains(container.as<RangeObject>(), item);
    default:
      break;
  }
  if (!is_iterable(container)) {
    fail(ErrorCode::kInvalidArgument, "argument of type '{}' is not iterable",
         type_name(container));
  }
  bool found = false;
  for_each(interpreter, container, [&](const Value& candidate) {
    found = candidate.same_as(item) || equal(interpreter, candidate, item);
    return !found;
  });
  return found;
}

Value binary(Interpreter& interpreter, BinaryOp op, const Value& a, const Value& b) {
  interpreter.budget().step();
  if (op == BinaryOp::kMod && a.is_string()) return format_percent(interpreter, a, b);
  if (a.is_undefined()) undefined_error(a);
  if (b.is_undefined()) undefined_error(b);
  if (op == BinaryOp::kAdd) return add(interpreter, a, b);
  if (op == BinaryOp::kMul) return multiply(interpreter, a, b);
  if (!a.is_number() || !b.is_number()) unsupported_operands(symbol(op), a, b);
  return arithmetic(interpreter.budget(), arithmetic_of(op), a, b);
}

Value unary(Interpreter& interpreter, UnaryOp op, const Value& value) {
  if (op == UnaryOp::kNot) return Value::boolean(!truthy(interpreter, value));
  if (value.is_undefined()) undefined_error(value);
  if (!value.is_number()) {
    fail(ErrorCode::kInvalidArgument, "bad operand type for unary {}: '{}'",
         op == UnaryOp::kNegate ? "-" : "+", type_name(value));
  }
  if (op == UnaryOp::kNegate) return negate(interpreter.budget(), value);
  return value.is(Kind::kBool) ? Value::integer(value.as_int()) : value;
}

SliceRange resolve_slice(const Value& start, const Value& stop, const Value& step,
                         std::int64_t length) {
  SliceRange out{0, 0, 1, 0};
  if (given(step)) {
    out.step = std::max(slice_bound(step), -std::numeric_limits<std::int64_t>::max());
    if (out.step == 0) fail(ErrorCode::kInvalidArgument, "slice step cannot be zero");
  }
  const bool down = out.step < 0;
  const std::int64_t lowest = down ? -1 : 0;
  const std::int64_t highest = down ? length - 1 : length;
  const auto clamp = [&](const Value& bound, std::int64_t otherwise) {
    if (!given(bound)) return otherwise;
    std::int64_t at = slice_bound(bound);
    if (at < 0) at = std::max(at, -length - 1) + length;
    return std::clamp(at, lowest, highest);
  };
  out.start = clamp(start, down ? highest : lowest);
  out.stop = clamp(stop, down ? lowest : highest);
  if (down && out.stop < out.start) {
    out.count = (out.start - out.stop - 1) / -out.step + 1;
  } else if (!down && out.start < out.stop) {
    out.count = (out.stop - out.start - 1) / out.step + 1;
  }
  return out;
}

Value slice(Interpreter& interpreter, const Value& value, const Value& start, const Value& stop,
            const Value& step) {
  if (value.is_undefined()) undefined_error(value);
  const bool sliceable = value.is_string() || value.is_sequence() || value.is(Kind::kRange);
  if (!sliceable) {
    fail(ErrorCode::kInvalidArgument, "'{}' object cannot be sliced", type_name(value));
  }
  const SliceRange range = resolve_slice(start, stop, step, *length_of(interpreter, value));
  if (value.is_string()) return slice_string(interpreter, value.as_string(), range);
  if (value.is_sequence()) return slice_sequence(interpreter, value, range);
  const auto& whole = value.as<RangeObject>();
  return make_value<RangeObject>(Kind::kRange, &interpreter.budget(), whole.at(range.start),
                                 whole.at(range.stop), wrapping_product(whole.step, range.step),
                                 range.count);
}

Value escape(Interpreter& interpreter, const Value& value) {
  if (value.is_string() && value.as_string().markup()) return value;
  const Text text = to_text(interpreter, value);
  interpreter.budget().work(text.bytes.size());
  static constexpr std::string_view kSpecial = "&<>'\"";
  static constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
  TextBuilder out(interpreter.budget());
  std::size_t from = 0;
  while (true) {
    const std::size_t at = text.bytes.find_first_of(kSpecial, from);
    out.append(text, from, std::min(at, text.bytes.size()));
    if (at == std::string::npos) break;
    out.append(kEntities[kSpecial.find(text.bytes[at])], text.provenance.trusted_at(at));
    from = at + 1;
  }
  return interpreter.string(out.take(), true);
}

}  // namespace sampan::jinja
