// The typed getters of GgufFile.

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "formats/byte_reader.h"
#include "formats/gguf.h"

namespace sampan {
namespace {

constexpr std::uint64_t kElementsShown = 8;
// Reads here stay inside what was checked when the file was parsed.
constexpr const char* kLabel = "metadata value";

[[noreturn]] void fail_type(const GgufEntry& entry, std::string_view wanted) {
  if (entry.type == GgufType::kArray) {
    fail(ErrorCode::kInvalidData, "gguf: metadata key {} is an array of {}, not {}",
         printable(entry.key), gguf_type_name(entry.element_type), wanted);
  }
  fail(ErrorCode::kInvalidData, "gguf: metadata key {} is of type {}, not {}", printable(entry.key),
       gguf_type_name(entry.type), wanted);
}

bool is_integer(GgufType type) {
  return type <= GgufType::kI32 || type == GgufType::kU64 || type == GgufType::kI64;
}

bool is_number(GgufType type) {
  return is_integer(type) || type == GgufType::kF32 || type == GgufType::kF64;
}

// An integer of any width: the two's complement bits, and whether they mean a negative number.
struct Integer {
  std::uint64_t bits;
  bool negative;
};

template <typename T>
Integer take_integer_as(ByteReader& reader) {
  const T value = reader.take<T>(kLabel);
  return {static_cast<std::uint64_t>(value), value < 0};
}

Integer take_integer(ByteReader& reader, GgufType type) {
  switch (type) {
    case GgufType::kU8:
      return {reader.take<std::uint8_t>(kLabel), false};
    case GgufType::kU16:
      return {reader.take<std::uint16_t>(kLabel), false};
    case GgufType::kU32:
      return {reader.take<std::uint32_t>(kLabel), false};
    case GgufType::kU64:
      return {reader.take<std::uint64_t>(kLabel), false};
    case GgufType::kI8:
      return take_integer_as<std::int8_t>(reader);
    case GgufType::kI16:
      return take_integer_as<std::int16_t>(reader);
    case GgufType::kI32:
      return take_integer_as<std::int32_t>(reader);
    default:
      return take_integer_as<std::int64_t>(reader);
  }
}

std::int64_t take_i64(ByteReader& reader, const GgufEntry& entry) {
  const Integer value = take_integer(reader, entry.element_type);
  if (!value.negative && value.bits > std::numeric_limits<std::int64_t>::max()) {
    fail(ErrorCode::kInvalidData, "gguf: metadata key {}: {} is too large", printable(entry.key),
         value.bits);
  }
  return static_cast<std::int64_t>(value.bits);
}

double take_f64(ByteReader& reader, const GgufEntry& entry) {
  if (entry.element_type == GgufType::kF32) return reader.take<float>(kLabel);
  if (entry.element_type == GgufType::kF64) return reader.take<double>(kLabel);
  const Integer value = take_integer(reader, entry.element_type);
  return value.negative ? static_cast<double>(static_cast<std::int64_t>(value.bits))
                        : static_cast<double>(value.bits);
}

bool take_bool(ByteReader& reader, const GgufEntry&) {
  return reader.take<std::uint8_t>(kLabel) != 0;
}

std::string_view take_string(ByteReader& reader, const GgufEntry&) {
  return reader.take_text(reader.take<std::uint64_t>(kLabel), kLabel);
}

// The elements of an array, read one by one with take_element. Counts were checked against the file
// when it was parsed.
template <typename T, typename Take>
std::vector<T> take_all(const GgufEntry& entry, Take take_element) {
  ByteReader reader(entry.value, "gguf");
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(entry.count));
  for (std::uint64_t i = 0; i < entry.count; ++i) values.push_back(take_element(reader, entry));
  return values;
}

void append_element(std::string& text, ByteReader& reader, const GgufEntry& entry,
                    std::size_t max_bytes) {
  if (entry.element_type == GgufType::kString) {
    text += '"' + printable(take_string(reader, entry), max_bytes) + '"';
  } else if (entry.element_type == GgufType::kBool) {
    text += take_bool(reader, entry) ? "true" : "false";
  } else if (entry.element_type == GgufType::kF32) {
    text += fmt::format("{}", reader.take<float>(kLabel));
  } else if (entry.element_type == GgufType::kF64) {
    text += fmt::format("{}", reader.take<double>(kLabel));
  } else {
    const Integer value = take_integer(reader, entry.element_type);
    text += value.negative ? fmt::format("{}", static_cast<std::int64_t>(value.bits))
                           : fmt::format("{}", value.bits);
  }
}

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  static constexpr std::string_view kNames[] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                "i32", "f32", "bool", "string", "array",
                                                "u64", "i64", "f64"};
  return kNames[static_cast<std::size_t>(type)];
}

