#pragma once

#include "text/jinja/interpreter.h"
#include "text/jinja/value.h"

// The filters, one function each; the table is in filters.cpp.
namespace sampan::jinja {

#define SAMPAN_FILTER(name) \
  Value name(Interpreter& interpreter, const Value& subject, CallArgs& args)
// filters_text.cpp
SAMPAN_FILTER(filter_capitalize);
SAMPAN_FILTER(filter_center);
SAMPAN_FILTER(filter_escape);
SAMPAN_FILTER(filter_forceescape);
SAMPAN_FILTER(filter_format);
SAMPAN_FILTER(filter_indent);
SAMPAN_FILTER(filter_lower);
SAMPAN_FILTER(filter_pprint);
SAMPAN_FILTER(filter_replace);
SAMPAN_FILTER(filter_safe);
SAMPAN_FILTER(filter_string);
SAMPAN_FILTER(filter_striptags);
SAMPAN_FILTER(filter_title);
SAMPAN_FILTER(filter_trim);
SAMPAN_FILTER(filter_truncate);
SAMPAN_FILTER(filter_upper);
SAMPAN_FILTER(filter_urlencode);
SAMPAN_FILTER(filter_wordcount);
SAMPAN_FILTER(filter_xmlattr);
// filters_value.cpp
SAMPAN_FILTER(filter_abs);
SAMPAN_FILTER(filter_attr);
SAMPAN_FILTER(filter_default);
SAMPAN_FILTER(filter_filesizeformat);
SAMPAN_FILTER(filter_float);
SAMPAN_FILTER(filter_int);
SAMPAN_FILTER(filter_length);
SAMPAN_FILTER(filter_round);
SAMPAN_FILTER(filter_tojson);
SAMPAN_FILTER(filter_unsupported);
// filters_sequence.cpp
SAMPAN_FILTER(filter_dictsort);
SAMPAN_FILTER(filter_first);
SAMPAN_FILTER(filter_groupby);
SAMPAN_FILTER(filter_join);
SAMPAN_FILTER(filter_last);
SAMPAN_FILTER(filter_list);
SAMPAN_FILTER(filter_max);
SAMPAN_FILTER(filter_min);
SAMPAN_FILTER(filter_reverse);
SAMPAN_FILTER(filter_sort);
SAMPAN_FILTER(filter_sum);
// filters_lazy.cpp: what returns an iterator
SAMPAN_FILTER(filter_batch);
SAMPAN_FILTER(filter_items);
SAMPAN_FILTER(filter_map);
SAMPAN_FILTER(filter_reject);
SAMPAN_FILTER(filter_rejectattr);
SAMPAN_FILTER(filter_select);
SAMPAN_FILTER(filter_selectattr);
SAMPAN_FILTER(filter_slice);
SAMPAN_FILTER(filter_unique);
#undef SAMPAN_FILTER

// "a.b.0" of a filter's attribute argument: the keys to follow one after the other.
class AttributePath {
 public:
  // None or kMissing: the item itself.
  AttributePath(Interpreter& interpreter, const Value& attribute);
  // What the path leads to from `item`; where a step leads to an Undefined, `otherwise` unless that
  // is None or kMissing.
  Value follow(Interpreter& interpreter, Value item, const Value& otherwise = Value()) const;
  const std::vector<Value>& keys() const { return keys_; }

 private:
  std::vector<Value> keys_;
};

// A string in lower case; others as they are.
Value ignore_case(Interpreter& interpreter, const Value& value);

}  // namespace sampan::jinja
