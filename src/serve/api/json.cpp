#include "serve/api/json.h"

#include <fmt/core.h>

#include <cmath>
#include <unordered_set>
#include <vector>

#include "serve/api/api_error.h"
#include "text/utf8.h"

namespace sampan {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw ApiError(400, "The body is not valid JSON: " + why, "", "invalid_json");
}

// Builds the value from the parser's events. Members are appended without a search, and a set tells
// keys that come twice, so that no body costs more than linear time.
class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  Json take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(number_integer_t value) { return add(value); }
  bool number_unsigned(number_unsigned_t value) { return add(value); }
  bool number_float(number_float_t value, const string_t&) {
    if (!std::isfinite(value)) refuse("a number is too large");
    return add(value);
  }
  bool string(string_t& value) { return add(std::move(value)); }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) {
    open(Json::object());
    keys_.emplace_back();
    return true;
  }
  bool key(string_t& value) {
    if (!keys_.back().insert(value).second)
      refuse(fmt::format("the key \"{}\" comes twice in an object", printable(value)));
    key_ = std::move(value);
    return true;
  }
  bool end_object() {
    keys_.pop_back();
    open_.pop_back();
    return true;
  }
  bool start_array(std::size_t) {
    open(Json::array());
    return true;
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) {
    if (e.id == 406) refuse("a number is too large");
    refuse(fmt::format("error at byte {}", position));
  }

 private:
  // Returns where the value is now.
  Json* put(Json value) {
    if (++values_ > kMaxJsonValues) refuse(fmt::format("more than {} values", kMaxJsonValues));
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<Json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    Json::object_t::Container& members = open_.back()->get_ref<Json::object_t&>();
    members.emplace_back(std::move(key_), std::move(value));
    return &members.back().second;
  }
  bool add(Json value) {
    put(std::move(value));
    return true;
  }
  void open(Json value) {
    if (open_.size() >= static_cast<std::size_t>(kMaxJsonDepth))
      refuse(fmt::format("more than {} levels", kMaxJsonDepth));
    open_.push_back(put(std::move(value)));
  }

  Json root_;
  std::vector<Json*> open_;
  std::vector<std::unordered_set<std::string>> keys_;  // of the open objects
  std::string key_;
  std::int64_t values_ = 0;
};

}  // namespace

Json parse_json(std::string_view text) {
  Builder builder;
  Json::sax_parse(text, &builder);
  return builder.take();
}

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_utf8(std::string_view text) {
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const CodePoint point = decode_utf8(p, end);
    if (point.value == kInvalidByte) return false;
    p += point.size;
  }
  return true;
}

std::string repaired_utf8(std::string_view text) {
  std::string result;
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const CodePoint point = decode_utf8(p, end);
    if (point.value == kInvalidByte) {
      append_utf8(result, 0xFFFD);
    } else {
      result.append(p, point.size);
    }
    p += point.size;
  }
  return result;
}

double json_logprob(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : -9999.0;
}

}  // namespace sampan
