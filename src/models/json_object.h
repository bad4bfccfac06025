#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// Read-only typed access to a JSON object of a configuration file; every getter names the file and key in its error. A key that
// is absent or null counts as missing, as it does for transformers. Borrows the JSON value.
class JsonObject {
 public:
  JsonObject(const nlohmann::json& object, std::string label);

  bool has(std::string_view key) const;
  // Throw Error kInvalidData when missing, of another type, or outside [low, high].
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  double number(std::string_view key) const;
  std::string string(std::string_view key) const;

  std::int64_t integer_or(std::string_view key, std::int64_t low, std::int64_t high, std::int64_t fallback) const;
  double number_or(std::string_view key, double fallback) const;
  std::string string_or(std::string_view key, std::string_view fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::optional<double> optional_number(std::string_view key) const;
  // An integer or a list of integers ("eos_token_id" is either); empty when missing.
  std::vector<std::int32_t> ids(std::string_view key) const;
  std::vector<std::string> strings(std::string_view key) const;  // empty when missing
  std::optional<JsonObject> object(std::string_view key) const;
  std::vector<std::string> keys() const;  // those that are null left out

  const std::string& label() const { return label_; }

 private:
  const nlohmann::json* find(std::string_view key) const;
  const nlohmann::json& require(std::string_view key) const;

  const nlohmann::json* object_;
  std::string label_;
};

}  // namespace sampan
