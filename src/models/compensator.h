#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/compensation.h"
#include "models/input_moments.h"

namespace sampan {

// Gives the matrices of a model, as they are written one after the other, what compensates their
// roundings. Moments take a matrix's columns² * 2 bytes and more than a machine may have for all
// layers; so they are measured for as many of the matrices to come as memory holds, and again
// later for the next.
class Compensator {
 public:
  struct Matrix {
    std::string tensor;  // its name in the file
    std::int64_t rows = 0;
    std::int64_t columns = 0;
  };
  // Has the model read the text, watched by `moments`.
  using Measure = std::function<void(InputMoments& moments)>;

  // memory: bytes for moments.
  Compensator(ProductInputs inputs, std::int64_t memory, Measure measure, ThreadPool& pool);

  // Whether a matrix can be compensated: all of its rows met one input.
  bool can_compensate(const Matrix& matrix) const;

  // Says which will be asked for, each of them one that can be (CHECK), in this order.
  void expect(std::vector<Matrix> matrices);
  // For the next of those; valid until the next call. Null where its input was always zero. Throws
  // Error kLimit when the moments of this one matrix are more than the memory given, and what
  // measuring throws.
  const Compensation* next();

 private:
  void measure_from(std::size_t first);
  int input_of(const Matrix& matrix) const;

  ProductInputs inputs_;
  std::int64_t memory_;
  Measure measure_;
  ThreadPool& pool_;
  std::vector<Matrix> expected_;
  std::size_t next_ = 0;
  std::map<int, SymmetricMatrix> moments_;     // of inputs that were measured
  std::map<int, Compensation> compensations_;  // made of them
};

}  // namespace sampan
