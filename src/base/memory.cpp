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

// Where a version of control groups keeps memory limits, and what it calls them.
struct GroupFiles {
  std::string_view line;  // of /proc/self/cgroup: "4:memory:/…"; what comes before the path
  const char* top;
  const char* limit;
  const char* used;
  const char* inactive;
  const char* active;
};
constexpr GroupFiles kVersion1 = {":memory:/", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                  "total_inactive_file ", "total_active_file "};
constexpr GroupFiles kVersion2 = {"0::/", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ", "active_file "};

// What the limit of one control group leaves.
std::int64_t group_available(const GroupFiles& files, const fs::path& group) {
  const std::optional<std::int64_t> limit = read_number(group / files.limit);
  if (!limit) return kUnlimited;
  const std::int64_t used = read_number(group / files.used).value_or(0);
  const std::int64_t cached = find_number(group / "memory.stat", files.inactive).value_or(0) +
                              find_number(group / "memory.stat", files.active).value_or(0);
  return std::max<std::int64_t>(0, *limit - std::max<std::int64_t>(0, used - cached));
}

// The group of this process, below the top; "" where there is none or it is the top itself.
fs::path own_group(const GroupFiles& files, const fs::path& root) {
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t at = line.find(files.line);
    // "4:memory:/a" has a number before the controller, "0::/a" nothing before it.
    if (at != std::string::npos && (at == 0) == (files.line.front() != ':')) return line.substr(at + files.line.size());
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
  for (const GroupFiles& files : {kVersion1, kVersion2}) {
    const fs::path top = root / files.top;
    for (fs::path group = own_group(files, root);; group = group.parent_path()) {
      available = std::min(available, group_available(files, group.empty() ? top : top / group));
      if (group.empty() || group == group.parent_path()) break;
    }
  }
  return available;
}

void read_ahead(std::span<const std::byte> mapped) {
  const std::span<std::byte> pages = pages_around(mapped, false);
  if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_WILLNEED);  // a hint: no harm if it fails
}

void map_pages(std::span<const std::byte> mapped) {
#if defined(MADV_POPULATE_READ)
  const std::span<std::byte> pages = pages_around(mapped, false);
  if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_POPULATE_READ);  // or they are mapped when they are touched
#else
  (void)mapped;
#endif
}

void release_mapped(std::span<const std::byte> mapped) {
  const std::span<std::byte> pages = pages_around(mapped, true);
  if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_DONTNEED);
}

}  // namespace sampan
