#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/json.h"

namespace sampan {

inline constexpr double kMaxInt32 = 2147483647;
// Field::fallback of settings that a model's makers recommend.
inline constexpr std::string_view kModelsOwn = "the model's generation_config.json";

struct Field;
using FieldTable = std::vector<Field>;

// A field of a route's body. The tables drive the parsing (Body) and the reference page.
struct Field {
  enum class Type { kString, kInteger, kNumber, kBool, kObject, kArray, kStrings, kAny };
  enum class Status {
    kHonoured,
    kIgnored,   // known, changes nothing that the answer says
    kRefused,   // known and not offered: any but a neutral value is 400
    kNotThere,  // the same, and it will come
  };

  std::string_view name = {};
  Type type = Type::kAny;
  Status status = Status::kHonoured;
  bool is_required = false;
  double min = -std::numeric_limits<double>::infinity();  // of a number; of the length of an array
  double max = std::numeric_limits<double>::infinity();
  std::string_view fallback = {};  // what holds where it is absent, in words
  std::string_view note = {};
  std::string_view values = {};   // the strings that it may be, with | between them; "" = any
  std::string_view neutral = {};  // JSON values with | between them that a refused field may have
                                  // beside null, false, "", [] and {}
  const FieldTable* members = nullptr;  // of an object
};

FieldTable operator+(FieldTable a, const FieldTable& b);

// An object of a request with the table that it was checked against. Reading a field that the table
// does not have, or as another type, is a bug of ours. Null counts as absent. The JSON and the
// table outlive it.
class Body {
 public:
  // Throws ApiError 400 naming the field for a wrong type, a number out of range, a refused field,
  // a required one that is absent. ignored (may be null) collects the names of unknown and ignored
  // ones. prefix: what `object` is called in errors, with its dot ("messages[2].").
  Body(const Json& object, const FieldTable& table, std::vector<std::string>* ignored = nullptr,
       std::string prefix = "");

  bool has(std::string_view name) const { return find(name) != nullptr; }
  // Null where it is absent.
  const Json* find(std::string_view name) const;
  std::optional<std::string> string(std::string_view name) const;
  std::optional<std::int64_t> integer(std::string_view name) const;
  std::optional<double> number(std::string_view name) const;
  std::optional<bool> boolean(std::string_view name) const;
  // A string counts as a list of one.
  std::vector<std::string> strings(std::string_view name) const;
  // Nothing where it is absent.
  std::optional<Body> object(std::string_view name) const;

  // What a field is called in errors.
  std::string param(std::string_view name) const { return prefix_ + std::string(name); }
  [[noreturn]] void refuse(std::string_view name, const std::string& message) const;

 private:
  const Field& field(std::string_view name) const;
  void check(const Field& field, const Json& value) const;
  void check_number(const Field& field, const Json& value) const;

  const Json* object_;
  const FieldTable* table_;
  std::vector<std::string>* ignored_;
  std::string prefix_;
};

// Any integer that fits int64; a float counts where it is one. Nothing for what is none.
std::optional<std::int64_t> as_integer(const Json& value);

}  // namespace sampan