const GgufEntry* GgufFile::find(std::string_view key) const {
  const auto place = std::lower_bound(
      key_order_.begin(), key_order_.end(), key,
      [&](std::size_t index, std::string_view wanted) { return metadata_[index].key < wanted; });
  if (place == key_order_.end() || metadata_[*place].key != key) return nullptr;
  return &metadata_[*place];
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != GgufType::kString) fail_type(*entry, "a string");
  ByteReader reader(entry->value, "gguf");
  return take_string(reader, *entry);
}

std::optional<std::uint64_t> GgufFile::find_u64(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (!is_integer(entry->type)) fail_type(*entry, "an integer");
  ByteReader reader(entry->value, "gguf");
  const Integer value = take_integer(reader, entry->type);
  if (value.negative) {
    fail(ErrorCode::kInvalidData, "gguf: metadata key {}: {} is negative", printable(key),
         static_cast<std::int64_t>(value.bits));
  }
  return value.bits;
}

std::optional<std::int64_t> GgufFile::find_i64(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (!is_integer(entry->type)) fail_type(*entry, "an integer");
  ByteReader reader(entry->value, "gguf");
  return take_i64(reader, *entry);
}

std::optional<double> GgufFile::find_f64(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (!is_number(entry->type)) fail_type(*entry, "a number");
  ByteReader reader(entry->value, "gguf");
  return take_f64(reader, *entry);
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != GgufType::kBool) fail_type(*entry, "a bool");
  ByteReader reader(entry->value, "gguf");
  return take_bool(reader, *entry);
}

std::optional<std::vector<std::string_view>> GgufFile::find_strings(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != GgufType::kArray || entry->element_type != GgufType::kString) {
    fail_type(*entry, "an array of strings");
  }
  return take_all<std::string_view>(*entry, take_string);
}

std::optional<std::vector<std::int64_t>> GgufFile::find_i64s(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != GgufType::kArray || !is_integer(entry->element_type)) {
    fail_type(*entry, "an array of integers");
  }
  return take_all<std::int64_t>(*entry, take_i64);
}

std::optional<std::vector<double>> GgufFile::find_f64s(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != GgufType::kArray || !is_number(entry->element_type)) {
    fail_type(*entry, "an array of numbers");
  }
  return take_all<double>(*entry, take_f64);
}

std::optional<std::vector<bool>> GgufFile::find_bools(std::string_view key) const {
  const GgufEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != GgufType::kArray || entry->element_type != GgufType::kBool) {
    fail_type(*entry, "an array of bools");
  }
  return take_all<bool>(*entry, take_bool);
}

std::string_view GgufFile::string(std::string_view key) const {
  if (const auto value = find_string(key)) return *value;
  fail(ErrorCode::kInvalidData, "gguf: metadata key {} is missing", printable(key));
}

std::uint64_t GgufFile::u64(std::string_view key) const {
  if (const auto value = find_u64(key)) return *value;
  fail(ErrorCode::kInvalidData, "gguf: metadata key {} is missing", printable(key));
}

double GgufFile::f64(std::string_view key) const {
  if (const auto value = find_f64(key)) return *value;
  fail(ErrorCode::kInvalidData, "gguf: metadata key {} is missing", printable(key));
}

std::string GgufFile::value_text(const GgufEntry& entry, std::size_t max_bytes) const {
  ByteReader reader(entry.value, "gguf");
  std::string text;
  if (entry.type != GgufType::kArray) {
    append_element(text, reader, entry, max_bytes);
    return text;
  }
  text = "[";
  if (entry.element_type != GgufType::kArray) {
    for (std::uint64_t i = 0; i < std::min(entry.count, kElementsShown); ++i) {
      if (i > 0) text += ", ";
      append_element(text, reader, entry, max_bytes);
    }
  }
  if (entry.count > kElementsShown || entry.element_type == GgufType::kArray) {
    text += fmt::format("{}… {} of type {}", text.size() > 1 ? ", " : "", entry.count,
                        gguf_type_name(entry.element_type));
  }
  return text + "]";
}

}  // namespace sampan
