#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace sampan {

// Parses untrusted JSON (hub replies, manifests). Throws Error kInvalidData "WHAT: …" for text that
// is no JSON or nests deeper than 64 levels. For the .cpp files of this folder only.
nlohmann::json read_json(std::string_view text, std::string_view what);

}  // namespace sampan
