#include "base/memory_nodes.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>

#include "base/thread_pool.h"

namespace sampan {
namespace {

namespace fs = std::filesystem;

class MemoryNodes : public ::testing::Test {
 protected:
  MemoryNodes() { fs::create_directories(root_); }
  ~MemoryNodes() override { fs::remove_all(root_); }

  void write_node(const std::string& name, const std::string& cpulist) {
    const fs::path folder = root_ / "sys/devices/system/node" / name;
    fs::create_directories(folder);
    std::ofstream(folder / "cpulist") << cpulist << "\n";
  }
  CpuNodes read(int cpus) const {
    std::vector<int> allowed(static_cast<std::size_t>(cpus));
    std::iota(allowed.begin(), allowed.end(), 0);
    return read_cpu_nodes(allowed, root_);
  }

  fs::path root_ = fs::temp_directory_path() / ("sampan_nodes_" + std::to_string(::getpid()));
};

TEST_F(MemoryNodes, AreReadFromTheSystem) {
  write_node("node0", "0-1,4");
  write_node("node10", "6");  // numbers are not read as text
  write_node("node2", "2-3,5");
  EXPECT_EQ(read(7), (CpuNodes{{0, 1, 4}, {2, 3, 5}, {6}}));
  EXPECT_EQ(read(3), (CpuNodes{{0, 1}, {2}}));  // others are not allowed
}

TEST_F(MemoryNodes, MemoryWithoutCpusIsLeftOut) {
  write_node("node0", "0-3");
  write_node("node1", "");
  EXPECT_EQ(read(4), (CpuNodes{{0, 1, 2, 3}}));
}

TEST_F(MemoryNodes, NothingToldIsOneNode) {
  EXPECT_EQ(read(3), (CpuNodes{{0, 1, 2}}));
  write_node("has_cpu", "0");
  EXPECT_EQ(read(3), (CpuNodes{{0, 1, 2}}));
}

TEST_F(MemoryNodes, WhatCannotBeReadLosesNoCpu) {
  write_node("node0", "0,x,-3,7-,3-2,99999999999,2-2000000000");
  write_node("node1", "1,0");  // 0 is taken
  const CpuNodes nodes = read(4);
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].size() + nodes[1].size(), 4u);
}

TEST_F(MemoryNodes, ThreadsAreDealtInProportion) {
  const CpuNodes two = {{0, 1, 2, 3}, {4, 5, 6, 7}};
  EXPECT_EQ(deal_threads(8, two), (std::vector<int>{0, 4, 8}));
  EXPECT_EQ(deal_threads(4, two), (std::vector<int>{0, 2, 4}));
  EXPECT_EQ(deal_threads(3, two), (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(deal_threads(1, two), (std::vector<int>{0, 1, 1}));
  EXPECT_EQ(deal_threads(16, {{0}, {1, 2, 3}}), (std::vector<int>{0, 4, 16}));
  EXPECT_EQ(deal_threads(5, {{0, 1}}), (std::vector<int>{0, 5}));
}

// On this machine's own CPUs, one a node.
TEST_F(MemoryNodes, ThreadsOfAPoolStayOnTheirNode) {
  CpuNodes nodes;
  for (const auto& node : cpu_nodes()) {
    for (const int cpu : node) {
      if (nodes.size() < 2) nodes.push_back({cpu});
    }
  }
  if (nodes.size() < 2) GTEST_SKIP() << "one CPU";
  // In a thread of its own: the caller is bound as well.
  std::thread caller([&] {
    ThreadPool pool(4, nodes);
    EXPECT_EQ(std::vector<int>(pool.node_begins().begin(), pool.node_begins().end()), (std::vector<int>{0, 2, 4}));
    for (int i = 0; i < 200; ++i) {
      std::atomic<int> arrived{0};
      pool.parallel_for(4, [&](std::int64_t, int thread) {
        // Each waits for all, so that all threads take part.
        arrived.fetch_add(1);
        while (arrived.load() < 4) std::this_thread::yield();
        EXPECT_EQ(::sched_getcpu(), nodes[thread < 2 ? 0 : 1][0]) << thread;
      });
    }
  });
  caller.join();
  EXPECT_GE(default_thread_count(), 1);
}

TEST_F(MemoryNodes, OneNodeBindsNobody) {
  cpu_set_t before, after;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  ThreadPool pool(3, {{0}});
  pool.parallel_for(100, [](std::int64_t, int) {});
  ASSERT_EQ(::sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

}  // namespace
}  // namespace sampan
