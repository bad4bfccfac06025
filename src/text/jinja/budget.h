#pragma once

#include <cstddef>
#include <cstdint>

namespace sampan::jinja {

// What one rendering may use. A template and a conversation are both hostile input: whatever they
// hold, a rendering ends within these limits or throws Error kLimit.
struct Limits {
  std::uint64_t max_steps =
      10'000'000;  // evaluated nodes, produced elements, 256-byte blocks touched
  std::size_t max_output_bytes = 64u << 20;    // of the rendered prompt
  std::size_t max_memory_bytes = 512u << 20;   // values alive at one time
  std::uint32_t max_call_depth = 150;          // macros within macros, loop(…) within loop(…)
  std::uint32_t max_evaluation_depth = 2'500;  // nested evaluations on the machine's stack
};

// Containers within containers within containers. Bounds every recursion over a value (printing,
// comparing, freeing).
inline constexpr std::uint32_t kMaxValueDepth = 256;

// Counts what a rendering has used. Not thread-safe; one per rendering.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  const Limits& limits() const { return limits_; }

  // One unit of work. Throws Error kLimit.
  void step() {
    if (++steps_ > limits_.max_steps) steps_exceeded();
  }
  // The work of touching `bytes` bytes (copying, comparing, searching). Throws Error kLimit.
  void work(std::size_t bytes) {
    steps_ += 1 + bytes / 256;
    if (steps_ > limits_.max_steps) steps_exceeded();
  }
  // Memory that a value takes while it lives. allocate throws Error kLimit, and then nothing was
  // counted.
  void allocate(std::size_t bytes) {
    if (bytes > limits_.max_memory_bytes - memory_) memory_exceeded(bytes);
    memory_ += bytes;
  }
  void release(std::size_t bytes) noexcept { memory_ -= bytes; }
  // Throws Error kLimit where `bytes` more would not fit; counts nothing.
  void check_room(std::size_t bytes) const {
    if (bytes > limits_.max_memory_bytes - memory_) memory_exceeded(bytes);
  }

 private:
  [[noreturn]] void steps_exceeded() const;
  [[noreturn]] void memory_exceeded(std::size_t bytes) const;

  Limits limits_;
  std::uint64_t steps_ = 0;
  std::size_t memory_ = 0;
};

}  // namespace sampan::jinja
