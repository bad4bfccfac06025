#pragma once

#include "base/error.h"
#include "text/jinja/interpreter.h"

namespace sampan::jinja {

// Counts how deep evaluation has descended on the machine's stack. Throws Error kLimit beyond
// max_evaluation_depth.
class Interpreter::Descent {
 public:
  explicit Descent(Interpreter& interpreter) : depth_(interpreter.depth_) {
    const std::uint32_t most = interpreter.budget_.limits().max_evaluation_depth;
    if (depth_ >= most) fail(ErrorCode::kLimit, "evaluation nested more than {} deep", most);
    ++depth_;
  }
  ~Descent() { --depth_; }
  Descent(const Descent&) = delete;
  Descent& operator=(const Descent&) = delete;

 private:
  std::uint32_t& depth_;
};

}  // namespace sampan::jinja
