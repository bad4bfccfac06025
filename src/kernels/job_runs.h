#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"

namespace sampan {

// Jobs a thread at least, where there is so much work: threads then finish nearly together.
inline constexpr std::int64_t kJobsPerThread = 8;

// Hands out jobs to threads, each once: every thread has a run of its own, so that what it reads
// lies in a row, and takes from the others' when it is through, those of its memory node first.
//
// Jobs come in groups, one a matrix. Every node has its share of each group, the same part of it
// whatever else there is to do: the threads that made a part of a matrix then read it as well.
class JobRuns {
 public:
  // ends: of the groups, ascending, among jobs 0 … ends.back() - 1. node_begins as ThreadPool's.
  void reset(std::span<const std::int64_t> ends, std::span<const int> node_begins) {
    threads_ = node_begins.back();
    if (runs_.size() < static_cast<std::size_t>(threads_)) {
      runs_ = std::vector<Run>(static_cast<std::size_t>(threads_));
    }
    shares_.clear();
    const auto nodes = node_begins.size() - 1;
    if (nodes == 1) return deal(0, ends.back(), 0, threads_);
    std::int64_t place = 0;  // in the order of nodes
    for (std::size_t node = 0; node < nodes; ++node) {
      const std::int64_t first_place = place;
      for (std::size_t group = 0; group < ends.size(); ++group) {
        const std::int64_t first = group == 0 ? 0 : ends[group - 1];
        const std::int64_t begin = part(ends[group] - first, node_begins[node], group);
        const std::int64_t end = part(ends[group] - first, node_begins[node + 1], group);
        if (begin == end) continue;
        shares_.push_back({place, first + begin});
        place += end - begin;
      }
      deal(first_place, place - first_place, node_begins[node], node_begins[node + 1]);
    }
  }

  // A job that nobody has, kNone when there is none left.
  std::int64_t take(int thread) {
    const Run& own = runs_[static_cast<std::size_t>(thread)];
    const int near = own.node_end - own.node_begin;
    for (int i = 0; i < near; ++i) {
      const int other = own.node_begin + (thread - own.node_begin + i) % near;
      if (const std::int64_t job = take_of(other); job != kNone) return job;
    }
    for (int i = near; i < threads_; ++i) {
      const int other = (own.node_begin + i) % threads_;
      if (const std::int64_t job = take_of(other); job != kNone) return job;
    }
    return kNone;
  }

  static constexpr std::int64_t kNone = -1;

 private:
  // Places [next, end) that nobody has; the threads of its node.
  struct alignas(64) Run {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
    int node_begin = 0;
    int node_end = 0;
  };
  // Jobs from first_job on, from this place on.
  struct Share {
    std::int64_t place;
    std::int64_t first_job;
  };

  // Of `count` jobs, those of threads before `thread`. Groups of few jobs are rounded in turns.
  std::int64_t part(std::int64_t count, int thread, std::size_t group) const {
    return (count * thread + (group % 2 == 0 ? 0 : threads_ - 1)) / threads_;
  }

  void deal(std::int64_t first_place, std::int64_t count, int begin, int end) {
    for (int i = begin; i < end; ++i) {
      Run& run = runs_[static_cast<std::size_t>(i)];
      run.next = first_place + count * (i - begin) / (end - begin);
      run.end = first_place + count * (i + 1 - begin) / (end - begin);
      run.node_begin = begin;
      run.node_end = end;
    }
  }

  std::int64_t take_of(int thread) {
    Run& run = runs_[static_cast<std::size_t>(thread)];
    if (run.next.load(std::memory_order_relaxed) >= run.end) return kNone;
    const std::int64_t place = run.next.fetch_add(1, std::memory_order_relaxed);
    return place < run.end ? job_at(place) : kNone;
  }

  std::int64_t job_at(std::int64_t place) const {
    if (shares_.empty()) return place;
    const auto after =
        std::upper_bound(shares_.begin(), shares_.end(), place,
                         [](std::int64_t p, const Share& share) { return p < share.place; });
    return (after - 1)->first_job + place - (after - 1)->place;
  }

  std::vector<Run> runs_;
  std::vector<Share> shares_;  // with several nodes only
  int threads_ = 0;
};

// Calls body(job, thread) for all jobs; `ends` as JobRuns takes them. A thread that has begun takes
// jobs until none is left, so that threads meet only where one helps another.
template <typename Body>
void for_each_job(std::span<const std::int64_t> ends, ThreadPool& pool, Body&& body) {
  thread_local JobRuns callers_runs;
  JobRuns& runs = callers_runs;
  if (ends.empty()) return;
  runs.reset(ends, pool.node_begins());
  pool.parallel_for(
      std::min<std::int64_t>(ends.back(), pool.size()), [&](std::int64_t, int thread) {
        for (std::int64_t job = runs.take(thread); job != JobRuns::kNone; job = runs.take(thread)) {
          body(job, thread);
        }
      });
}

// One group of jobs 0 … count - 1.
template <typename Body>
void for_each_job(std::int64_t count, ThreadPool& pool, Body&& body) {
  for_each_job(std::span<const std::int64_t>(&count, 1), pool, body);
}

}  // namespace sampan
