#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

// JSON of requests and replies; private to this folder's sources.
namespace sampan {

// Keeps the order of members: templates print tools as they were sent.
using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 128;
inline constexpr std::int64_t kMaxJsonValues = std::int64_t{1} << 22;
inline constexpr std::int64_t kMaxJsonMembers = std::int64_t{1} << 19;  // of one object

// A request's body. Throws ApiError 400 for what is no JSON in UTF-8 (lone surrogates included),
// more than 128 levels or 4 million values, an object that has a key twice or half a million of
// them, a number beyond double's range. Time and memory are linear in the text.
Json parse_json(std::string_view text);

// One line of JSON; bytes that are no UTF-8 become U+FFFD.
std::string dump(const Json& value);

// Whether all of it is well-formed UTF-8.
bool is_utf8(std::string_view text);
// With U+FFFD for each byte that is not.
std::string repaired_utf8(std::string_view text);

// A number for JSON, which has no infinity: those and NaN become OpenAI's -9999.
double json_logprob(float logprob);

}  // namespace sampan
