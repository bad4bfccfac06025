#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "text/jinja/budget.h"
#include "text/jinja/number.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

constexpr std::size_t kStride = 64;  // code points between two landmarks of a string

std::size_t text_bytes(const Text& text) {
  return text.bytes.capacity() + text.provenance.flips().capacity() * sizeof(std::size_t);
}

std::uint32_t depth_of(const Value& value) {
  return value.object() == nullptr ? 0 : value.object()->depth();
}

std::uint32_t depth_around(std::uint32_t inner) {
  if (inner >= kMaxValueDepth) {
    fail(ErrorCode::kLimit, "values nested more than {} deep", kMaxValueDepth);
  }
  return inner + 1;
}

std::uint32_t nest_depth_of_entries(const std::vector<DictObject::Entry>& entries) {
  std::uint32_t depth = 0;
  for (const auto& [key, value] : entries)
    depth = std::max({depth, depth_of(key), depth_of(value)});
  return depth_around(depth);
}

// The class of a key: values of different ranks are never equal.
int key_rank(const Value& key) {
  if (key.is_number()) return 1;
  if (key.is_string()) return 2;
  if (key.is(Kind::kTuple)) return 3;
  return 4 + static_cast<int>(key.kind());
}

int sign(bool less, bool greater) { return less ? -1 : (greater ? 1 : 0); }

int compare_number_keys(const Value& a, const Value& b) {
  const bool a_nan = a.is(Kind::kFloat) && std::isnan(a.as_float());
  const bool b_nan = b.is(Kind::kFloat) && std::isnan(b.as_float());
  if (a_nan || b_nan) return sign(!a_nan, !b_nan);
  return compare_numbers(a, b);
}

}  // namespace

Object::Object(Budget* budget, std::size_t bytes, std::uint32_t depth)
    : depth_(depth), budget_(budget), bytes_(bytes) {
  if (budget_ != nullptr) budget_->allocate(bytes);
}

Object::~Object() {
  if (budget_ != nullptr) budget_->release(bytes_);
}

void Object::grow(std::size_t bytes) {
  if (budget_ != nullptr) budget_->allocate(bytes);
  bytes_ += bytes;
}

Value Value::real(double value, bool trusted) {
  return scalar(Kind::kFloat, std::bit_cast<std::int64_t>(value), trusted);
}

Value Value::string(std::string utf8, bool trusted) {
  const std::size_t bad = find_invalid_utf8(utf8);
  if (bad != std::string::npos) {
    fail(ErrorCode::kInvalidData, "string: byte {} of {} is not UTF-8", bad, utf8.size());
  }
  return make_string(nullptr, std::move(utf8), trusted);
}

Value Value::list(std::vector<Value> items) { return make_list(nullptr, std::move(items)); }

Value Value::dict(std::vector<std::pair<std::string, Value>> items) {
  std::vector<DictObject::Entry> entries;
  entries.reserve(items.size());
  for (auto& [key, value] : items) {
    entries.emplace_back(Value::string(std::move(key)), std::move(value));
  }
  return make_value<DictObject>(Kind::kDict, nullptr, std::move(entries));
}

StringObject::StringObject(Budget* budget, Text text, bool markup)
    : Object(budget, sizeof(*this) + text_bytes(text)),
      text_(std::move(text)),
      length_(count_code_points(text_.bytes)),
      markup_(markup) {}

const std::vector<std::size_t>& StringObject::landmarks() const {
  std::call_once(landmarks_made_, [this] {
    landmarks_.reserve(length_ / kStride + 1);
    std::size_t index = 0;
    for (std::size_t offset = 0; offset < text_.bytes.size(); ++offset) {
      if ((static_cast<unsigned char>(text_.bytes[offset]) & 0xC0) == 0x80) continue;
      if (index++ % kStride == 0) landmarks_.push_back(offset);
    }
  });
  return landmarks_;
}

std::size_t StringObject::offset_of(std::size_t index) const {
  if (ascii()) return index;
  if (index >= length_) return text_.bytes.size();
  const bool near = length_ <= kStride;
  std::size_t offset = near ? 0 : landmarks()[index / kStride];
  for (std::size_t left = near ? index : index % kStride; left > 0; --left) {
    offset += code_point_at(text_.bytes, offset).bytes;
  }
  return offset;
}

std::size_t StringObject::index_of(std::size_t offset) const {
  if (ascii()) return offset;
  if (length_ <= kStride) return count_code_points(view().substr(0, offset));
  const auto& marks = landmarks();
  const auto after = std::upper_bound(marks.begin(), marks.end(), offset);
  const auto mark = static_cast<std::size_t>(after - marks.begin()) - 1;
  return mark * kStride + count_code_points(view().substr(marks[mark], offset - marks[mark]));
}

SequenceObject::SequenceObject(Budget* budget, std::vector<Value> values, bool is_group)
    : Object(budget, sizeof(*this) + values.capacity() * sizeof(Value), nest_depth(values)),
      items(std::move(values)),
      group(is_group) {}

