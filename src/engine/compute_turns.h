#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace sampan {

// Lets several engines use one thread pool: one step at a time, in the order in which they asked.
// Thread-safe.
class ComputeTurns {
 public:
  // A turn, from its creation (which waits for it) to its end.
  class Turn {
   public:
    explicit Turn(ComputeTurns& turns) : turns_(turns) { turns_.begin(); }
    ~Turn() { turns_.end(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    ComputeTurns& turns_;
  };

 private:
  void begin() {
    std::unique_lock lock(mutex_);
    const std::uint64_t ticket = next_++;
    changed_.wait(lock, [&] { return serving_ == ticket; });
  }
  void end() {
    {
      const std::lock_guard lock(mutex_);
      ++serving_;
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0;
  std::uint64_t serving_ = 0;
};

}  // namespace sampan
