#include "serve/api/json.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "serve/api/api_error.h"
#include "text/utf8.h"

namespace sampan {
namespace {

[[noreturn]] void refuse_json(const std::string& why) {
  throw ApiError(400, "The body is not valid JSON: " + why, "", "invalid_json");
}

// Builds the value from the parser's events. What is open lies on a stack and is put into its
// parent when it is whole, with memory for exactly its members: appending to an object of
// nlohmann's would copy all that it has, and searching it for each key would take quadratic time.
class Builder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  Json take() { return std::move(root_); }

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(number_integer_t value) { return put(value); }
  bool number_unsigned(number_unsigned_t value) { return put(value); }
  bool number_float(number_float_t value, const string_t&) {
    if (!std::isfinite(value)) refuse_json("a number is too large");
    return put(value);
  }
  bool string(string_t& value) { return put(std::move(value)); }
  bool binary(binary_t&) { return false; }
  bool start_object(std::size_t) { return open(true); }
  bool start_array(std::size_t) { return open(false); }
  bool key(string_t& value) {
    open_.back().add_key(std::move(value));
    return true;
  }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) {
    if (e.id == 406) refuse_json("a number is too large");
    refuse_json(fmt::format("error at byte {}", position));
  }

 private:
  struct Open {
    bool is_object = false;
    Json::array_t items;
    std::vector<std::string> keys;  // of the items, where it is an object
    std::unordered_set<std::string> seen;

    void add_key(std::string key);
    Json take();
  };

  bool put(Json value) {
    if (++values_ > kMaxJsonValues) refuse_json(fmt::format("more than {} values", kMaxJsonValues));
    if (open_.empty()) {
      root_ = std::move(value);
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }
  bool open(bool is_object) {
    if (open_.size() >= static_cast<std::size_t>(kMaxJsonDepth))
      refuse_json(fmt::format("more than {} levels", kMaxJsonDepth));
    open_.emplace_back();
    open_.back().is_object = is_object;
    return true;
  }
  bool close() {
    Json value = open_.back().take();
    open_.pop_back();
    return put(std::move(value));
  }

  Json root_;
  std::vector<Open> open_;
  std::int64_t values_ = 0;
};

// Few keys are compared with each other, many have a set.
void Builder::Open::add_key(std::string key) {
  constexpr std::size_t kFew = 16;
  bool is_new = true;
  if (keys.size() < kFew) {
    is_new = std::find(keys.begin(), keys.end(), key) == keys.end();
  } else {
    if (seen.empty()) seen.insert(keys.begin(), keys.end());
    is_new = seen.insert(key).second;
  }
  if (!is_new) refuse_json(fmt::format("the key \"{}\" comes twice in an object", printable(key)));
  if (keys.size() >= static_cast<std::size_t>(kMaxJsonMembers))
    refuse_json(fmt::format("an object has more than {} members", kMaxJsonMembers));
  keys.push_back(std::move(key));
}

Json Builder::Open::take() {
  if (!is_object) return Json(std::move(items));
  Json::object_t object;
  Json::object_t::Container& members = object;  // its own emplace_back would be a search
  members.reserve(items.size());
  for (std::size_t i = 0; i < items.size(); ++i)
    members.emplace_back(std::move(keys[i]), std::move(items[i]));
  return Json(std::move(object));
}

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
