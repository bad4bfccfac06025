#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace sampan {
namespace {

using std::chrono::milliseconds;

double process_cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, EveryIndexRunsExactlyOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (const std::int64_t count : {0, 1, 2, 3, 17, 1000}) {
    std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
    std::atomic<bool> thread_in_range{true};
    pool.parallel_for(count, [&](std::int64_t index, int thread) {
      calls[static_cast<std::size_t>(index)].fetch_add(1);
      if (thread < 0 || thread >= pool.size()) thread_in_range = false;
    });
    for (const auto& n : calls) EXPECT_EQ(n.load(), 1);
    EXPECT_TRUE(thread_in_range);
  }
}

// Plain memory written by one loop and read by the next: the loop's end orders them.
TEST_P(ThreadPoolTest, ManyShortLoopsSeeEachOthersResults) {
  ThreadPool pool(GetParam());
  std::vector<std::int64_t> values(37, 0);
  const int loops = 3000;
  for (int i = 0; i < loops; ++i) {
    pool.parallel_for(37, [&](std::int64_t index, int) {
      const auto at = static_cast<std::size_t>(index);
      values[at] = values[at] + index;
    });
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(values[i], static_cast<std::int64_t>(i) * loops);
  }
}

// Pauses long enough that the workers sleep in the kernel: every loop must wake them again.
TEST_P(ThreadPoolTest, SleepingWorkersWakeUp) {
  ThreadPool pool(GetParam());
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(milliseconds(i % 2 == 0 ? 2 : 0));
    // Each index waits for all others, so the loop ends only if every thread takes part.
    std::atomic<int> arrived{0};
    pool.parallel_for(pool.size(), [&](std::int64_t, int) {
      arrived.fetch_add(1);
      while (arrived.load() < pool.size()) std::this_thread::yield();
    });
    EXPECT_EQ(arrived.load(), pool.size());
  }
}

TEST_P(ThreadPoolTest, AThreadNumberIsUsedByOneThreadAtATime) {
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> users(static_cast<std::size_t>(pool.size()));
  std::atomic<bool> alone{true};
  pool.parallel_for(2000, [&](std::int64_t, int thread) {
    auto& user = users[static_cast<std::size_t>(thread)];
    if (user.fetch_add(1) != 0) alone = false;
    user.fetch_sub(1);
  });
  EXPECT_TRUE(alone);
}

TEST_P(ThreadPoolTest, TheFirstExceptionReachesTheCaller) {
  ThreadPool pool(GetParam());
  for (int i = 0; i < 50; ++i) {
    std::atomic<int> calls{0};
    std::atomic<bool> throws{false};
    try {
      pool.parallel_for(100000, [&](std::int64_t index, int) {
        calls.fetch_add(1);
        if (index == 5) {
          throws = true;
          throw std::runtime_error("index 5");
        }
        // Others give it the time that a busy machine may take for an exception.
        while (index > 5 && !throws) std::this_thread::yield();
        if (index > 5) std::this_thread::sleep_for(std::chrono::microseconds(100));
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()), "index 5");
    }
    EXPECT_LT(calls.load(), 100000);
    // The pool is as good as new.
    std::atomic<int> after{0};
    pool.parallel_for(10, [&](std::int64_t, int) { after.fetch_add(1); });
    EXPECT_EQ(after.load(), 10);
  }
}

TEST_P(ThreadPoolTest, AllBodiesMayThrow) {
  ThreadPool pool(GetParam());
  EXPECT_THROW(
      pool.parallel_for(64, [](std::int64_t, int) { throw Error(ErrorCode::kInvalidData, "bad"); }),
      Error);
}

TEST_P(ThreadPoolTest, APoolThatIsNeverUsedOrJustUsedEnds) {
  for (int i = 0; i < 20; ++i) {
    { ThreadPool unused(GetParam()); }
    ThreadPool used(GetParam());
    used.parallel_for(2, [](std::int64_t, int) {});
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolTest, ::testing::Values(1, 2, 3, 8));

TEST(ThreadPool, AnIdlePoolUsesNoCpu) {
  ThreadPool pool(4);
  pool.parallel_for(100, [](std::int64_t, int) {});
  std::this_thread::sleep_for(milliseconds(20));
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LT(process_cpu_seconds() - before, 0.01);
}

// The busy threads take every CPU, so most workers come late, into loops that are over or into the
// next one.
TEST(ThreadPool, LateWorkersDoNoHarm) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 2 * default_thread_count(); ++i) {
    busy.emplace_back([&] {
      while (!stop.load()) {
      }
    });
  }
  ThreadPool pool(8);
  std::int64_t sum = 0;
  for (int i = 0; i < 2000; ++i) {
    std::atomic<std::int64_t> loop_sum{0};
    pool.parallel_for(4, [&](std::int64_t index, int) { loop_sum.fetch_add(index); });
    sum += loop_sum.load();
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
  EXPECT_EQ(sum, 6 * 2000);
}

TEST(ThreadPool, LoopsDoNotNest) {
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    const auto inner = [&](std::int64_t, int) { pool.parallel_for(1, [](std::int64_t, int) {}); };
    EXPECT_THROW(pool.parallel_for(1, inner), InternalError);
    std::atomic<int> after{0};
    pool.parallel_for(3, [&](std::int64_t, int) { after.fetch_add(1); });
    EXPECT_EQ(after.load(), 3);
  }
}

TEST(ThreadPool, NeedsAThread) {
  EXPECT_THROW(ThreadPool(0), InternalError);
  EXPECT_THROW(ThreadPool(-3), InternalError);
}

TEST(DefaultThreadCount, IsWithinTheMachine) {
  EXPECT_GE(default_thread_count(), 1);
  EXPECT_LE(default_thread_count(), 256);
}

}  // namespace
}  // namespace sampan
