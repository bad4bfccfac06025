#pragma once

#include <filesystem>
#include <span>
#include <vector>

namespace sampan {

// Memory nodes (NUMA): a machine of several sockets has memory at each, which the others' CPUs
// reach more slowly.

// CPUs by node.
using CpuNodes = std::vector<std::vector<int>>;

// Those that this process may run on, as it was at the first call (threads of a pool are bound to a
// node later). One list of all where the system tells of no nodes.
const CpuNodes& cpu_nodes();

// The same of `allowed` CPUs. Nodes without any are left out. root: where /sys lies (tests give
// another).
CpuNodes read_cpu_nodes(std::span<const int> allowed, const std::filesystem::path& root = "/");

// The first of `threads` threads of each node, and the end: they are dealt to nodes in runs, in
// proportion to the CPUs. At least one node that has CPUs.
std::vector<int> deal_threads(int threads, const CpuNodes& nodes);

// Lets the calling thread run on these CPUs only; where the system refuses it runs on as before.
void bind_thread(std::span<const int> cpus);

}  // namespace sampan
