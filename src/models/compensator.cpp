#include "models/compensator.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace sampan {
namespace {

bool is_zero(const SymmetricMatrix& moments) {
  for (std::int64_t i = 0; i < moments.size(); ++i) {
    if (moments.at(i, i) > 0) return false;
  }
  return true;
}

}  // namespace

Compensator::Compensator(ProductInputs inputs, std::int64_t memory, Measure measure,
                         ThreadPool& pool)
    : inputs_(std::move(inputs)), memory_(memory), measure_(std::move(measure)), pool_(pool) {}

bool Compensator::can_compensate(const Matrix& matrix) const {
  return inputs_.of(matrix.tensor, matrix.rows, matrix.columns).has_value();
}

int Compensator::input_of(const Matrix& matrix) const {
  const std::optional<int> input = inputs_.of(matrix.tensor, matrix.rows, matrix.columns);
  SAMPAN_CHECK(input.has_value());
  return *input;
}

void Compensator::expect(std::vector<Matrix> matrices) {
  expected_ = std::move(matrices);
  next_ = 0;
  for (const Matrix& matrix : expected_) input_of(matrix);
}

const Compensation* Compensator::next() {
  SAMPAN_CHECK(next_ < expected_.size());
  std::set<int> to_come;
  for (std::size_t i = next_; i < expected_.size(); ++i) to_come.insert(input_of(expected_[i]));
  const auto is_done = [&](const auto& held) { return !to_come.contains(held.first); };
  std::erase_if(moments_, is_done);
  std::erase_if(compensations_, is_done);

  const int input = input_of(expected_[next_]);
  if (!moments_.contains(input) && !compensations_.contains(input)) measure_from(next_);
  ++next_;
  if (const auto measured = moments_.find(input); measured != moments_.end()) {
    if (is_zero(measured->second)) return nullptr;
    compensations_.try_emplace(input, std::move(measured->second), pool_);
    moments_.erase(measured);
  }
  return &compensations_.at(input);
}

// Measures for the expected matrices from `first` on, up to the one whose moments no longer fit.
// Where not even the first does, what is held for later ones gives way and is measured again.
void Compensator::measure_from(std::size_t first) {
  const auto bytes_of = [&](int input) { return SymmetricMatrix::bytes(inputs_.columns(input)); };
  const std::int64_t least = bytes_of(input_of(expected_[first]));
  if (least > memory_) {
    fail(ErrorCode::kLimit,
         "what is measured for {} takes {:.1f} MB, more than the {:.1f} MB given for it",
         printable(expected_[first].tensor), static_cast<double>(least) / 1e6,
         static_cast<double>(memory_) / 1e6);
  }
  std::int64_t bytes = 0;
  for (const auto& [input, moments] : moments_) bytes += bytes_of(input);
  for (const auto& [input, compensation] : compensations_) bytes += bytes_of(input);
  if (bytes + least > memory_) {
    moments_.clear();
    compensations_.clear();
    bytes = 0;
  }
  std::set<int> wanted;
  for (std::size_t i = first; i < expected_.size(); ++i) {
    const int input = input_of(expected_[i]);
    if (moments_.contains(input) || compensations_.contains(input) || wanted.contains(input)) {
      continue;
    }
    bytes += bytes_of(input);
    if (bytes > memory_) break;
    wanted.insert(input);
  }
  InputMoments moments(inputs_, wanted, pool_);
  measure_(moments);
  for (const int input : wanted) moments_.emplace(input, moments.take(input));
}

}  // namespace sampan
