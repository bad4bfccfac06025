#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/product_observer.h"
#include "kernels/symmetric_matrix.h"

namespace sampan {

// Which matrices of a model meet the same input (q, k and v; gate and up), found by watching one
// forward, of any number of tokens. Inputs are numbered as they come.
class ProductInputs : public ProductObserver {
 public:
  void on_product(const MatmulTask& task, const Activations& x) override;

  // The input that all rows of a matrix met, by its tensor's name in the file; nullopt where they
  // met several (experts, heads of latent attention), or not all of them were multiplied.
  std::optional<int> of(std::string_view tensor, std::int64_t rows, std::int64_t columns) const;
  // As above of the rows that were multiplied, be they all or not.
  std::optional<int> of(std::string_view tensor) const;
  std::int64_t columns(int input) const { return columns_[static_cast<std::size_t>(input)]; }
  std::int64_t most_columns() const;

 private:
  struct Met {
    int input = -1;
    bool is_one = true;
    std::int64_t rows = 0;
  };

  using Content = std::tuple<std::uint64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  std::map<Content, int> inputs_;
  std::vector<std::int64_t> columns_;
  std::map<std::string, Met, std::less<>> met_;
};

// Σ x xᵀ of some of a model's inputs while it reads.
class InputMoments : public ProductObserver {
 public:
  // inputs: of the same model; outlives this object, as does the pool.
  InputMoments(const ProductInputs& inputs, const std::set<int>& wanted, ThreadPool& pool);

  void on_product(const MatmulTask& task, const Activations& x) override;

  // Once each. Throws Error kInvalidData when they are not all numbers.
  SymmetricMatrix take(int input);

 private:
  struct Sum {
    SymmetricMatrix moments;
    std::uint64_t last = 0;  // content that was added
  };

  const ProductInputs& inputs_;
  ThreadPool& pool_;
  std::map<int, Sum> sums_;
  std::vector<float> turned_;  // (columns, rows)
};

}  // namespace sampan
