#include "text/json_access.h"

#include <utility>

namespace sampan {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxBytes = 256u << 20;

}  // namespace

JsonDocument::JsonDocument(std::string_view text, std::string name)
    : name_(std::move(name)), parser_(kMaxBytes) {
  if (text.size() > kMaxBytes) {
    fail(ErrorCode::kLimit, "{}: {} bytes, at most {} are read", name_, text.size(), kMaxBytes);
  }
  // The parser grows to the document; only the depth is set beforehand.
  if (const auto error = parser_.allocate(text.size(), kMaxDepth); error != simdjson::SUCCESS) {
    fail(ErrorCode::kLimit, "{}: {}", name_, simdjson::error_message(error));
  }
  const simdjson::padded_string padded(text.data(), text.size());
  simdjson::dom::element root;
  if (const auto error = parser_.parse(padded).get(root); error != simdjson::SUCCESS) {
    fail(ErrorCode::kInvalidData, "{}: {}", name_, simdjson::error_message(error));
  }
  root_ = json::to_object(root, name_);
}

namespace json {
namespace {

template <typename T>
T as(Element value, std::string_view where, std::string_view expected) {
  T result;
  if (value.get(result) != simdjson::SUCCESS)
    fail(ErrorCode::kInvalidData, "{}: {} expected", where, expected);
  return result;
}

}  // namespace

std::string_view to_string(Element value, std::string_view where) {
  return as<std::string_view>(value, where, "a string");
}
std::int64_t to_int(Element value, std::string_view where) {
  return as<std::int64_t>(value, where, "an integer");
}
bool to_bool(Element value, std::string_view where) {
  return as<bool>(value, where, "true or false");
}
Object to_object(Element value, std::string_view where) {
  return as<Object>(value, where, "an object");
}
Array to_array(Element value, std::string_view where) {
  return as<Array>(value, where, "an array");
}

std::optional<Element> find(Object object, std::string_view key) {
  Element value;
  if (object.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

Element get(Object object, std::string_view key, std::string_view where) {
  if (const auto value = find(object, key)) return *value;
  fail(ErrorCode::kInvalidData, "{}: '{}' is missing", where, key);
}

bool bool_or(Object object, std::string_view key, bool otherwise, std::string_view where) {
  const auto value = find(object, key);
  return value ? to_bool(*value, where) : otherwise;
}

}  // namespace json
}  // namespace sampan