DictObject::DictObject(Budget* budget, std::vector<Entry> entries)
    : Object(budget, sizeof(*this) + entries.capacity() * (sizeof(Entry) + sizeof(std::uint32_t)),
             nest_depth_of_entries(entries)),
      entries_(std::move(entries)) {
  const auto before = [this](std::uint32_t a, std::uint32_t b) {
    const int order = compare_keys(entries_[a].first, entries_[b].first);
    return order != 0 ? order < 0 : a < b;
  };
  order_.resize(entries_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(), before);
  std::vector<bool> dropped(entries_.size());
  std::size_t drops = 0;
  for (std::size_t i = 0, first = 0; i < order_.size(); ++i) {
    if (i > first && compare_keys(entries_[order_[first]].first, entries_[order_[i]].first) == 0) {
      entries_[order_[first]].second = entries_[order_[i]].second;
      dropped[order_[i]] = true;
      ++drops;
    } else {
      first = i;
    }
  }
  if (drops > 0) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (dropped[i]) continue;
      if (kept != i) entries_[kept] = std::move(entries_[i]);
      ++kept;
    }
    entries_.resize(kept);
    order_.resize(kept);
    std::iota(order_.begin(), order_.end(), 0u);
    std::sort(order_.begin(), order_.end(), before);
  }
}

const Value* DictObject::find(const Value& key) const {
  const auto at = std::lower_bound(order_.begin(), order_.end(), key,
                                   [this](std::uint32_t entry, const Value& wanted) {
                                     return compare_keys(entries_[entry].first, wanted) < 0;
                                   });
  if (at == order_.end() || compare_keys(entries_[*at].first, key) != 0) return nullptr;
  return &entries_[*at].second;
}

const Value* DictObject::find(std::string_view key) const {
  const auto less = [this](std::uint32_t entry, std::string_view wanted) {
    const Value& have = entries_[entry].first;
    return have.is_string() ? have.as_string().view() < wanted : key_rank(have) < 2;
  };
  const auto at = std::lower_bound(order_.begin(), order_.end(), key, less);
  if (at == order_.end()) return nullptr;
  const Value& have = entries_[*at].first;
  return have.is_string() && have.as_string().view() == key ? &entries_[*at].second : nullptr;
}

int compare_keys(const Value& a, const Value& b) {
  const int rank = key_rank(a);
  if (rank != key_rank(b)) return rank < key_rank(b) ? -1 : 1;
  if (rank == 1) return compare_number_keys(a, b);
  if (rank == 2) return a.as_string().view().compare(b.as_string().view());
  if (rank == 3) {
    const auto& x = a.as_sequence().items;
    const auto& y = b.as_sequence().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (const int order = compare_keys(x[i], y[i]); order != 0) return order;
    }
    return sign(x.size() < y.size(), x.size() > y.size());
  }
  if (a.is(Kind::kFunction)) return sign(a.as_int() < b.as_int(), a.as_int() > b.as_int());
  if (a.is_undefined()) return 0;  // every Undefined equals every other
  return sign(std::less<>()(a.object(), b.object()), std::less<>()(b.object(), a.object()));
}

void charge_lookup(Budget& budget, const Value& key) {
  if (key.is_string()) budget.work(key.as_string().view().size() * 8);
}

void require_hashable(const Value& key) {
  if (key.is(Kind::kList) || key.is(Kind::kDict) || key.is(Kind::kView)) {
    fail(ErrorCode::kInvalidArgument, "unhashable type: '{}'", type_name(key));
  }
  if (key.is(Kind::kTuple)) {
    for (const Value& item : key.as_sequence().items) require_hashable(item);
  }
}

std::uint32_t nest_depth(const Value& held) { return depth_around(depth_of(held)); }

std::uint32_t nest_depth(const std::vector<Value>& held) {
  std::uint32_t depth = 0;
  for (const Value& value : held) depth = std::max(depth, depth_of(value));
  return depth_around(depth);
}

const Value* NamespaceObject::find(std::string_view name) const {
  for (const auto& [key, value] : attributes_) {
    if (key.is_string() && key.as_string().view() == name) return &value;
  }
  return nullptr;
}

void NamespaceObject::set(const Value& name, Value value) {
  for (auto& [key, held] : attributes_) {
    if (compare_keys(key, name) == 0) {
      held = std::move(value);
      return;
    }
  }
  grow(2 * sizeof(Value) * 2);
  attributes_.emplace_back(name, std::move(value));
}

Value make_string(Budget* budget, std::string bytes, bool trusted) {
  return make_string(budget, Text{std::move(bytes), Provenance(trusted)});
}

Value make_integer(Budget* budget, BigInt value, bool trusted) {
  if (const auto small = value.to_int64()) return Value::integer(*small, trusted);
  return make_value<BigIntObject>(Kind::kBigInt, budget, std::move(value));
}

const char* type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
      return "missing";
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
    case Kind::kBigInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kFunction:
      return "function";
    case Kind::kString:
      return value.as_string().markup() ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kView:
      switch (value.as<ViewObject>().what) {
        case ViewObject::What::kKeys:
          return "dict_keys";
        case ViewObject::What::kValues:
          return "dict_values";
        case ViewObject::What::kItems:
          return "dict_items";
      }
      return "dict_items";
    case Kind::kIterator:
      return "generator";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kMacro:
      return "Macro";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kMethod:
      return "method";
    case Kind::kCycler:
      return "Cycler";
    case Kind::kJoiner:
      return "Joiner";
  }
  return "object";
}

}  // namespace sampan::jinja
