#include "base/memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

namespace sampan {
namespace {

namespace fs = std::filesystem;

class AvailableMemory : public ::testing::Test {
 protected:
  AvailableMemory() : root_(fs::path(::testing::TempDir()) / "sampan-memory-test") { fs::remove_all(root_); }
  ~AvailableMemory() override { fs::remove_all(root_); }

  void write(const std::string& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }

  fs::path root_;
};

TEST_F(AvailableMemory, OfTheSystem) {
  write("proc/meminfo", "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    2000 kB\n");
  EXPECT_EQ(available_memory(root_), 2000 * 1024);
}

TEST_F(AvailableMemory, ALimitOfTheGroupAboveCounts) {
  write("proc/meminfo", "MemAvailable: 1000000000 kB\n");
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/memory.max", "5000\n");
  write("sys/fs/cgroup/a/memory.current", "4000\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 1000\ninactive_file 700\nactive_file 300\n");
  EXPECT_EQ(available_memory(root_), 2000);
}

TEST_F(AvailableMemory, OfTheFirstVersionsGroups) {
  write("proc/self/cgroup", "9:name=systemd:/\n4:memory:/a/b\n0::/\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "6000\n");
  write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "5000\n");
  write("sys/fs/cgroup/memory/a/memory.stat", "cache 9\ntotal_inactive_file 800\ntotal_active_file 200\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(available_memory(root_), 2000);
}

TEST_F(AvailableMemory, NeverNegative) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", "100\n");
  write("sys/fs/cgroup/memory.current", "4000\n");
  EXPECT_EQ(available_memory(root_), 0);
}

TEST_F(AvailableMemory, UnknownIsUnlimited) { EXPECT_EQ(available_memory(root_), std::numeric_limits<std::int64_t>::max()); }

TEST_F(AvailableMemory, BrokenFilesAreNoLimit) {
  write("proc/meminfo", "MemAvailable: lots\n");
  write("proc/self/cgroup", "1:x:/\n0::/q\n");
  write("sys/fs/cgroup/q/memory.max", "");
  EXPECT_EQ(available_memory(root_), std::numeric_limits<std::int64_t>::max());
}

TEST(MappedHints, TakeAnyBytes) {
  static std::byte bytes[3 * 4096];
  read_ahead({});
  read_ahead({bytes + 1, 1});
  map_pages({});
  map_pages({bytes + 1, 1});
  release_mapped({bytes + 1, 4096});  // holds no whole page, or one of zeros
  EXPECT_EQ(bytes[5], std::byte{0});
}

}  // namespace
}  // namespace sampan
