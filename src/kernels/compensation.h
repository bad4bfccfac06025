#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/symmetric_matrix.h"
#include "tensor/dtype.h"

namespace sampan {

// Rounds the rows of a matrix so that its products change little, not its elements: what the
// rounding of a column changes in the products is made good by the columns that are not rounded
// yet.
//
// With H = Σ x xᵀ over the inputs x that the matrix meets, a row w rounded to q changes its
// products by (w - q)ᵀ H (w - q) in squares. With H = L Lᵀ (Cholesky) that is
//   Σ_j L_jj² (e_j + Σ_{i > j} L_ij / L_jj e_i)²,   e = w - q,
// so that, from the last column to the first, column j is best rounded from
//   v_j = w_j + Σ_{i > j} L_ij / L_jj e_i,
// an error of v_j weighing L_jj². This is GPTQ (Frantar et al. 2022, arXiv 2210.17323), whose
// factor of the inverse moments does the same from the first column to the last; from the last on
// none has to be inverted.
class Compensation {
 public:
  // Of the mean of the diagonal; what is added to the diagonal, so that inputs that hardly differ
  // in the text that was measured do not make up for each other at any price.
  static constexpr double kDamping = 0.01;

  // Factors the moments H, which must be numbers (CHECK) and not all zero (CHECK); an input that
  // was always zero takes part in nothing. About columns³ / 6 multiply-adds, in float as products
  // are.
  Compensation(SymmetricMatrix moments, ThreadPool& pool);

  std::int64_t columns() const { return factor_.size(); }
  // (columns) L_jj²: what a squared error of each column costs once later ones are made good.
  std::span<const float> weights() const { return weights_; }

  // Encodes `count` rows as dtype, a type with codes (CHECK), into out. values (count, columns):
  // the rows, overwritten. A block's scales are those that quantize_row gives for what its columns
  // are to be; then its codes are chosen one after the other. What is not a number counts as
  // quantize_row says. About columns² / 2 multiply-adds a row. The same bytes whatever the threads.
  void quantize_rows(DType dtype, float* values, std::int64_t count, std::byte* out,
                     ThreadPool& pool) const;

 private:
  void factor_panel(std::int64_t panel, float least_pivot, ThreadPool& pool);
  void turn_panel(std::int64_t panel);
  void quantize_panel(DType dtype, std::int64_t panel, float* row, const float* made_good,
                      std::byte* out) const;
  void quantize_block(DType dtype, std::int64_t panel, std::int64_t begin, float* values,
                      float* wanted, std::byte* out) const;

  // Panel p: L_ij / L_jj of its own columns i, j (width, width) by i, then those of the columns
  // behind it (width, columns - end) by j.
  SymmetricMatrix factor_;
  std::vector<float> weights_;
};

}  // namespace sampan
