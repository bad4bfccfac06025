#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "text/jinja/filter_functions.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/signature.h"

// Filters that are generators in Jinja: nothing happens before their result is iterated, and then
// only as far as it is.
namespace sampan::jinja {
namespace {

// Starts iterating its source only when first asked, as a generator does.
class LazyIterator : public IteratorObject {
 public:
  // `held`: all other values that the iterator holds.
  LazyIterator(Budget* budget, std::size_t bytes, const Value& subject, std::vector<Value> held)
      : IteratorObject(budget, bytes, depth_with(subject, std::move(held))), subject_(subject) {}

 protected:
  bool next_of_source(Interpreter& interpreter, Value& item) {
    if (!source_) source_ = iterate(interpreter, subject_);
    return source_->next(interpreter, item);
  }
  const Value& subject() const { return subject_; }

 private:
  static std::uint32_t depth_with(const Value& subject, std::vector<Value> held) {
    held.push_back(subject);
    return nest_depth(held);
  }

  const Value subject_;
  Ref<IteratorObject> source_;
};

std::vector<Value> values_of(const CallArgs& args) {
  std::vector<Value> values = args.positional;
  for (const auto& [name, value] : args.keywords) values.push_back(value);
  return values;
}

template <class T, class... Args>
Value lazy(Interpreter& interpreter, Args&&... args) {
  return Value(Kind::kIterator, new T(&interpreter.budget(), std::forward<Args>(args)...));
}

// The items of a mapping; nothing of an Undefined.
class ItemsIterator final : public LazyIterator {
 public:
  ItemsIterator(Budget* budget, const Value& subject)
      : LazyIterator(budget, sizeof(*this), subject, {}) {}

  bool next(Interpreter& interpreter, Value& item) override {
    interpreter.budget().step();
    if (subject().is_undefined()) return false;
    if (!subject().is(Kind::kDict)) {
      fail(ErrorCode::kInvalidArgument, "Can only get item pairs from a mapping.");
    }
    const auto& entries = subject().as_dict().entries();
    if (position_ >= entries.size()) return false;
    item = interpreter.tuple({entries[position_].first, entries[position_].second});
    ++position_;
    return true;
  }

 private:
  std::size_t position_ = 0;
};

class MapIterator final : public LazyIterator {
 public:
  MapIterator(Budget* budget, const Value& subject, CallArgs args)
      : LazyIterator(budget, sizeof(*this), subject, values_of(args)), args_(std::move(args)) {}

  bool next(Interpreter& interpreter, Value& item) override {
    if (!prepared_) prepare(interpreter);
    Value source;
    if (empty_ || !next_of_source(interpreter, source)) return false;
    if (path_) {
      item = path_->follow(interpreter, std::move(source), otherwise_);
    } else {
      item = interpreter.apply_filter(filter_, source, args_);
    }
    return true;
  }

 private:
  void prepare(Interpreter& interpreter) {
    prepared_ = true;
    empty_ = !truthy(interpreter, subject());
    if (empty_) return;
    if (args_.positional.empty()) {
      Value attribute;
      for (auto& [name, value] : args_.keywords) {
        if (name == "attribute") attribute = value;
      }
      if (attribute.missing()) fail(ErrorCode::kInvalidArgument, "map requires a filter argument");
      for (auto& [name, value] : args_.keywords) {
        if (name == "default") {
          otherwise_ = value;
        } else if (name != "attribute") {
          fail(ErrorCode::kInvalidArgument, "Unexpected keyword argument '{}'", printable(name));
        }
      }
      path_.emplace(interpreter, attribute);
      return;
    }
    filter_ = args_.positional[0];
    args_.positional.erase(args_.positional.begin());
  }

  CallArgs args_;
  bool prepared_ = false;
  bool empty_ = false;
  std::optional<AttributePath> path_;
  Value otherwise_;
  Value filter_;
};

// select, reject, selectattr and rejectattr.
class SelectIterator final : public LazyIterator {
 public:
  SelectIterator(Budget* budget, const Value& subject, CallArgs args, bool wanted,
                 bool by_attribute)
      : LazyIterator(budget, sizeof(*this), subject, values_of(args)),
        args_(std::move(args)),
        wanted_(wanted),
        by_attribute_(by_attribute) {}

  bool next(Interpreter& interpreter, Value& item) override {
    if (!prepared_) prepare(interpreter);
    if (empty_) return false;
    Value candidate;
    while (next_of_source(interpreter, candidate)) {
      const Value tested = path_ ? path_->follow(interpreter, candidate) : candidate;
      const bool passes = test_.missing() ? truthy(interpreter, tested)
                                          : interpreter.apply_test(test_, tested, args_);
      if (passes != wanted_) continue;
      item = std::move(candidate);
      return true;
    }
    return false;
  }

 private:
  void prepare(Interpreter& interpreter) {
    prepared_ = true;
    empty_ = !truthy(interpreter, subject());
    if (empty_) return;
    std::size_t used = 0;
    if (by_attribute_) {
      if (args_.positional.empty()) {
        fail(ErrorCode::kInvalidArgument, "Missing parameter for attribute name");
      }
      path_.emplace(interpreter, args_.positional[used++]);
    }
    if (used < args_.positional.size()) test_ = args_.positional[used++];
    args_.positional.erase(args_.positional.begin(),
                           args_.positional.begin() + static_cast<std::ptrdiff_t>(used));
  }

