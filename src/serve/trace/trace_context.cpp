#include "serve/trace/trace_context.h"

#include <fmt/core.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/text.h"

namespace sampan {
namespace {

constexpr std::size_t kMaxStateBytes = 512;
constexpr std::size_t kMaxStateEntries = 32;

// Lower-case digits only, as the standard has it.
std::optional<std::uint64_t> parse_hex(std::string_view digits) {
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c >= '0' && c <= '9') {
      value = value << 4 | static_cast<std::uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | static_cast<std::uint64_t>(c - 'a' + 10);
    } else {
      return std::nullopt;
    }
  }
  return value;
}

bool is_state_key(std::string_view key) {
  if (key.empty() || key.size() > 256) return false;
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (!is_plain(key.front()) || key.back() == '@') return false;
  return std::count(key.begin(), key.end(), '@') <= 1 &&
         std::all_of(key.begin(), key.end(), [&](char c) {
           return is_plain(c) || std::string_view("_-*/@").find(c) != std::string_view::npos;
         });
}

bool is_state_value(std::string_view value) {
  return !value.empty() && value.size() <= 256 &&
         std::all_of(value.begin(), value.end(),
                     [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; });
}

std::uint64_t random_bits() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return random();
}

}  // namespace

std::string TraceId::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

std::string span_id_hex(std::uint64_t id) { return fmt::format("{:016x}", id); }

// "00-<32 digits>-<16 digits>-<2 digits>"; later versions may go on behind a '-'.
std::optional<TraceContext> parse_traceparent(std::string_view text) {
  constexpr std::size_t kSize = 55;
  if (text.size() < kSize || text[2] != '-' || text[35] != '-' || text[52] != '-')
    return std::nullopt;
  const auto version = parse_hex(text.substr(0, 2));
  if (!version || *version == 0xFF) return std::nullopt;
  if (text.size() > kSize && (*version == 0 || text[kSize] != '-')) return std::nullopt;
  const auto high = parse_hex(text.substr(3, 16)), low = parse_hex(text.substr(19, 16));
  const auto span = parse_hex(text.substr(36, 16)), flags = parse_hex(text.substr(53, 2));
  if (!high || !low || !span || !flags) return std::nullopt;
  if ((*high == 0 && *low == 0) || *span == 0) return std::nullopt;
  TraceContext context;
  context.trace_id = {*high, *low};
  context.span_id = *span;
  context.is_sampled = (*flags & 1) != 0;
  return context;
}

std::string parse_tracestate(std::string_view text) {
  if (text.size() > kMaxStateBytes) return "";
  std::string state;
  std::vector<std::string_view> keys;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.size(), text.find(','));
    const std::string_view entry = trimmed(text.substr(0, comma));
    text.remove_prefix(std::min(text.size(), comma + 1));
    if (entry.empty()) continue;
    const std::size_t equals = entry.find('=');
    if (equals == std::string_view::npos) return "";
    const std::string_view key = entry.substr(0, equals);
    if (!is_state_key(key) || !is_state_value(entry.substr(equals + 1))) return "";
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) return "";
    keys.push_back(key);
    if (keys.size() > kMaxStateEntries) return "";
    if (!state.empty()) state += ',';
    state += entry;
  }
  return state;
}

TraceId new_trace_id() {
  TraceId id;
  while (id == TraceId{}) id = {random_bits(), random_bits()};
  return id;
}

std::uint64_t new_span_id() {
  std::uint64_t id = 0;
  while (id == 0) id = random_bits();
  return id;
}

}  // namespace sampan
