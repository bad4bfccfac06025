#include "serve/trace/key_values.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/text.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxBytes = 64 << 10;
constexpr std::size_t kMaxEntries = 256;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text, std::size_t number) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      fail(ErrorCode::kInvalidArgument, "the value of entry {} has a broken % escape", number);
    result += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return result;
}

bool is_token(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_control(char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7F; }

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return text;
}

}  // namespace

KeyValues parse_key_values(std::string_view text) {
  if (text.size() > kMaxBytes)
    fail(ErrorCode::kInvalidArgument, "the list is longer than {} bytes", kMaxBytes);
  KeyValues list;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t comma = std::min(text.size(), text.find(','));
    const std::string_view entry = trimmed(text.substr(0, comma));
    text.remove_prefix(std::min(text.size(), comma + 1));
    if (entry.empty()) continue;
    const std::size_t equals = entry.find('=');
    const std::string_view name = trimmed(entry.substr(0, equals));
    if (equals == std::string_view::npos || name.empty())
      fail(ErrorCode::kInvalidArgument, "entry {} is not name=value", number);
    if (list.size() == kMaxEntries)
      fail(ErrorCode::kInvalidArgument, "the list has more than {} entries", kMaxEntries);
    list.emplace_back(name, percent_decoded(trimmed(entry.substr(equals + 1)), number));
  }
  return list;
}

KeyValues parse_header_list(std::string_view text) {
  KeyValues list = parse_key_values(text);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& [name, value] = list[i];
    if (!is_token(name))
      fail(ErrorCode::kInvalidArgument, "entry {} does not begin with a header's name", i + 1);
    for (const char* const own : {"content-type", "content-length", "transfer-encoding"}) {
      if (lower(name) == own) fail(ErrorCode::kInvalidArgument, "{} cannot be set", own);
    }
    if (std::any_of(value.begin(), value.end(), is_control))
      fail(ErrorCode::kInvalidArgument, "the value of {} has control characters", name);
  }
  return list;
}

}  // namespace sampan
