#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/bigint.h"
#include "text/jinja/text.h"

// The values that a template computes with: Python's None, bool, int, float, str, list, tuple and
// dict, and the objects that Jinja adds. Values are immutable (the sandbox forbids changing them)
// except namespaces, cyclers and joiners, and cheap to copy: everything larger than a number is
// shared by reference count.
namespace sampan::jinja {

class Budget;

enum class Kind : std::uint8_t {
  kMissing,  // an empty slot or an argument not given; no template sees it
  kUndefined,
  kNone,
  kBool,
  kInt,  // fits int64_t; every other integer is a kBigInt
  kFloat,
  kFunction,  // a global such as range or namespace
  kBigInt,    // from here on: shared objects
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,  // dict.keys(), .values(), .items()
  kIterator,
  kNamespace,
  kMacro,
  kLoop,
  kMethod,
  kCycler,
  kJoiner,
};

// A reference-counted object. Its bytes are counted by the budget of the rendering that made it,
// while it lives; objects made outside a rendering (constants, a caller's values) have no budget.
class Object {
 public:
  // `depth`: 0, or nest_depth of what it holds. Throws Error kLimit.
  Object(Budget* budget, std::size_t bytes, std::uint32_t depth = 0);
  virtual ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  void retain() const noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() const noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  // How deep the values within it are nested; bounds every recursion over a value.
  std::uint32_t depth() const { return depth_; }

 protected:
  // Counts `bytes` more. Throws Error kLimit.
  void grow(std::size_t bytes);

 private:
  mutable std::atomic<std::uint32_t> references_{0};
  std::uint32_t depth_;
  Budget* budget_;
  std::size_t bytes_;
};

// A share of one object, or none.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_ != nullptr) object_->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->release();
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

class StringObject;
class SequenceObject;
class DictObject;

class Value {
 public:
  Value() noexcept : kind_(Kind::kMissing) {}
  // Takes a share of `object`, which may be null for kUndefined only.
  Value(Kind kind, const Object* object) noexcept
      : kind_(kind), payload_(std::bit_cast<std::int64_t>(object)) {
    if (object != nullptr) object->retain();
  }
  Value(const Value& other) noexcept
      : kind_(other.kind_), trusted_(other.trusted_), payload_(other.payload_) {
    if (shared()) pointer()->retain();
  }
  Value(Value&& other) noexcept
      : kind_(other.kind_), trusted_(other.trusted_), payload_(other.payload_) {
    other.kind_ = Kind::kMissing;
  }
  Value& operator=(Value other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(trusted_, other.trusted_);
    std::swap(payload_, other.payload_);
    return *this;
  }
  ~Value() {
    if (shared()) pointer()->release();
  }

  // `trusted`: made by the template, so that its digits printed are the template's own.
  static Value none() { return scalar(Kind::kNone, 0, false); }
  static Value boolean(bool value) { return scalar(Kind::kBool, value, false); }
  static Value integer(std::int64_t value, bool trusted = false) {
    return scalar(Kind::kInt, value, trusted);
  }
  static Value real(double value, bool trusted = false);
  static Value function(std::int64_t id) { return scalar(Kind::kFunction, id, false); }
  // Values of a caller, made outside a rendering. string() and dict() throw Error kInvalidData on
  // broken UTF-8; dict() keeps the order, and of two equal keys the first's place and the last's
  // value; list() and dict() throw kLimit beyond kMaxValueDepth.
  static Value string(std::string utf8, bool trusted = false);
  static Value list(std::vector<Value> items);
  static Value dict(std::vector<std::pair<std::string, Value>> items);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool missing() const { return kind_ == Kind::kMissing; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  // int or bool, of any size.
  bool is_integral() const {
    return kind_ == Kind::kInt || kind_ == Kind::kBool || kind_ == Kind::kBigInt;
  }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool trusted() const { return trusted_; }

  // Each requires the kind that it names.
  bool as_bool() const { return payload_ != 0; }
  std::int64_t as_int() const { return payload_; }  // kInt, kBool, kFunction
  double as_float() const { return std::bit_cast<double>(payload_); }
  const StringObject& as_string() const;
  const SequenceObject& as_sequence() const;  // kList, kTuple
  const DictObject& as_dict() const;
  const Object* object() const { return shared() ? pointer() : nullptr; }
  template <class T>
  const T& as() const {
    return static_cast<const T&>(*pointer());
  }
  // For the few objects that change.
  template <class T>
  T& as_mutable() const {
    return const_cast<T&>(static_cast<const T&>(*pointer()));
  }

  // Python's `is`.
  bool same_as(const Value& other) const {
    return kind_ == other.kind_ && payload_ == other.payload_;
  }

 private:
  static Value scalar(Kind kind, std::int64_t payload, bool trusted) {
    Value value;
    value.kind_ = kind;
    value.trusted_ = trusted;
    value.payload_ = payload;
    return value;
  }
  bool shared() const {
    return kind_ >= Kind::kBigInt || (kind_ == Kind::kUndefined && payload_ != 0);
  }
  const Object* pointer() const { return std::bit_cast<const Object*>(payload_); }

  Kind kind_;
  bool trusted_ = false;
  std::int64_t payload_ = 0;  // a number, a double's bits, or the address of an Object
};

class BigIntObject final : public Object {
 public:
  BigIntObject(Budget* budget, BigInt number)
      : Object(budget, sizeof(*this) + number.bytes()), value(std::move(number)) {}
  const BigInt value;
};

// A string. Offsets are in bytes, indices in code points.
class StringObject final : public Object {
 public:
  // `text` is well-formed UTF-8. `markup` is what |safe and |escape make.
  StringObject(Budget* budget, Text text, bool markup);

