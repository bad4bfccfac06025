#include "base/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace sampan {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data() || value < 0) return std::nullopt;
  return value;
}

// The number behind a word at the start of a line ("MemAvailable:   123 kB", "inactive_file 123").
std::optional<std::int64_t> find_number(const fs::path& file, std::string_view word) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(word)) continue;
    const std::size_t digit = line.find_first_of("0123456789", word.size());
    return digit == std::string::npos ? std::nullopt : parse_number(std::string_view(line).substr(digit));
  }
  return std::nullopt;
}

std::optional<std::int64_t> read_number(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;  // "max" is not a number: no limit
  return parse_number(line);
}

// What the limit of one control group leaves.
std::int64_t group_available(const fs::path& group) {
  const std::optional<std::int64_t> limit = read_number(group / "memory.max");
  if (!limit) return kUnlimited;
  const std::int64_t used = read_number(group / "memory.current").value_or(0);
  const std::int64_t cached = find_number(group / "memory.stat", "inactive_file ").value_or(0) +
                              find_number(group / "memory.stat", "active_file ").value_or(0);
  return std::max<std::int64_t>(0, *limit - std::max<std::int64_t>(0, used - cached));
}

// "0::/user.slice/…" of /proc/self/cgroup.
fs::path own_group(const fs::path& root) {
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("0::/")) return line.substr(4);
  }
  return {};
}

// Whole pages that hold the bytes, or that lie within them.
std::span<std::byte> pages_around(std::span<const std::byte> bytes, bool within) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  auto end = begin + bytes.size();
  begin = (within ? begin + page - 1 : begin) / page * page;
  end = within ? end / page * page : end;
  if (end <= begin) return {};
  return {reinterpret_cast<std::byte*>(begin), end - begin};
}

}  // namespace

std::int64_t available_memory(const fs::path& root) {
  std::int64_t available = kUnlimited;
  if (const auto kilobytes = find_number(root / "proc/meminfo", "MemAvailable:"); kilobytes && *kilobytes < kUnlimited / 1024) {
    available = *kilobytes * 1024;
  }
  const fs::path top = root / "sys/fs/cgroup";
  for (fs::path group = own_group(root);; group = group.parent_path()) {
    available = std::min(available, group_available(top / group));
    if (group.empty() || group == group.parent_path()) break;
  }
  return available;
}

void read_ahead(std::span<const std::byte> mapped) {
  const std::span<std::byte> pages = pages_around(mapped, false);
  if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_WILLNEED);  // a hint: no harm if it fails
}

void release_mapped(std::span<const std::byte> mapped) {
  const std::span<std::byte> pages = pages_around(mapped, true);
  if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_DONTNEED);
}

}  // namespace sampan
