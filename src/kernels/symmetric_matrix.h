#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/tensor.h"

namespace sampan {

// The lower half of a symmetric matrix of floats, in panels of 256 columns: panel p has columns
// [begin(p), end(p)) of rows [begin(p), size), row-major. Made for sums of outer products, which
// are matrix products (kernels/matmul.h) and so the same to the bit whatever the threads and the
// instruction set.
class SymmetricMatrix {
 public:
  static constexpr std::int64_t kPanelColumns = 256;

  // Zeros; size >= 1. Throws Error kLimit when the memory cannot be had.
  explicit SymmetricMatrix(std::int64_t size);
  // What one of that size takes.
  static std::int64_t bytes(std::int64_t size);

  std::int64_t size() const { return size_; }
  std::int64_t panels() const { return static_cast<std::int64_t>(panels_.size()); }
  std::int64_t begin(std::int64_t panel) const { return panel * kPanelColumns; }
  std::int64_t end(std::int64_t panel) const;
  std::int64_t width(std::int64_t panel) const { return end(panel) - begin(panel); }
  // (size - begin(panel), width(panel))
  float* data(std::int64_t panel) { return panels_[static_cast<std::size_t>(panel)].as<float>(); }
  const float* data(std::int64_t panel) const {
    return panels_[static_cast<std::size_t>(panel)].as<float>();
  }
  // row >= column
  float at(std::int64_t row, std::int64_t column) const;

  // Adds X Xᵀ of X (size, count), row-major; sums of count products in float.
  void add_products(const float* x, std::int64_t count, ThreadPool& pool);
  // Adds sign X Xᵀ to the panels from first_panel on; x: the rows of X from begin(first_panel) on.
  void add_products(const float* x, std::int64_t count, float sign, std::int64_t first_panel,
                    ThreadPool& pool);

 private:
  std::int64_t size_;
  std::vector<Buffer> panels_;
};

}  // namespace sampan