  CallArgs args_;
  const bool wanted_;
  const bool by_attribute_;
  bool prepared_ = false;
  bool empty_ = false;
  std::optional<AttributePath> path_;
  Value test_;
};

struct KeyOrder {
  bool operator()(const Value& a, const Value& b) const { return compare_keys(a, b) < 0; }
};

class UniqueIterator final : public LazyIterator {
 public:
  UniqueIterator(Budget* budget, const Value& subject, AttributePath path, bool case_sensitive)
      : LazyIterator(budget, sizeof(*this), subject, path.keys()),
        path_(std::move(path)),
        case_sensitive_(case_sensitive) {}

  bool next(Interpreter& interpreter, Value& item) override {
    Value candidate;
    while (next_of_source(interpreter, candidate)) {
      Value key = path_.follow(interpreter, candidate);
      if (!case_sensitive_) key = ignore_case(interpreter, key);
      require_hashable(key);
      if (!seen_.insert(std::move(key)).second) continue;
      grow(sizeof(Value) * 4);
      item = std::move(candidate);
      return true;
    }
    return false;
  }

 private:
  const AttributePath path_;
  const bool case_sensitive_;
  std::set<Value, KeyOrder> seen_;
};

class BatchIterator final : public LazyIterator {
 public:
  BatchIterator(Budget* budget, const Value& subject, Value size, Value fill)
      : LazyIterator(budget, sizeof(*this), subject, {size, fill}),
        size_(std::move(size)),
        fill_(std::move(fill)) {}

  bool next(Interpreter& interpreter, Value& item) override {
    if (done_) return false;
    Value element;
    while (next_of_source(interpreter, element)) {
      const bool full =
          equal(interpreter, Value::integer(static_cast<std::int64_t>(batch_.size())), size_);
      if (full) {
        item = interpreter.list(std::move(batch_));
        batch_.clear();
        batch_.push_back(std::move(element));
        return true;
      }
      batch_.push_back(std::move(element));
    }
    done_ = true;
    if (batch_.empty()) return false;
    if (!fill_.missing() && !fill_.is_none()) pad(interpreter);
    item = interpreter.list(std::move(batch_));
    return true;
  }

 private:
  void pad(Interpreter& interpreter) {
    const Value have = Value::integer(static_cast<std::int64_t>(batch_.size()));
    if (!ordered(interpreter, CompareOp::kLt, have, size_)) return;
    const std::int64_t size = to_index(size_);
    const std::size_t most = interpreter.budget().limits().max_memory_bytes / sizeof(Value);
    if (static_cast<std::size_t>(size) > most) {
      fail(ErrorCode::kLimit, "batches of {}, {} at most", size, most);
    }
    interpreter.budget().work(static_cast<std::size_t>(size) * sizeof(Value));
    batch_.resize(static_cast<std::size_t>(size), fill_);
  }

  const Value size_;
  const Value fill_;
  std::vector<Value> batch_;
  bool done_ = false;
};

class SliceIterator final : public LazyIterator {
 public:
  SliceIterator(Budget* budget, const Value& subject, Value slices, Value fill)
      : LazyIterator(budget, sizeof(*this), subject, {slices, fill}),
        slices_(std::move(slices)),
        fill_(std::move(fill)) {}

  bool next(Interpreter& interpreter, Value& item) override {
    if (count_ < 0) prepare(interpreter);
    interpreter.budget().step();
    if (number_ >= count_) return false;
    const std::int64_t start = offset_ + number_ * per_slice_;
    if (number_ < with_extra_) ++offset_;
    const std::int64_t end = offset_ + (number_ + 1) * per_slice_;
    std::vector<Value> part(items_.begin() + start, items_.begin() + end);
    if (!fill_.missing() && !fill_.is_none() && number_ >= with_extra_) part.push_back(fill_);
    ++number_;
    item = interpreter.list(std::move(part));
    return true;
  }

 private:
  void prepare(Interpreter& interpreter) {
    Value item;
    while (next_of_source(interpreter, item)) items_.push_back(item);
    const std::int64_t slices = to_index(slices_);
    if (slices == 0) fail(ErrorCode::kInvalidArgument, "integer division or modulo by zero");
    count_ = std::max<std::int64_t>(0, slices);
    if (count_ == 0) return;
    const auto length = static_cast<std::int64_t>(items_.size());
    per_slice_ = length / slices;
    with_extra_ = length % slices;
  }

  const Value slices_;
  const Value fill_;
  std::vector<Value> items_;
  std::int64_t count_ = -1;
  std::int64_t number_ = 0;
  std::int64_t offset_ = 0;
  std::int64_t per_slice_ = 0;
  std::int64_t with_extra_ = 0;
};

}  // namespace

Value filter_items(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("items", args);
  return lazy<ItemsIterator>(interpreter, subject);
}

Value filter_map(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  return lazy<MapIterator>(interpreter, subject, std::move(args));
}

Value filter_select(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  return lazy<SelectIterator>(interpreter, subject, std::move(args), true, false);
}

Value filter_reject(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  return lazy<SelectIterator>(interpreter, subject, std::move(args), false, false);
}

Value filter_selectattr(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  return lazy<SelectIterator>(interpreter, subject, std::move(args), true, true);
}

Value filter_rejectattr(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  return lazy<SelectIterator>(interpreter, subject, std::move(args), false, true);
}

Value filter_unique(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("unique", args, {"case_sensitive", "attribute"});
  return lazy<UniqueIterator>(interpreter, subject, AttributePath(interpreter, given[1]),
                              given.truth(interpreter, 0, false));
}

Value filter_batch(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("batch", args, {"linecount", "fill_with"}, 1);
  return lazy<BatchIterator>(interpreter, subject, given[0], given[1]);
}

Value filter_slice(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("slice", args, {"slices", "fill_with"}, 1);
  return lazy<SliceIterator>(interpreter, subject, given[0], given[1]);
}

}  // namespace sampan::jinja
