#include "models/gguf_keys.h"

#include <cmath>

#include "base/error.h"

namespace sampan {

GgufKeys::GgufKeys(const GgufFile& gguf)
    : gguf_(gguf), prefix_(std::string(gguf.find_string("general.architecture").value_or("")) + ".") {}

bool GgufKeys::has(std::string_view key) const { return gguf_.find(prefix_ + std::string(key)) != nullptr; }

std::int64_t GgufKeys::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const std::optional<std::int64_t> value = gguf_.find_i64(prefix_ + std::string(key));
  if (!value) fail(ErrorCode::kInvalidData, "gguf: {}{} is missing", prefix_, key);
  return checked(key, *value, low, high);
}

std::int64_t GgufKeys::integer_or(std::string_view key, std::int64_t low, std::int64_t high,
                                  std::int64_t fallback) const {
  const std::optional<std::int64_t> value = gguf_.find_i64(prefix_ + std::string(key));
  return value ? checked(key, *value, low, high) : fallback;
}

double GgufKeys::number_or(std::string_view key, double fallback) const {
  const double value = gguf_.find_f64(prefix_ + std::string(key)).value_or(fallback);
  if (!std::isfinite(value)) fail(ErrorCode::kInvalidData, "gguf: {}{} is {}", prefix_, key, value);
  return value;
}

std::string GgufKeys::string_or(std::string_view key, std::string_view fallback) const {
  return std::string(gguf_.find_string(prefix_ + std::string(key)).value_or(fallback));
}

bool GgufKeys::boolean_or(std::string_view key, bool fallback) const {
  return gguf_.find_bool(prefix_ + std::string(key)).value_or(fallback);
}

std::int64_t GgufKeys::checked(std::string_view key, std::int64_t value, std::int64_t low, std::int64_t high) const {
  if (value < low || value > high) {
    fail(ErrorCode::kInvalidData, "gguf: {}{} is {}, not in {} to {}", prefix_, key, value, low, high);
  }
  return value;
}

}  // namespace sampan
