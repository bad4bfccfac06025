#include "base/memory_nodes.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "kernels/activations.h"
#include "kernels/matmul.h"
#include "kernels/matmul_test_data.h"
#include "kernels/weight_matrix.h"

namespace sampan {
namespace {

using namespace matmul_test;

// The node of the memory behind an address that was written, -1 where the system does not say.
int node_of(const std::byte* address) {
  constexpr unsigned long kNodeOfAddress = 3;  // MPOL_F_NODE | MPOL_F_ADDR of get_mempolicy(2)
  int node = -1;
  return ::syscall(SYS_get_mempolicy, &node, nullptr, 0ul, address, kNodeOfAddress) == 0 ? node : -1;
}

// Nodes are this machine's, where it has several: `./test dev` in a virtual machine with -numa shows it.
TEST(MemoryNodes, WeightsLieWhereTheyAreRead) {
  const std::size_t nodes = cpu_nodes().size();
  if (nodes < 2) GTEST_SKIP() << "this machine has one memory node";
  constexpr std::int64_t kRows = 16384, kColumns = 4096;
  std::thread caller([&] {  // which is bound
    ThreadPool pool(default_thread_count());
    const std::vector<std::byte> source(static_cast<std::size_t>(kRows * row_bytes(DType::kQ4_0, kColumns)));
    const WeightMatrix w = WeightMatrix::make({DType::kQ4_0, {kRows, kColumns}, source.data()}, pool);
    constexpr std::int64_t kStep = 4096;
    std::map<std::ptrdiff_t, std::map<int, std::int64_t>> pages;  // of each node's threads, by the system's number of a node
    for (std::int64_t i = 0; i < w.bytes(); i += kStep) {
      const auto thread = static_cast<int>(i * pool.size() / w.bytes());
      const auto after = std::upper_bound(pool.node_begins().begin(), pool.node_begins().end(), thread);
      pages[after - pool.node_begins().begin()][node_of(w.data() + i)] += 1;
    }
    std::set<int> numbers;
    for (const auto& [index, by_number] : pages) {
      std::int64_t near = 0, all = 0;
      int number = -1;
      for (const auto& [other, count] : by_number) {
        all += count;
        if (count > near) std::tie(near, number) = std::pair(count, other);
      }
      // The rest was made by threads that helped others.
      EXPECT_GE(near, all * 3 / 4) << index << ": " << all;
      EXPECT_GE(number, 0);
      EXPECT_TRUE(numbers.insert(number).second) << "two on node " << number;
    }
  });
  caller.join();
}

// Made-up nodes, whose CPUs are all the first: only where threads run is untrue.
TEST(MemoryNodes, DoNotShowInProducts) {
  constexpr std::int64_t kColumns = 512, kTokens = 5;
  constexpr std::int64_t kHeights[] = {3, 300, 40, 17};
  const std::vector<float> x = random_activations(kTokens * kColumns, 2);
  std::vector<float> first;
  const std::vector<CpuNodes> machines = {{{0}}, {{0}, {0}}, {{0}, {0, 0, 0}, {0}}};
  for (const CpuNodes& nodes : machines) {
    std::thread caller([&] {
      ThreadPool pool(5, nodes);
      std::vector<WeightMatrix> weights;
      std::vector<std::vector<float>> results;
      for (const std::int64_t rows : kHeights) {
        const auto bytes = random_blocks(DType::kQ4_0, rows, kColumns, Codes::kRandom, Scales::kRandom, 3);
        weights.push_back(WeightMatrix::make(view(DType::kQ4_0, rows, kColumns, bytes.data()), pool));
        results.emplace_back(static_cast<std::size_t>(kTokens * rows));
      }
      std::vector<MatmulTask> tasks;
      for (std::size_t i = 0; i < weights.size(); ++i)
        tasks.push_back({&weights[i], 0, kTokens, 0, results[i].data(), kHeights[i]});
      Activations activations;
      activations.set(x.data(), kTokens, kColumns);
      matmul_tasks(tasks, activations, pool);
      std::vector<float> all;
      for (const auto& result : results) all.insert(all.end(), result.begin(), result.end());
      if (first.empty()) first = all;
      EXPECT_EQ(all, first) << nodes.size();
    });
    caller.join();
  }
}

}  // namespace
}  // namespace sampan
