#include "base/memory_nodes.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

namespace sampan {
namespace {

// A kernel's list such as "0-3,8,10-11"; what cannot be read of it is left out.
std::vector<int> parse_list(std::string_view text) {
  constexpr int kMostCpus = 1 << 16;
  std::vector<int> cpus;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    int first = 0;
    const char* const end = item.data() + item.size();
    const auto [rest, error] = std::from_chars(item.data(), end, first);
    if (error != std::errc{}) continue;
    int last = first;
    if (rest != end && *rest == '-') std::from_chars(rest + 1, end, last);
    for (int cpu = std::max(first, 0); cpu <= std::min(last, kMostCpus); ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) cpus.push_back(cpu);
    }
  } else {
    cpus.resize(std::max(1u, std::thread::hardware_concurrency()));
    std::iota(cpus.begin(), cpus.end(), 0);
  }
  return cpus;
}

}  // namespace

CpuNodes read_cpu_nodes(std::span<const int> allowed, const std::filesystem::path& root) {
  std::map<int, std::vector<int>> nodes;  // by number
  std::vector<int> left(allowed.begin(), allowed.end());
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(root / "sys/devices/system/node", error)) {
    const std::string name = entry.path().filename();
    int number = 0;
    if (!name.starts_with("node") ||
        std::from_chars(name.data() + 4, name.data() + name.size(), number).ec != std::errc{})
      continue;
    std::string list;
    std::getline(std::ifstream(entry.path() / "cpulist"), list);
    for (const int cpu : parse_list(list)) {
      if (std::erase(left, cpu) > 0) nodes[number].push_back(cpu);
    }
  }
  CpuNodes found;
  for (auto& [number, cpus] : nodes) found.push_back(std::move(cpus));
  if (found.empty()) found.emplace_back();
  found.front().insert(found.front().end(), left.begin(), left.end());  // of no node
  return found;
}

const CpuNodes& cpu_nodes() {
  static const CpuNodes nodes = read_cpu_nodes(allowed_cpus());
  return nodes;
}

std::vector<int> deal_threads(int threads, const CpuNodes& nodes) {
  std::size_t all = 0;
  for (const auto& cpus : nodes) all += cpus.size();
  std::vector<int> begins = {0};
  std::size_t before = 0;
  for (const auto& cpus : nodes) {
    before += cpus.size();
    const double share = static_cast<double>(before) / static_cast<double>(all);
    begins.push_back(static_cast<int>(share * threads + 0.5));
  }
  begins.back() = threads;
  return begins;
}

void bind_thread(std::span<const int> cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) {
    if (cpu < CPU_SETSIZE) CPU_SET(static_cast<unsigned>(cpu), &set);
  }
  static_cast<void>(::sched_setaffinity(0, sizeof(set), &set));
}

}  // namespace sampan
