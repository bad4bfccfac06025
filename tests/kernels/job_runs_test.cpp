#include "kernels/job_runs.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <vector>

namespace sampan {
namespace {

using Numbers = std::vector<std::int64_t>;

// What a thread takes when the others take nothing, up to `most`.
Numbers taken(JobRuns& runs, int thread, std::int64_t most = 1 << 20) {
  Numbers jobs;
  while (static_cast<std::int64_t>(jobs.size()) < most) {
    const std::int64_t job = runs.take(thread);
    if (job == JobRuns::kNone) break;
    jobs.push_back(job);
  }
  return jobs;
}

Numbers range(std::int64_t begin, std::int64_t end) {
  Numbers numbers(static_cast<std::size_t>(end - begin));
  std::iota(numbers.begin(), numbers.end(), begin);
  return numbers;
}

Numbers operator+(Numbers a, const Numbers& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(JobRuns, OneNodeIsCutInRows) {
  JobRuns runs;
  const Numbers ends = {10, 16};
  const int one_node[] = {0, 4};
  runs.reset(ends, one_node);
  EXPECT_EQ(taken(runs, 2, 4), range(8, 12));
  // Then those of the next threads, round the others.
  EXPECT_EQ(taken(runs, 2), range(12, 16) + range(0, 4) + range(4, 8));
  EXPECT_EQ(runs.take(0), JobRuns::kNone);
}

TEST(JobRuns, ANodeHasTheSamePartOfEveryGroup) {
  JobRuns runs;
  const Numbers ends = {16, 24};
  const int two_nodes[] = {0, 2, 4};
  runs.reset(ends, two_nodes);
  // Jobs 0 to 7 and 16 to 19 are the first node's, six a thread.
  EXPECT_EQ(taken(runs, 0, 6), range(0, 6));
  EXPECT_EQ(taken(runs, 1, 6), range(6, 8) + range(16, 20));
  EXPECT_EQ(taken(runs, 2, 6), range(8, 14));
  EXPECT_EQ(taken(runs, 3, 6), range(14, 16) + range(20, 24));
  EXPECT_EQ(runs.take(0), JobRuns::kNone);
}

TEST(JobRuns, NeighboursAreHelpedFirst) {
  JobRuns runs;
  const Numbers ends = {16};
  const int two_nodes[] = {0, 2, 4};
  runs.reset(ends, two_nodes);
  EXPECT_EQ(taken(runs, 3), range(12, 16) + range(8, 12) + range(0, 4) + range(4, 8));
}

TEST(JobRuns, EveryJobIsHandedOutOnce) {
  JobRuns runs;
  const std::vector<std::vector<int>> nodes = {{0, 1}, {0, 5}, {0, 1, 2}, {0, 3, 5}, {0, 0, 4}, {0, 2, 2, 7}};
  const std::vector<Numbers> groups = {{0}, {1}, {1, 2, 3, 4}, {7, 7, 9}, {100, 103, 1000}};
  for (const auto& node_begins : nodes) {
    for (const Numbers& ends : groups) {
      runs.reset(ends, node_begins);
      std::map<std::int64_t, int> times;
      const int threads = node_begins.back();
      for (bool found = true; found;) {
        found = false;
        for (int thread = 0; thread < threads; ++thread) {
          for (const std::int64_t job : taken(runs, thread, 1 + thread)) {
            times[job] += 1;
            found = true;
          }
        }
      }
      EXPECT_EQ(static_cast<std::int64_t>(times.size()), ends.back());
      for (const auto& [job, count] : times) {
        EXPECT_EQ(count, 1) << job;
        EXPECT_TRUE(job >= 0 && job < ends.back());
      }
    }
  }
}

// Single jobs go to the nodes in turns, so that none gets all small matrices.
TEST(JobRuns, SmallGroupsAreRoundedInTurns) {
  JobRuns runs;
  const Numbers ends = {1, 2, 3, 4, 5, 6};
  const int two_nodes[] = {0, 1, 2};
  runs.reset(ends, two_nodes);
  EXPECT_EQ(taken(runs, 0, 3), (Numbers{1, 3, 5}));
  EXPECT_EQ(taken(runs, 1, 3), (Numbers{0, 2, 4}));
}

}  // namespace
}  // namespace sampan
