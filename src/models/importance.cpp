#include "models/importance.h"

#include <algorithm>
#include <cmath>

#include "kernels/matmul.h"

namespace sampan {

void Importance::on_product(const MatmulTask& task, const Activations& x) {
  const WeightMatrix& w = *task.w;
  if (w.name().empty()) return;
  Squares& squares = squares_[w.name()];
  squares.sums.resize(static_cast<std::size_t>(w.columns()));
  squares.rows += task.rows;
  for (std::int64_t row = 0; row < task.rows; ++row) {
    const float* values = x.floats() + (task.first_row + row) * x.columns() + task.first_column;
    for (double& sum : squares.sums) {
      const double value = *values++;
      sum += value * value;
    }
  }
}

std::vector<float> Importance::of(std::string_view tensor, std::int64_t columns) const {
  const auto found = squares_.find(tensor);
  if (found == squares_.end() || found->second.rows == 0) return {};
  const Squares& squares = found->second;
  if (static_cast<std::int64_t>(squares.sums.size()) != columns) return {};
  std::vector<float> means;
  for (const double sum : squares.sums) {
    means.push_back(static_cast<float>(sum / static_cast<double>(squares.rows)));
  }
  const bool are_numbers = std::all_of(means.begin(), means.end(), [](float m) { return std::isfinite(m); });
  return are_numbers ? means : std::vector<float>{};
}

}  // namespace sampan
