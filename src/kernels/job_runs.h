#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace sampan {

// Jobs a thread at least, where there is so much work: threads then finish nearly together.
inline constexpr std::int64_t kJobsPerThread = 8;

// Hands out jobs 0 … count - 1 to threads, each once: every thread has a run of its own, so that
// what it reads lies in a row, and takes from the others' when it is through.
class JobRuns {
 public:
  void reset(std::int64_t count, int threads) {
    if (runs_.size() < static_cast<std::size_t>(threads)) {
      runs_ = std::vector<Run>(static_cast<std::size_t>(threads));
    }
    threads_ = threads;
    for (int i = 0; i < threads; ++i) {
      runs_[static_cast<std::size_t>(i)].next = count * i / threads;
      runs_[static_cast<std::size_t>(i)].end = count * (i + 1) / threads;
    }
  }

  // A job that nobody has, kNone when there is none left.
  std::int64_t take(int thread) {
    for (int i = 0; i < threads_; ++i) {
      Run& run = runs_[static_cast<std::size_t>((thread + i) % threads_)];
      if (run.next.load(std::memory_order_relaxed) >= run.end) continue;
      const std::int64_t job = run.next.fetch_add(1, std::memory_order_relaxed);
      if (job < run.end) return job;
    }
    return kNone;
  }

  static constexpr std::int64_t kNone = -1;

 private:
  struct alignas(64) Run {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };
  std::vector<Run> runs_;
  int threads_ = 0;
};

// Calls body(job, thread) for all jobs. A thread that has begun takes jobs until none is left, so
// that threads meet only where one helps another.
template <typename Body>
void for_each_job(std::int64_t count, ThreadPool& pool, Body&& body) {
  thread_local JobRuns callers_runs;
  JobRuns& runs = callers_runs;
  runs.reset(count, pool.size());
  pool.parallel_for(std::min<std::int64_t>(count, pool.size()), [&](std::int64_t, int thread) {
    for (std::int64_t job = runs.take(thread); job != JobRuns::kNone; job = runs.take(thread)) {
      body(job, thread);
    }
  });
}

}  // namespace sampan
