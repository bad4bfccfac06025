#include "models/input_moments.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/matmul.h"

namespace sampan {

void ProductInputs::on_product(const MatmulTask& task, const Activations& x) {
  const WeightMatrix& w = *task.w;
  if (w.name().empty()) return;
  const Content content = {x.content(), task.first_row, task.rows, task.first_column, w.columns()};
  const auto [found, is_new] = inputs_.emplace(content, static_cast<int>(columns_.size()));
  if (is_new) columns_.push_back(w.columns());
  Met& met = met_[w.name()];
  if (met.rows == 0) met.input = found->second;
  met.is_one = met.is_one && met.input == found->second;
  met.rows += w.rows();
}

std::optional<int> ProductInputs::of(std::string_view tensor, std::int64_t rows,
                                     std::int64_t columns) const {
  const std::optional<int> input = of(tensor);
  if (!input || met_.find(tensor)->second.rows != rows) return std::nullopt;
  return this->columns(*input) == columns ? input : std::nullopt;
}

std::optional<int> ProductInputs::of(std::string_view tensor) const {
  const auto found = met_.find(tensor);
  if (found == met_.end() || !found->second.is_one) return std::nullopt;
  return found->second.input;
}

std::int64_t ProductInputs::most_columns() const {
  return columns_.empty() ? 0 : *std::max_element(columns_.begin(), columns_.end());
}

InputMoments::InputMoments(const ProductInputs& inputs, const std::set<int>& wanted,
                           ThreadPool& pool)
    : inputs_(inputs), pool_(pool) {
  for (const int input : wanted) sums_.emplace(input, Sum{SymmetricMatrix(inputs.columns(input))});
}

void InputMoments::on_product(const MatmulTask& task, const Activations& x) {
  if (task.w->name().empty()) return;  // products of its own among them
  const std::optional<int> input = inputs_.of(task.w->name());
  const auto found = input ? sums_.find(*input) : sums_.end();
  if (found == sums_.end() || found->second.last == x.content()) return;
  Sum& sum = found->second;
  sum.last = x.content();
  const std::int64_t columns = sum.moments.size();
  SAMPAN_CHECK(task.w->columns() == columns);
  turned_.resize(static_cast<std::size_t>(columns * task.rows));
  constexpr std::int64_t kAtOnce = 16;  // floats of a cache line
  pool_.parallel_for((columns + kAtOnce - 1) / kAtOnce, [&](std::int64_t index, int) {
    const std::int64_t end = std::min(columns, (index + 1) * kAtOnce);
    for (std::int64_t t = 0; t < task.rows; ++t) {
      const float* const from = x.floats() + (task.first_row + t) * x.columns() + task.first_column;
      for (std::int64_t i = index * kAtOnce; i < end; ++i) {
        turned_[static_cast<std::size_t>(i * task.rows + t)] = from[i];
      }
    }
  });
  sum.moments.add_products(turned_.data(), task.rows, pool_);
}

SymmetricMatrix InputMoments::take(int input) {
  const auto found = sums_.find(input);
  SAMPAN_CHECK(found != sums_.end());
  SymmetricMatrix moments = std::move(found->second.moments);
  sums_.erase(found);
  for (std::int64_t i = 0; i < moments.size(); ++i) {
    if (!std::isfinite(moments.at(i, i))) {
      fail(ErrorCode::kInvalidData,
           "activations of the model are not all numbers while it reads the text");
    }
  }
  return moments;
}

}  // namespace sampan
