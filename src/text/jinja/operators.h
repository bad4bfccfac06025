#pragma once

#include <cstdint>
#include <optional>

#include "text/jinja/ast.h"
#include "text/jinja/value.h"

// Python's operators over values, with Jinja's Undefined among them. What Python or Jinja refuse
// throws Error kInvalidArgument.
namespace sampan::jinja {

class Interpreter;

// Throws what using an Undefined throws: 'x' is undefined.
[[noreturn]] void undefined_error(const Value& undefined);

bool truthy(Interpreter& interpreter, const Value& value);
// a == b
bool equal(Interpreter& interpreter, const Value& a, const Value& b);
// a < b (op kLt), a > b, a <= b, a >= b; throws where Python finds no order.
bool ordered(Interpreter& interpreter, CompareOp op, const Value& a, const Value& b);
bool compare(Interpreter& interpreter, CompareOp op, const Value& a, const Value& b);
// item in container
bool contains(Interpreter& interpreter, const Value& container, const Value& item);
// len(value), nothing where it has none.
std::optional<std::int64_t> length_of(Interpreter& interpreter, const Value& value);

Value binary(Interpreter& interpreter, BinaryOp op, const Value& a, const Value& b);
Value unary(Interpreter& interpreter, UnaryOp op, const Value& value);

// Where a slice's bounds fall in a sequence of `length` (Python's slice.indices).
struct SliceRange {
  std::int64_t start;
  std::int64_t stop;
  std::int64_t step;
  std::int64_t count;
};
SliceRange resolve_slice(const Value& start, const Value& stop, const Value& step,
                         std::int64_t length);
// value[start:stop:step]; bounds not given are kMissing or None.
Value slice(Interpreter& interpreter, const Value& value, const Value& start, const Value& stop,
            const Value& step);

// Escapes & < > ' " unless the value is Markup already; the result is Markup.
Value escape(Interpreter& interpreter, const Value& value);

}  // namespace sampan::jinja
