#include "text/jinja/iterators.h"

#include "base/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

// Over what has a length and an n-th item.
class IndexedIterator final : public IteratorObject {
 public:
  IndexedIterator(Budget* budget, const Value& over, std::int64_t length, bool backwards)
      : IteratorObject(budget, sizeof(*this), nest_depth(over)),
        value_(over),
        length_(length),
        backwards_(backwards) {}

  bool next(Interpreter& interpreter, Value& item) override {
    interpreter.budget().step();
    if (position_ >= length_) return false;
    const std::int64_t index = backwards_ ? length_ - 1 - position_ : position_;
    ++position_;
    item = at(interpreter, index);
    return true;
  }

 private:
  Value at(Interpreter& interpreter, std::int64_t index) const {
    const auto i = static_cast<std::size_t>(index);
    if (value_.is_sequence()) return value_.as_sequence().items[i];
    if (value_.is(Kind::kRange)) return Value::integer(value_.as<RangeObject>().at(index), true);
    const bool is_view = value_.is(Kind::kView);
    const auto what = is_view ? value_.as<ViewObject>().what : ViewObject::What::kKeys;
    const Value& dict = is_view ? value_.as<ViewObject>().dict : value_;
    const auto& [key, entry] = dict.as_dict().entries()[i];
    if (what == ViewObject::What::kKeys) return key;
    if (what == ViewObject::What::kValues) return entry;
    return interpreter.tuple({key, entry});
  }

  const Value value_;
  const std::int64_t length_;
  const bool backwards_;
  std::int64_t position_ = 0;
};

// Over the characters of a string.
class StringIterator final : public IteratorObject {
 public:
  StringIterator(Budget* budget, const Value& over, bool backwards)
      : IteratorObject(budget, sizeof(*this)),
        value_(over),
        backwards_(backwards),
        position_(backwards ? over.as_string().view().size() : 0) {}

  bool next(Interpreter& interpreter, Value& item) override {
    interpreter.budget().step();
    const StringObject& string = value_.as_string();
    std::size_t begin = position_;
    std::size_t end = position_;
    if (backwards_) {
      if (position_ == 0) return false;
      begin = position_ = previous_code_point(string.view(), position_);
    } else {
      if (position_ == string.view().size()) return false;
      end = position_ += code_point_at(string.view(), position_).bytes;
    }
    // Python walks a str itself, but reverses it by indexing, and what Markup gives by index is
    // Markup.
    item = interpreter.string(slice_text(string.text(), begin, end), string.markup() && backwards_);
    return true;
  }

 private:
  const Value value_;
  const bool backwards_;
  std::size_t position_;
};

class EmptyIterator final : public IteratorObject {
 public:
  explicit EmptyIterator(Budget* budget) : IteratorObject(budget, sizeof(*this)) {}
  bool next(Interpreter&, Value&) override { return false; }
};

// Over what is left of a loop, from within it: (item, loop) pairs, as Jinja's loop objects iterate.
class LoopRestIterator final : public IteratorObject {
 public:
  LoopRestIterator(Budget* budget, Value loop)
      : IteratorObject(budget, sizeof(*this), nest_depth(loop)), loop_(std::move(loop)) {}
  bool next(Interpreter& interpreter, Value& item) override {
    Value rest;
    if (!loop_.as_mutable<LoopObject>().advance(interpreter, rest)) return false;
    interpreter.keep_loop(loop_);
    item = interpreter.tuple({rest, loop_});
    return true;
  }

 private:
  const Value loop_;
};

// {% for target in source if test %}: a generator with variables of its own, made when it first
// runs.
class LoopTestIterator final : public IteratorObject {
 public:
  LoopTestIterator(Budget* budget, const ForStmt& loop, Ref<Activation> outer,
                   Ref<IteratorObject> source)
      : IteratorObject(budget, sizeof(*this), nest_depth(iterator_value(source))),
        loop_(loop),
        outer_(std::move(outer)),
        source_(std::move(source)) {}

  bool next(Interpreter& interpreter, Value& item) override {
    if (!activation_) activation_ = interpreter.enter_loop_test(loop_, outer_);
    Value candidate;
    while (source_->next(interpreter, candidate)) {
      if (!interpreter.test_loop_item(loop_, *activation_, candidate)) continue;
      item = std::move(candidate);
      return true;
    }
    return false;
  }

 private:
  const ForStmt& loop_;
  const Ref<Activation> outer_;
  const Ref<IteratorObject> source_;
  Ref<Activation> activation_;
};

std::int64_t indexed_length(const Value& value) {
  switch (value.kind()) {
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<std::int64_t>(value.as_sequence().items.size());
    case Kind::kDict:
      return static_cast<std::int64_t>(value.as_dict().entries().size());
    case Kind::kView:
      return static_cast<std::int64_t>(value.as<ViewObject>().dict.as_dict().entries().size());
    default:
      return value.as<RangeObject>().length;
  }
}

bool is_indexed(const Value& value) {
  return value.is_sequence() || value.is(Kind::kDict) || value.is(Kind::kView) ||
         value.is(Kind::kRange);
}

template <class T, class... Args>
Ref<IteratorObject> make_iterator(Args&&... args) {
  return Ref<IteratorObject>(new T(std::forward<Args>(args)...));
}

}  // namespace

Ref<IteratorObject> iterate(Interpreter& interpreter, const Value& value) {
  Budget* budget = &interpreter.budget();
  if (is_indexed(value)) {
    return make_iterator<IndexedIterator>(budget, value, indexed_length(value), false);
  }
  switch (value.kind()) {
    case Kind::kString:
      return make_iterator<StringIterator>(budget, value, false);
    case Kind::kUndefined:
      return make_iterator<EmptyIterator>(budget);
    case Kind::kIterator:
      return Ref<IteratorObject>(&value.as_mutable<IteratorObject>());
    case Kind::kLoop:
      return make_iterator<LoopRestIterator>(budget, value);
    default:
      fail(ErrorCode::kInvalidArgument, "'{}' object is not iterable", type_name(value));
  }
}

Ref<IteratorObject> iterate_reversed(Interpreter& interpreter, const Value& value) {
  Budget* budget = &interpreter.budget();
  if (is_indexed(value)) {
    return make_iterator<IndexedIterator>(budget, value, indexed_length(value), true);
  }
  if (value.is_string()) return make_iterator<StringIterator>(budget, value, true);
  if (value.is_undefined()) return make_iterator<EmptyIterator>(budget);
  fail(ErrorCode::kInvalidArgument, "'{}' object is not reversible", type_name(value));
}

bool is_iterable(const Value& value) {
  return is_indexed(value) || value.is_string() || value.is_undefined() ||
         value.is(Kind::kIterator) || value.is(Kind::kLoop);
}

bool is_reversible(const Value& value) {
  return is_indexed(value) || value.is_string() || value.is_undefined();
}

std::vector<Value> collect(Interpreter& interpreter, const Value& value) {
  std::vector<Value> items;
  if (is_indexed(value)) items.reserve(static_cast<std::size_t>(indexed_length(value)));
  interpreter.budget().check_room(items.capacity() * sizeof(Value));
  for_each(interpreter, value, [&](Value& item) {
    items.push_back(std::move(item));
    return true;
  });
  return items;
}

Ref<IteratorObject> filter_loop(Interpreter& interpreter, const ForStmt& loop,
                                Ref<Activation> outer, const Value& source) {
  return make_iterator<LoopTestIterator>(&interpreter.budget(), loop, std::move(outer),
                                         iterate(interpreter, source));
}

}  // namespace sampan::jinja
