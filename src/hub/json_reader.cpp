#include "hub/json_reader.h"

#include <algorithm>

#include "base/error.h"

namespace sampan {
namespace {

constexpr int kMaxDepth = 64;

// The deepest nesting of brackets outside strings. Counted before parsing, so that a body of
// brackets alone costs no memory.
int nesting_depth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

nlohmann::json read_json(std::string_view text, std::string_view what) {
  if (nesting_depth(text) > kMaxDepth)
    fail(ErrorCode::kInvalidData, "{}: JSON nested deeper than {}", what, kMaxDepth);
  auto value = nlohmann::json::parse(text, nullptr, false);
  if (value.is_discarded()) {
    fail(ErrorCode::kInvalidData, "{}: not JSON: \"{}\"", what, printable(text.substr(0, 60)));
  }
  return value;
}

}  // namespace sampan
