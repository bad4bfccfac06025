#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

#include "base/error.h"

namespace sampan {
namespace {

// Long enough to bridge the serial gap between two loops of a forward pass, short enough not to be seen in `top`.
constexpr auto kSpinTime = std::chrono::microseconds(100);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Waits until value differs from old: spins, then sleeps in the kernel (std::atomic::wait is a futex on Linux).
template <typename T>
void wait_for_change(const std::atomic<T>& value, T old) {
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 64; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  value.wait(old, std::memory_order_acquire);
}

// CPUs' worth of time that the cgroup v2 quota allows, or a large number.
int cgroup_cpu_limit() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1 << 20;
  return std::max(1, static_cast<int>(std::stod(quota) / period + 0.5));
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  SAMPAN_CHECK(threads >= 1);
  workers_.reserve(static_cast<std::size_t>(threads - 1));
  for (int i = 1; i < threads; ++i) {
    workers_.emplace_back([this, i] { work(i); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::int64_t count, void* context, Call call) {
  if (count <= 0) return;
  context_ = context;
  call_ = call;
  count_ = count;
  next_index_.store(0, std::memory_order_relaxed);
  if (count > 1 && !workers_.empty()) {
    busy_workers_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    take_indices(0);
    for (int left = busy_workers_.load(std::memory_order_acquire); left != 0;
         left = busy_workers_.load(std::memory_order_acquire)) {
      wait_for_change(busy_workers_, left);
    }
  } else {
    take_indices(0);
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  for (;;) {
    wait_for_change(generation_, seen);
    ++seen;  // loops do not overlap, so generations are met one by one
    if (stopping_.load()) return;
    take_indices(thread);
    busy_workers_.fetch_sub(1, std::memory_order_release);
    busy_workers_.notify_one();
  }
}

void ThreadPool::take_indices(int thread) {
  try {
    for (;;) {
      const std::int64_t index = next_index_.fetch_add(1, std::memory_order_relaxed);
      if (index >= count_) return;
      call_(context_, index, thread);
    }
  } catch (...) {
    const std::lock_guard<std::mutex> lock(error_mutex_);
    if (!error_) error_ = std::current_exception();
    next_index_.store(count_, std::memory_order_relaxed);
  }
}

int default_thread_count() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) cpus = CPU_COUNT(&set);
  return std::clamp(std::min(cpus, cgroup_cpu_limit()), 1, 256);
}

}  // namespace sampan
