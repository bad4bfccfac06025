#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/memory_nodes.h"

namespace sampan {

// A fixed set of worker threads for data-parallel loops. Workers spin for some microseconds after a
// loop (the next layer's loop is usually that near) and then sleep in the kernel: an idle program
// uses no CPU. A loop ends when its last index has been worked on, whether or not every worker has
// woken up for it, so a busy machine does not hold up a short loop. parallel_for is called from one
// thread at a time; loops do not nest (CHECK).
class ThreadPool {
 public:
  // threads >= 1 (CHECK), the calling thread included: ThreadPool(1) runs everything on the caller.
  // Throws Error kLimit when the system gives no more threads. Where there are several nodes, each
  // thread is bound to the CPUs of one, the caller at its first loop: what a thread has written
  // first then lies in memory near to it, and stays so.
  explicit ThreadPool(int threads, CpuNodes nodes = cpu_nodes());
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  // The first thread of each node and, last, size(): threads of a node have numbers in a row.
  std::span<const int> node_begins() const { return node_begins_; }

  // Calls body(index, thread) for every index in [0, count) exactly once, in any order, on up to
  // size() threads; thread is in [0, size()). Returns when all calls have. The first exception
  // thrown by a body is rethrown here; indices not yet started are then left out.
  template <typename Body>
  void parallel_for(std::int64_t count, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(count, const_cast<void*>(static_cast<const void*>(&body)),
        [](void* context, std::int64_t index, int thread) {
          (*static_cast<Plain*>(context))(index, thread);
        });
  }

 private:
  using Call = void (*)(void* context, std::int64_t index, int thread);

  void run(std::int64_t count, void* context, Call call);
  void work(int thread);
  void take_indices(int thread);
  void stop();
  bool has_nodes() const { return node_begins_.size() > 2; }
  void bind(int thread) const;

  CpuNodes nodes_;
  std::vector<int> node_begins_;
  std::vector<std::thread> workers_;
  // The loop: written while it is closed and no worker is inside.
  std::int64_t count_ = 0;
  void* context_ = nullptr;
  Call call_ = nullptr;
  std::mutex error_mutex_;
  std::exception_ptr error_;

  std::atomic<bool> stopping_{false};
  // A worker counts itself in and then looks whether the loop is open; the caller closes the loop
  // and then waits until no worker is inside. In this order (both sequentially consistent) either
  // the worker sees it closed or the caller sees the worker.
  std::atomic<bool> open_{false};
  alignas(64) std::atomic<std::uint32_t> generation_{0};  // a new value wakes the workers
  alignas(64) std::atomic<int> inside_{0};
  alignas(64) std::atomic<std::int64_t> next_index_{0};
};

// Threads for a program that was not told: the CPUs this process may run on (affinity and cgroup
// quota respected).
int default_thread_count();

}  // namespace sampan
