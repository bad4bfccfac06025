#include "serve/api/fields.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "serve/api/api_error.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxIgnored = 64;    // names that are remembered
constexpr std::size_t kMaxMembers = 1024;  // of an object whose fields are known

// The parts of "a|b|c".
template <typename Visit>
bool any_part(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.size(), list.find('|'));
    if (visit(list.substr(0, end))) return true;
    list.remove_prefix(std::min(list.size(), end + 1));
  }
  return false;
}

bool is_neutral(const Field& field, const Json& value) {
  if (value.is_null() || value == false) return true;
  if ((value.is_string() || value.is_structured()) &&
      (value.is_string() ? value.get_ref<const std::string&>().empty() : value.empty()))
    return true;
  const auto is_plain = [](const Json& one) { return !one.is_structured(); };
  if (value.is_object() || value.size() > 4 ||
      (value.is_array() && !std::all_of(value.begin(), value.end(), is_plain)))
    return false;
  return any_part(field.neutral,
                  [text = dump(value)](std::string_view one) { return one == text; });
}

std::string number_text(double value) {
  return std::abs(value) < 1e15 && value == std::floor(value)
             ? fmt::format("{}", static_cast<std::int64_t>(value))
             : fmt::format("{}", value);
}

std::string_view type_words(Field::Type type) {
  switch (type) {
    case Field::Type::kString:
      return "a string";
    case Field::Type::kInteger:
      return "an integer";
    case Field::Type::kNumber:
      return "a number";
    case Field::Type::kBool:
      return "true or false";
    case Field::Type::kObject:
      return "an object";
    case Field::Type::kArray:
      return "an array";
    case Field::Type::kStrings:
      return "a string or an array of strings";
    case Field::Type::kAny:
      break;
  }
  return "a value";
}

bool is_string(const Json& value) { return value.is_string(); }

bool has_type(const Json& value, Field::Type type) {
  switch (type) {
    case Field::Type::kString:
      return value.is_string();
    case Field::Type::kInteger:
      return as_integer(value).has_value();
    case Field::Type::kNumber:
      return value.is_number();
    case Field::Type::kBool:
      return value.is_boolean();
    case Field::Type::kObject:
      return value.is_object();
    case Field::Type::kArray:
      return value.is_array();
    case Field::Type::kStrings:
      return value.is_string() ||
             (value.is_array() && std::all_of(value.begin(), value.end(), is_string));
    case Field::Type::kAny:
      return true;
  }
  return false;
}

}  // namespace

