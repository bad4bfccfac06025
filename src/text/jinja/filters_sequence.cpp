#include <algorithm>

#include "base/error.h"
#include "text/jinja/attributes.h"
#include "text/jinja/filter_functions.h"
#include "text/jinja/number.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_repr.h"
#include "text/jinja/signature.h"
#include "text/jinja/strings.h"
#include "text/jinja/unicode.h"

namespace sampan::jinja {
namespace {

// An item beside the value that it is sorted by.
struct Keyed {
  Value key;
  Value item;
};

// sorted() of Python: stable, in reverse too.
void sort_by_key(Interpreter& interpreter, std::vector<Keyed>& items, bool reverse) {
  const auto less = [&](const Keyed& a, const Keyed& b) {
    return ordered(interpreter, CompareOp::kLt, a.key, b.key);
  };
  if (reverse) std::reverse(items.begin(), items.end());
  std::stable_sort(items.begin(), items.end(), less);
  if (reverse) std::reverse(items.begin(), items.end());
}

std::vector<Value> items_of(std::vector<Keyed> keyed) {
  std::vector<Value> out;
  out.reserve(keyed.size());
  for (auto& entry : keyed) out.push_back(std::move(entry.item));
  return out;
}

// The attributes of |sort: "a.b,c" is two of them. Without any, the item itself.
std::vector<AttributePath> attribute_paths(Interpreter& interpreter, const Value& attribute) {
  std::vector<AttributePath> paths;
  if (!attribute.is_string()) {
    paths.emplace_back(interpreter, attribute);
    return paths;
  }
  const Value comma = interpreter.string(",", true);
  for (const Value& part : split(interpreter, attribute.as_string(), comma, -1)) {
    paths.emplace_back(interpreter, part);
  }
  return paths;
}

Value extreme(Interpreter& interpreter, const Value& subject, CallArgs& args, CompareOp better) {
  const Parameters given(better == CompareOp::kLt ? "min" : "max", args,
                         {"case_sensitive", "attribute"});
  const bool case_sensitive = given.truth(interpreter, 0, false);
  const AttributePath path(interpreter, given[1]);
  Keyed best;
  for_each(interpreter, subject, [&](const Value& item) {
    Value key = path.follow(interpreter, item);
    if (!case_sensitive) key = ignore_case(interpreter, key);
    if (best.key.missing() || ordered(interpreter, better, key, best.key)) {
      best = {std::move(key), item};
    }
    return true;
  });
  if (!best.key.missing()) return best.item;
  return interpreter.undefined("No aggregated item, sequence was empty.");
}

bool all_digits(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    if (!is_digit(point.code)) return false;
    i += point.bytes;
  }
  return !text.empty();
}

}  // namespace

AttributePath::AttributePath(Interpreter& interpreter, const Value& attribute) {
  if (attribute.missing() || attribute.is_none()) return;
  if (!attribute.is_string()) {
    keys_.push_back(attribute);
    return;
  }
  const Value dot = interpreter.string(".", true);
  for (Value& part : split(interpreter, attribute.as_string(), dot, -1)) {
    if (all_digits(part.as_string().view())) {
      const auto index = parse_int(part.as_string().view());
      if (!index) fail(ErrorCode::kInvalidArgument, "invalid literal for int()");
      keys_.push_back(make_integer(&interpreter.budget(), *index));
    } else {
      keys_.push_back(std::move(part));
    }
  }
}

Value AttributePath::follow(Interpreter& interpreter, Value item, const Value& otherwise) const {
  for (const Value& key : keys_) {
    item = get_item(interpreter, item, key);
    if (item.is_undefined() && !otherwise.missing() && !otherwise.is_none()) item = otherwise;
  }
  return item;
}

Value ignore_case(Interpreter& interpreter, const Value& value) {
  return value.is_string() ? lower_case(interpreter, value.as_string()) : value;
}

Value filter_first(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("first", args);
  Value item;
  if (iterate(interpreter, subject)->next(interpreter, item)) return item;
  return interpreter.undefined("No first item, sequence was empty.");
}

Value filter_last(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("last", args);
  Value item;
  if (iterate_reversed(interpreter, subject)->next(interpreter, item)) return item;
  return interpreter.undefined("No last item, sequence was empty.");
}

Value filter_list(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("list", args);
  return interpreter.list(collect(interpreter, subject));
}

