#pragma once

#include "text/jinja/value.h"

namespace sampan::jinja {

class Interpreter;
class Activation;
struct ForStmt;

// Something that yields values once: what a loop runs over, and what |map, |select and their like
// return.
class IteratorObject : public Object {
 public:
  using Object::Object;
  // Sets `item` to the next value; false at the end. Throws what computing the value throws.
  virtual bool next(Interpreter& interpreter, Value& item) = 0;
};

// An iterator over a value, forwards or (where Python's reversed() can) backwards. Throws Error
// kInvalidArgument for what is not iterable.
Ref<IteratorObject> iterate(Interpreter& interpreter, const Value& value);
Ref<IteratorObject> iterate_reversed(Interpreter& interpreter, const Value& value);
bool is_iterable(const Value& value);
bool is_reversible(const Value& value);

// Calls visit(Value) for every item until it returns false.
template <class Visit>
void for_each(Interpreter& interpreter, const Value& value, Visit&& visit) {
  const Ref<IteratorObject> iterator = iterate(interpreter, value);
  Value item;
  while (iterator->next(interpreter, item)) {
    if (!visit(item)) return;
  }
}

// All items, as list(value) of Python.
std::vector<Value> collect(Interpreter& interpreter, const Value& value);

// The items of `source` for which a loop's `if` holds.
Ref<IteratorObject> filter_loop(Interpreter& interpreter, const ForStmt& loop,
                                Ref<Activation> outer, const Value& source);

// An iterator as a value that a template can hold.
inline Value iterator_value(const Ref<IteratorObject>& iterator) {
  return Value(Kind::kIterator, iterator.get());
}

}  // namespace sampan::jinja