FieldTable operator+(FieldTable a, const FieldTable& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::optional<std::int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  if (number != std::floor(number) || std::abs(number) > 0x1p53) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

Body::Body(const Json& object, const FieldTable& table, std::vector<std::string>* ignored,
           std::string prefix)
    : object_(&object), table_(&table), ignored_(ignored), prefix_(std::move(prefix)) {
  if (!object.is_object()) {
    const std::string name =
        prefix_.empty() ? "The body" : "'" + prefix_.substr(0, prefix_.size() - 1) + "'";
    throw ApiError(400, name + " must be an object.",
                   prefix_.empty() ? "" : prefix_.substr(0, prefix_.size() - 1), "invalid_type");
  }
  if (object.size() > kMaxMembers)
    throw ApiError(400, fmt::format("An object has more than {} members.", kMaxMembers));
  for (const auto& member : object.items()) {
    const std::string& name = member.key();
    const Json& value = member.value();
    const auto known = std::find_if(table.begin(), table.end(),
                                    [&](const Field& field) { return field.name == name; });
    const bool counts = known != table.end() && known->status != Field::Status::kIgnored;
    if (counts) check(*known, value);
    if (!counts && ignored_ != nullptr && ignored_->size() < kMaxIgnored && !value.is_null() &&
        std::find(ignored_->begin(), ignored_->end(), prefix_ + name) == ignored_->end())
      ignored_->push_back(prefix_ + name);
  }
  for (const Field& field : table) {
    if (!field.is_required) continue;
    const auto found = object.find(field.name);
    if (found == object.end() || found->is_null()) {
      throw ApiError(400, fmt::format("Missing required parameter: '{}'.", param(field.name)),
                     param(field.name), "missing_required_parameter");
    }
  }
}

void Body::refuse(std::string_view name, const std::string& message) const {
  throw ApiError(400, message, param(name), "invalid_value");
}

void Body::check(const Field& field, const Json& value) const {
  const std::string name = param(field.name);
  if (field.status == Field::Status::kRefused || field.status == Field::Status::kNotThere) {
    if (is_neutral(field, value)) return;
    throw ApiError(400,
                   fmt::format("'{}' is not supported{}{}.", name,
                               field.status == Field::Status::kNotThere ? " yet" : "",
                               field.note.empty() ? "" : fmt::format(" ({})", field.note)),
                   name, "unsupported_parameter");
  }
  if (value.is_null()) return;
  if (!has_type(value, field.type)) {
    throw ApiError(400, fmt::format("'{}' must be {}.", name, type_words(field.type)), name,
                   "invalid_type");
  }
  if (value.is_number()) check_number(field, value);
  if (value.is_array() || (value.is_string() && field.type == Field::Type::kStrings)) {
    const auto count = value.is_array() ? static_cast<double>(value.size()) : 1.0;
    if (count < field.min || count > field.max) {
      const std::string low = number_text(std::max(field.min, 0.0));
      refuse(field.name,
             fmt::format("'{}' has {} entries; it {}.", name, count,
                         std::isinf(field.max)
                             ? fmt::format("must have at least {}", low)
                             : fmt::format("may have {} to {}", low, number_text(field.max))));
    }
  }
  if (value.is_string() && !field.values.empty() &&
      !any_part(field.values,
                [&](std::string_view one) { return one == value.get_ref<const std::string&>(); })) {
    std::string list(field.values);
    for (std::size_t at = 0; (at = list.find('|', at)) != std::string::npos; at += 2)
      list.replace(at, 1, ", ");
    refuse(field.name, fmt::format("'{}' is \"{}\"; it may be {}.", name,
                                   printable(value.get_ref<const std::string&>()), list));
  }
  if (field.members != nullptr && value.is_object())
    Body(value, *field.members, ignored_, name + ".");
}

void Body::check_number(const Field& field, const Json& value) const {
  const auto number = value.get<double>();
  if (number >= field.min && number <= field.max) return;
  const std::string name = param(field.name);
  std::string range;
  if (std::isinf(field.max)) {
    range = fmt::format("at least {}", number_text(field.min));
  } else if (std::isinf(field.min)) {
    range = fmt::format("at most {}", number_text(field.max));
  } else {
    range = fmt::format("between {} and {}", number_text(field.min), number_text(field.max));
  }
  refuse(field.name, fmt::format("'{}' is {}; it must be {}.", name, dump(value), range));
}

const Field& Body::field(std::string_view name) const {
  const auto known = std::find_if(table_->begin(), table_->end(),
                                  [&](const Field& one) { return one.name == name; });
  SAMPAN_CHECK(known != table_->end());
  return *known;
}

const Json* Body::find(std::string_view name) const {
  field(name);
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> Body::string(std::string_view name) const {
  SAMPAN_CHECK(field(name).type == Field::Type::kString);
  const Json* const value = find(name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

std::optional<std::int64_t> Body::integer(std::string_view name) const {
  SAMPAN_CHECK(field(name).type == Field::Type::kInteger);
  const Json* const value = find(name);
  return value == nullptr ? std::nullopt : as_integer(*value);
}

std::optional<double> Body::number(std::string_view name) const {
  SAMPAN_CHECK(field(name).type == Field::Type::kNumber);
  const Json* const value = find(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

std::optional<bool> Body::boolean(std::string_view name) const {
  SAMPAN_CHECK(field(name).type == Field::Type::kBool);
  const Json* const value = find(name);
  if (value == nullptr || !value->is_boolean()) return std::nullopt;
  return value->get<bool>();
}

std::vector<std::string> Body::strings(std::string_view name) const {
  SAMPAN_CHECK(field(name).type == Field::Type::kStrings);
  const Json* const value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  return value->get<std::vector<std::string>>();
}

std::optional<Body> Body::object(std::string_view name) const {
  const Field& known = field(name);
  SAMPAN_CHECK(known.members != nullptr);
  const Json* const value = find(name);
  if (value == nullptr || !value->is_object()) return std::nullopt;
  return Body(*value, *known.members, nullptr, param(name) + ".");
}

}  // namespace sampan
