#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/product_observer.h"

namespace sampan {

// How much each column of each weight matrix matters: the mean square of the activations that met
// it. An encoder that weighs its errors so loses less of what the matrix puts out (the "importance
// matrix" of the field). Matrices that a file stacks (experts) share one row of importances, each
// expert counting by the tokens that were sent to it.
class Importance : public ProductObserver {
 public:
  void on_product(const MatmulTask& task, const Activations& x) override;

  // (columns) of a tensor by its name in the file; empty where no activations met it, or they were
  // not all numbers.
  std::vector<float> of(std::string_view tensor, std::int64_t columns) const;

  std::int64_t tensors() const { return static_cast<std::int64_t>(squares_.size()); }

 private:
  struct Squares {
    std::vector<double> sums;  // (columns)
    std::int64_t rows = 0;
  };

  std::map<std::string, Squares, std::less<>> squares_;
};

}  // namespace sampan
