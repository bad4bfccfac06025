#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/activations.h"
#include "kernels/weight_matrix.h"

namespace sampan {

// Matrix products y = x Wᵀ between float activations and weights as published. The order of float
// operations is part of the contract, so that every instruction set, batch size and thread count
// gives the same bits (docs/adr/0001):
//
//   F32, F16, BF16   weights are widened to float (exact). 16 virtual lanes: lane[k % 16] =
//   fma(x[k], w[k], lane[k % 16]) for
//                    ascending k, the last partial group padded with zeros; then folded by the tree
//                    of kernels/lanes.h.
//   BF16 with activations rounded to BF16, nearest even (Bf16Products::kRounded)
//                    each virtual lane takes two columns of 32, the odd one first, which is what
//                    vdpbf16ps does: lane[i] = fma(x[k + 2i], w[k + 2i], fma(x[k + 2i + 1], w[k +
//                    2i + 1], lane[i])) for ascending k = 0, 32, …, padded and folded likewise;
//                    subnormal numbers count as zero.
//   32-wide blocks   Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4: activations are quantised per 32
//   (kInt8Block32). For ascending
//                    blocks: acc = fma(d_w * d_x, float(isum), acc), isum the exact integer sum of
//                    (code - zero) * q_x; a type with a minimum then does acc = fma(m_w * d_x,
//                    float(sum of q_x), acc). One chain an output.
//   256-wide blocks  Q2_K … Q6_K, IQ4_XS: activations are quantised per 256 (kInt8Block256). For
//   ascending super-blocks:
//                    acc = fma(d_w * d_x, float(isum), acc), isum the exact integer sum of
//                    sub-scale * (code - zero) * q_x; a type with minima then does acc =
//                    fma(-(dmin_w * d_x), float(exact integer sum of sub-min * sum q_x), acc).
//   d_w, dmin_w, m_w are the block's scales widened to float; d_x is float.
//
// Weights in other quantised forms (QuantizedMatrix) go by the rule of 32-wide blocks, in the order
// of their stored columns, with d_w their scale in float and the exact (code - zero). FP8 E4M3: see
// kernels/quantized_panels.h.

// y[t * y_stride + r] = Σ_k x[t][k] w[r][k] for every row t of x and r of w. y does not overlap x
// or w. y_stride >= w.rows(). Calls x.require() for the form it needs. Splits the work over the
// pool.
void matmul(const WeightMatrix& w, Activations& x, float* y, std::int64_t y_stride,
            ThreadPool& pool);

// One of several products of parts of the same activations: y[t * y_stride + r] = Σ_k
// x[first_row + t][first_column + k] w[r][k] + bias[r] for t in [0, rows). first_column is a
// multiple of the block width of the form that w reads. With `up`, of the shape of w, a gated
// product: y = silu(x Wᵀ + bias) · (x Upᵀ + up_bias), silu_mul as in
// kernels/ops_table.h.
struct MatmulTask {
  const WeightMatrix* w = nullptr;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;  // of x; 0 does nothing
  std::int64_t first_column = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
  const float* bias = nullptr;  // (rows of w) or null for none
  const WeightMatrix* up = nullptr;
  const float* up_bias = nullptr;
};

// All products at once, so that many small ones (a layer's Q, K and V, its experts, the heads of a
// projection) keep all threads busy; what follows a product is done while it lies in a cache. The y
// of no two tasks overlap. The same bits as one matmul() each, then add, then silu_mul().
void matmul_tasks(std::span<const MatmulTask> tasks, Activations& x, ThreadPool& pool);

}  // namespace sampan
