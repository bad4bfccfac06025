#pragma once

#include <simdjson.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

// Reading JSON files of models with simdjson's DOM: every mismatch is an Error that names the
// file's part. Private to this folder's sources.
namespace sampan {

class JsonDocument {
 public:
  // Parses `text`; `name` is what messages call it. Throws Error kInvalidData, also for more than
  // 64 levels of nesting.
  JsonDocument(std::string_view text, std::string name);

  const std::string& name() const { return name_; }
  simdjson::dom::object root() const { return root_; }

 private:
  std::string name_;
  simdjson::dom::parser parser_;
  simdjson::dom::object root_;
};

namespace json {

using Element = simdjson::dom::element;
using Object = simdjson::dom::object;
using Array = simdjson::dom::array;

// `where` names the value in messages: "tokenizer.json: model.vocab". Throw Error kInvalidData for
// another type.
std::string_view to_string(Element value, std::string_view where);
std::int64_t to_int(Element value, std::string_view where);
bool to_bool(Element value, std::string_view where);
Object to_object(Element value, std::string_view where);
Array to_array(Element value, std::string_view where);

// A member, nothing if it is absent or null.
std::optional<Element> find(Object object, std::string_view key);
// A member that must be there.
Element get(Object object, std::string_view key, std::string_view where);

bool bool_or(Object object, std::string_view key, bool otherwise, std::string_view where);

}  // namespace json
}  // namespace sampan
