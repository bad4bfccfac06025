#include "text/jinja/budget.h"

#include "base/error.h"

namespace sampan::jinja {

void Budget::steps_exceeded() const {
  fail(ErrorCode::kLimit, "more than {} steps", limits_.max_steps);
}

void Budget::memory_exceeded(std::size_t bytes) const {
  fail(ErrorCode::kLimit, "{} bytes asked for, {} of {} bytes left", bytes,
       limits_.max_memory_bytes - memory_, limits_.max_memory_bytes);
}

}  // namespace sampan::jinja
