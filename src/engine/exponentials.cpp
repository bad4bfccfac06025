#include "engine/exponentials.h"

#include <algorithm>
#include <cstdint>

#include "kernels/ops.h"

namespace sampan {

void exponentials(std::span<float> x, float top, float temperature) {
  constexpr std::size_t kPiece = 2048;  // stays in the nearest cache from step to step
  for (; !x.empty(); x = x.subspan(std::min(kPiece, x.size()))) {
    const std::span<float> piece = x.first(std::min(kPiece, x.size()));
    for (float& v : piece) v = (v - top) / temperature;
    exp_in_place(piece.data(), static_cast<std::int64_t>(piece.size()));
    for (float& v : piece) v = v > 0 ? v : 0;  // NaN too
  }
}

double sum_over_lanes(std::span<const float> x) {
  constexpr std::size_t kLanes = 8;
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] += static_cast<double>(x[i + lane]);
  }
  for (; i < x.size(); ++i) lanes[i % kLanes] += static_cast<double>(x[i]);
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace sampan
