#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/matmul.h"

namespace sampan {

struct MatrixShape {
  std::int64_t rows;
  std::int64_t columns;
};

// Names of the weights that products are measured with: types of GGUF, plain floats, published
// quantised forms, and BF16-PRODUCTS (BF16 weights with activations rounded to BF16).
std::vector<std::string> all_weight_types();
bool is_weight_type(std::string_view name);

// Weights as a file holds them, and how they become a matrix for products.
struct WeightSource {
  std::int64_t bytes = 0;
  std::function<WeightMatrix(ThreadPool&)> make;
};

// Random weights, the same at each call. Throws Error for a type that is_weight_type() denies.
WeightSource make_source(const std::string& type, const MatrixShape& shape);

// Products of one matrix with some tokens: so many copies of it that none is in a cache when it
// comes round again.
class ProductCase {
 public:
  ProductCase(const std::string& type, const MatrixShape& shape, ThreadPool& pool);

  // Random activations, the same at each call.
  void set_tokens(std::int64_t tokens);
  // Some products; with many tokens one. Quantising is part of the first.
  void run();
  std::int64_t products() const;                            // of a run()
  const std::vector<float>& outputs() const { return y_; }  // (tokens, rows) of the last product

  const WeightMatrix& matrix() const { return copies_.front(); }
  const WeightSource& source() const { return sources_.front(); }
  std::int64_t tokens() const { return tokens_; }

 private:
  ThreadPool& pool_;
  std::vector<WeightSource> sources_;
  std::vector<WeightMatrix> copies_;
  std::int64_t tokens_ = 0;
  std::vector<float> x_;
  std::vector<float> y_;
  Activations activations_;
};

// Median seconds of body(), repeated for at least `seconds` and `least` times, after one call to
// warm up.
double median_seconds(double seconds, int least, const std::function<void()>& body);

}  // namespace sampan
