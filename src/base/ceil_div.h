#pragma once

#include <cstdint>

namespace sampan {

// a / b rounded up, for a >= 0 and b > 0; no sum of theirs has to fit.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

}  // namespace sampan
