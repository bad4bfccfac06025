#include "models/json_object.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace sampan {

JsonObject::JsonObject(const nlohmann::json& object, std::string label)
    : object_(&object), label_(std::move(label)) {
  if (!object.is_object()) fail(ErrorCode::kInvalidData, "{}: not a JSON object", label_);
}

const nlohmann::json* JsonObject::find(std::string_view key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

const nlohmann::json& JsonObject::require(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) fail(ErrorCode::kInvalidData, "{}: \"{}\" is missing", label_, key);
  return *value;
}

bool JsonObject::has(std::string_view key) const { return find(key) != nullptr; }

std::int64_t JsonObject::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const nlohmann::json& value = require(key);
  std::int64_t result = 0;
  if (value.is_number_integer()) {
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) {
      fail(ErrorCode::kInvalidData, "{}: \"{}\" is {}, at most {} is possible", label_, key, value.dump(), high);
    }
    result = value.get<std::int64_t>();
  } else if (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>() &&
             std::abs(value.get<double>()) < 9e15) {
    result = static_cast<std::int64_t>(value.get<double>());
  } else {
    fail(ErrorCode::kInvalidData, "{}: \"{}\" is not an integer", label_, key);
  }
  if (result < low || result > high) {
    fail(ErrorCode::kInvalidData, "{}: \"{}\" is {}, not in {} to {}", label_, key, result, low, high);
  }
  return result;
}

double JsonObject::number(std::string_view key) const {
  const nlohmann::json& value = require(key);
  if (!value.is_number() || !std::isfinite(value.get<double>())) {
    fail(ErrorCode::kInvalidData, "{}: \"{}\" is not a number", label_, key);
  }
  return value.get<double>();
}

std::string JsonObject::string(std::string_view key) const {
  const nlohmann::json& value = require(key);
  if (!value.is_string()) fail(ErrorCode::kInvalidData, "{}: \"{}\" is not a string", label_, key);
  return value.get<std::string>();
}

std::int64_t JsonObject::integer_or(std::string_view key, std::int64_t low, std::int64_t high,
                                    std::int64_t fallback) const {
  return has(key) ? integer(key, low, high) : fallback;
}

double JsonObject::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

std::string JsonObject::string_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? string(key) : std::string(fallback);
}

bool JsonObject::boolean_or(std::string_view key, bool fallback) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail(ErrorCode::kInvalidData, "{}: \"{}\" is not true or false", label_, key);
  return value->get<bool>();
}

std::optional<double> JsonObject::optional_number(std::string_view key) const {
  return has(key) ? std::optional<double>(number(key)) : std::nullopt;
}

std::vector<std::int32_t> JsonObject::ids(std::string_view key) const {
  const nlohmann::json* value = find(key);
  std::vector<std::int32_t> ids;
  if (value == nullptr) return ids;
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  for (const nlohmann::json& element : list) {
    if (!element.is_number_integer() || element.get<std::int64_t>() < 0 ||
        element.get<std::int64_t>() > INT32_MAX) {
      fail(ErrorCode::kInvalidData, "{}: \"{}\" is not a token id or a list of them", label_, key);
    }
    ids.push_back(element.get<std::int32_t>());
  }
  return ids;
}

std::vector<std::string> JsonObject::strings(std::string_view key) const {
  const nlohmann::json* value = find(key);
  std::vector<std::string> strings;
  if (value == nullptr) return strings;
  if (!value->is_array()) fail(ErrorCode::kInvalidData, "{}: \"{}\" is not a list", label_, key);
  for (const nlohmann::json& element : *value) {
    if (!element.is_string()) {
      fail(ErrorCode::kInvalidData, "{}: \"{}\" is not a list of strings", label_, key);
    }
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

std::vector<std::string> JsonObject::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_->items()) {
    if (!value.is_null()) keys.push_back(key);
  }
  return keys;
}

std::optional<JsonObject> JsonObject::object(std::string_view key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return JsonObject(*value, label_ + ": " + std::string(key));
}

}  // namespace sampan