Value filter_join(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("join", args, {"d", "attribute"});
  const Text separator = given.has(0) ? to_text(interpreter, given[0]) : Text{};
  const AttributePath path(interpreter, given[1]);
  TextBuilder out(interpreter.budget());
  bool first = true;
  for_each(interpreter, subject, [&](const Value& item) {
    interpreter.budget().work(separator.bytes.size());
    if (!first) out.append(separator);
    first = false;
    append_str(interpreter, out, path.follow(interpreter, item));
    return true;
  });
  return interpreter.string(out.take());
}

Value filter_reverse(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  Parameters::none("reverse", args);
  if (subject.is_string()) return slice(interpreter, subject, {}, {}, Value::integer(-1));
  if (is_reversible(subject)) return iterator_value(iterate_reversed(interpreter, subject));
  if (!is_iterable(subject)) fail(ErrorCode::kInvalidArgument, "argument must be iterable");
  std::vector<Value> items = collect(interpreter, subject);
  std::reverse(items.begin(), items.end());
  return interpreter.list(std::move(items));
}

Value filter_sort(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("sort", args, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = given.truth(interpreter, 1, false);
  const auto paths = attribute_paths(interpreter, given[2]);
  std::vector<Keyed> keyed;
  for_each(interpreter, subject, [&](const Value& item) {
    std::vector<Value> keys;
    for (const AttributePath& path : paths) {
      Value key = path.follow(interpreter, item);
      keys.push_back(case_sensitive ? std::move(key) : ignore_case(interpreter, key));
    }
    keyed.push_back({interpreter.list(std::move(keys)), item});
    return true;
  });
  sort_by_key(interpreter, keyed, given.integer(0, 0) != 0);
  return interpreter.list(items_of(std::move(keyed)));
}

Value filter_dictsort(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string_view by = given.has(1) && given[1].is_string() ? given[1].as_string().view()
                                                                   : (given.has(1) ? "?" : "key");
  if (by != "key" && by != "value") {
    fail(ErrorCode::kInvalidArgument, "You can only sort by either \"key\" or \"value\"");
  }
  if (subject.is_undefined()) undefined_error(subject);
  if (!subject.is(Kind::kDict)) {
    fail(ErrorCode::kInvalidArgument, "'{}' object has no attribute 'items'", type_name(subject));
  }
  const bool case_sensitive = given.truth(interpreter, 0, false);
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : subject.as_dict().entries()) {
    const Value& sorted_by = by == "key" ? key : value;
    keyed.push_back({case_sensitive ? sorted_by : ignore_case(interpreter, sorted_by),
                     interpreter.tuple({key, value})});
  }
  sort_by_key(interpreter, keyed, given.integer(2, 0) != 0);
  return interpreter.list(items_of(std::move(keyed)));
}

Value filter_groupby(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  const bool case_sensitive = given.truth(interpreter, 2, false);
  const AttributePath path(interpreter, given[0]);
  std::vector<Keyed> keyed;
  for_each(interpreter, subject, [&](const Value& item) {
    const Value key = path.follow(interpreter, item, given[1]);
    keyed.push_back({case_sensitive ? key : ignore_case(interpreter, key), item});
    return true;
  });
  sort_by_key(interpreter, keyed, false);
  std::vector<Value> groups;
  for (std::size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> members;
    std::size_t end = begin;
    do {
      members.push_back(keyed[end++].item);
    } while (end < keyed.size() && equal(interpreter, keyed[begin].key, keyed[end].key));
    const Value grouper = path.follow(interpreter, members[0], given[1]);
    groups.push_back(make_value<SequenceObject>(
        Kind::kTuple, &interpreter.budget(),
        std::vector<Value>{grouper, interpreter.list(std::move(members))}, true));
    begin = end;
  }
  return interpreter.list(std::move(groups));
}

Value filter_min(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  return extreme(interpreter, subject, args, CompareOp::kLt);
}

Value filter_max(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  return extreme(interpreter, subject, args, CompareOp::kGt);
}

Value filter_sum(Interpreter& interpreter, const Value& subject, CallArgs& args) {
  const Parameters given("sum", args, {"attribute", "start"});
  const AttributePath path(interpreter, given[0]);
  Value total = given.has(1) ? given[1] : Value::integer(0, true);
  if (total.is_string())
    fail(ErrorCode::kInvalidArgument, "sum() can't sum strings [use ''.join(seq) instead]");
  for_each(interpreter, subject, [&](const Value& item) {
    total = binary(interpreter, BinaryOp::kAdd, total, path.follow(interpreter, item));
    return true;
  });
  return total;
}

}  // namespace sampan::jinja