  const Text& text() const { return text_; }
  std::string_view view() const { return text_.bytes; }
  bool markup() const { return markup_; }
  std::size_t length() const { return length_; }
  bool ascii() const { return length_ == text_.bytes.size(); }
  // The offset of code point `index`, which is at most length().
  std::size_t offset_of(std::size_t index) const;
  // The index of the code point that starts at `offset`.
  std::size_t index_of(std::size_t offset) const;

 private:
  const std::vector<std::size_t>& landmarks() const;

  Text text_;
  std::size_t length_;
  bool markup_;
  // The offset of every kStride-th code point, made on the first random access to a text that is
  // not ASCII.
  mutable std::once_flag landmarks_made_;
  mutable std::vector<std::size_t> landmarks_;
};

// A list or a tuple.
class SequenceObject final : public Object {
 public:
  // Throws Error kLimit beyond kMaxValueDepth.
  SequenceObject(Budget* budget, std::vector<Value> values, bool is_group = false);

  const std::vector<Value> items;
  const bool group;  // a (grouper, list) pair of |groupby
};

class DictObject final : public Object {
 public:
  using Entry = std::pair<Value, Value>;

  // Of equal keys the first keeps its place and the last its value. Every key must be hashable
  // (require_hashable). Throws Error kLimit beyond kMaxValueDepth.
  DictObject(Budget* budget, std::vector<Entry> entries);

  const std::vector<Entry>& entries() const { return entries_; }
  // The value of a hashable key, or null.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

 private:
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> order_;  // entries by compare_keys
};

// A total order over hashable values in which equal means equal to Python.
int compare_keys(const Value& a, const Value& b);
// Counts the work of looking a key up among many.
void charge_lookup(Budget& budget, const Value& key);
// Throws Error kInvalidArgument for lists, dicts and what holds them.
void require_hashable(const Value& key);

// The depth of an object that holds these values. Throws Error kLimit beyond kMaxValueDepth.
std::uint32_t nest_depth(const Value& held);
std::uint32_t nest_depth(const std::vector<Value>& held);

class UndefinedObject final : public Object {
 public:
  UndefinedObject(Budget* budget, std::string text)
      : Object(budget, sizeof(*this) + text.size()), message(std::move(text)) {}
  const std::string message;  // what using it says: 'x' is undefined
};

class RangeObject final : public Object {
 public:
  RangeObject(Budget* budget, std::int64_t from, std::int64_t to, std::int64_t by,
              std::int64_t count)
      : Object(budget, sizeof(*this)), start(from), stop(to), step(by), length(count) {}
  std::int64_t at(std::int64_t index) const { return start + step * index; }
  const std::int64_t start, stop, step, length;
};

class ViewObject final : public Object {
 public:
  enum class What : std::uint8_t { kKeys, kValues, kItems };
  ViewObject(Budget* budget, What part, Value of)
      : Object(budget, sizeof(*this), nest_depth(of)), what(part), dict(std::move(of)) {}
  const What what;
  const Value dict;
};

class NamespaceObject final : public Object {
 public:
  explicit NamespaceObject(Budget* budget) : Object(budget, sizeof(*this)) {}
  const Value* find(std::string_view name) const;
  void set(const Value& name, Value value);
  void clear() { attributes_.clear(); }
  const std::vector<std::pair<Value, Value>>& attributes() const { return attributes_; }

 private:
  std::vector<std::pair<Value, Value>> attributes_;
};

struct MethodInfo;

// A method looked up but not yet called: message.content.strip
class MethodObject final : public Object {
 public:
  MethodObject(Budget* budget, Value owner, const MethodInfo* method)
      : Object(budget, sizeof(*this), nest_depth(owner)), self(std::move(owner)), info(method) {}
  const Value self;
  const MethodInfo* const info;
};

class CyclerObject final : public Object {
 public:
  CyclerObject(Budget* budget, std::vector<Value> values)
      : Object(budget, sizeof(*this) + values.size() * sizeof(Value), nest_depth(values)),
        items(std::move(values)) {}
  const std::vector<Value> items;
  std::size_t position = 0;
};

class JoinerObject final : public Object {
 public:
  JoinerObject(Budget* budget, Value text)
      : Object(budget, sizeof(*this), nest_depth(text)), separator(std::move(text)) {}
  const Value separator;
  bool used = false;
};

inline const StringObject& Value::as_string() const { return as<StringObject>(); }
inline const SequenceObject& Value::as_sequence() const { return as<SequenceObject>(); }
inline const DictObject& Value::as_dict() const { return as<DictObject>(); }

template <class T, class... Args>
Value make_value(Kind kind, Budget* budget, Args&&... args) {
  return Value(kind, new T(budget, std::forward<Args>(args)...));
}
inline Value make_string(Budget* budget, Text text, bool markup = false) {
  return make_value<StringObject>(Kind::kString, budget, std::move(text), markup);
}
// A string of one origin.
Value make_string(Budget* budget, std::string bytes, bool trusted);
inline Value make_list(Budget* budget, std::vector<Value> items) {
  return make_value<SequenceObject>(Kind::kList, budget, std::move(items));
}
inline Value make_tuple(Budget* budget, std::vector<Value> items) {
  return make_value<SequenceObject>(Kind::kTuple, budget, std::move(items));
}
inline Value make_undefined(Budget* budget, std::string message) {
  return make_value<UndefinedObject>(Kind::kUndefined, budget, std::move(message));
}
// A kInt where it fits.
Value make_integer(Budget* budget, BigInt value, bool trusted = false);

// Python's name of the value's type, as messages name it: 'str', 'dict', 'NoneType', ….
const char* type_name(const Value& value);

}  // namespace sampan::jinja
