#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sampan {

// Threads on which requests are parsed and tokenized, so that a long one does not hold up the
// transport's threads and with them everyone's streams. Thread-safe.
class Workers {
 public:
  explicit Workers(int threads);
  ~Workers();  // waits for what runs; what has not begun is dropped

  // Tasks must not throw.
  void run(std::function<void()> task);

 private:
  void work();

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool is_stopping_ = false;

  std::vector<std::thread> threads_;  // the last member: they use all others
};

}  // namespace sampan
