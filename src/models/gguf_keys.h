#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "formats/gguf.h"

namespace sampan {

// Typed, range-checked access to the metadata "<architecture>.<key>" of a GGUF file. Borrows the file.
class GgufKeys {
 public:
  explicit GgufKeys(const GgufFile& gguf);

  bool has(std::string_view key) const;
  // Throw Error kInvalidData, naming the key: when it is missing; when it is outside [low, high]; when it is not finite.
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  std::int64_t integer_or(std::string_view key, std::int64_t low, std::int64_t high, std::int64_t fallback) const;
  double number_or(std::string_view key, double fallback) const;
  std::string string_or(std::string_view key, std::string_view fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;

 private:
  std::int64_t checked(std::string_view key, std::int64_t value, std::int64_t low, std::int64_t high) const;

  const GgufFile& gguf_;
  std::string prefix_;
};

}  // namespace sampan
