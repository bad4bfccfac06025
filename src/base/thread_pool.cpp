#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace sampan {
namespace {

// Long enough to bridge the serial gap between two loops of a forward pass, short enough not to be
// seen in `top`.
constexpr auto kSpinTime = std::chrono::microseconds(100);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // waits for some tens of cycles; yield does nothing on most cores
#endif
}

// Waits until value differs from old: spins, then sleeps in the kernel (std::atomic::wait is a
// futex on Linux).
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

// quota / period in whole CPUs, at least one; a large number for no limit.
int cpus_of(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 1 << 20;
  return static_cast<int>(std::clamp(quota / period + 0.5, 1.0, double{1 << 20}));
}

// CPUs' worth of time that the cgroup quota (v2, else v1) allows. Version 2 says "max" for no
// limit, version 1 -1.
int cgroup_cpu_limit() {
  double quota = 0;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2) {
    return v2 >> quota >> period ? cpus_of(quota, period) : 1 << 20;
  }
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  return v1_quota >> quota && v1_period >> period ? cpus_of(quota, period) : 1 << 20;
}

}  // namespace

ThreadPool::ThreadPool(int threads, CpuNodes nodes) : nodes_(std::move(nodes)) {
  SAMPAN_CHECK(threads >= 1 && !nodes_.empty());
  // A thread alone may run anywhere.
  node_begins_ = threads == 1 ? std::vector<int>{0, 1} : deal_threads(threads, nodes_);
  workers_.reserve(static_cast<std::size_t>(threads - 1));
  try {
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back([this, i] { work(i); });
    }
  } catch (const std::system_error& error) {
    const int started = size();
    stop();
    fail(ErrorCode::kLimit, "threads: {} asked for, {} started: {}", threads, started,
         error.code().message());
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// The node that a thread number is dealt to.
void ThreadPool::bind(int thread) const {
  const auto after = std::upper_bound(node_begins_.begin(), node_begins_.end(), thread);
  bind_thread(nodes_[static_cast<std::size_t>(after - node_begins_.begin()) - 1]);
}

void ThreadPool::run(std::int64_t count, void* context, Call call) {
  if (count <= 0) return;
  thread_local const ThreadPool* bound_by = nullptr;
  if (has_nodes() && bound_by != this) {
    bind(0);
    bound_by = this;
  }
  SAMPAN_CHECK(call_ == nullptr);
  context_ = context;
  call_ = call;
  count_ = count;
  next_index_.store(0, std::memory_order_relaxed);
  if (count > 1 && !workers_.empty()) {
    open_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
    take_indices(0);
    open_.store(false);
    for (int left = inside_.load(); left != 0; left = inside_.load()) {
      wait_for_change(inside_, left);
    }
  } else {
    take_indices(0);
  }
  call_ = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::work(int thread) {
  if (has_nodes()) bind(thread);
  std::uint32_t seen = 0;
  for (;;) {
    wait_for_change(generation_, seen);
    seen = generation_.load();
    if (stopping_.load()) return;
    inside_.fetch_add(1);
    if (open_.load()) take_indices(thread);
    if (inside_.fetch_sub(1) == 1) inside_.notify_one();
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
  std::size_t cpus = 0;
  for (const auto& node : cpu_nodes()) cpus += node.size();
  return std::clamp(std::min(static_cast<int>(cpus), cgroup_cpu_limit()), 1, 256);
}

}  // namespace sampan
