#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/weight_memory.h"
#include "tensor/quantized_matrix.h"
#include "tensor/tensor.h"

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

enum class ActivationKind : std::uint8_t { kFloat, kBf16, kInt8Block32, kInt8Block256 };

// How products of BF16 weights take their activations: as floats, or rounded to BF16 as GPUs do,
// which is less exact, and faster where the machine has products of BF16.
enum class Bf16Products : std::uint8_t { kExact, kRounded };

// What a product with weights of this type reads, where nothing else was asked for. Throws Error
// kUnsupported for a type that has no product.
ActivationKind activation_kind(DType weights);

// A weight matrix (rows = outputs, columns = inputs), immutable after it is made; thread-safe.
// Float types borrow the source bytes (the mapped file must outlive it); block types own a copy
// repacked in panels of 16 rows (kernels/panels.h).
class WeightMatrix {
 public:
  WeightMatrix() = default;

  // source: (rows, columns), of a type that activation_kind() takes; columns a multiple of the
  // block size. Any rows >= 1.
  static WeightMatrix make(const TensorView& source, ThreadPool& pool);
  // As above for a matrix whose rows are to be taken in another order: output i is source row
  // row_order[i]. The result owns its data for every type. `allocate` gives the memory of what is
  // owned.
  static WeightMatrix make(const TensorView& source, std::span<const std::int64_t> row_order,
                           ThreadPool& pool, const WeightAllocator& allocate = allocate_weights);
  // make() of each, all threads busy until the last is done.
  static std::vector<WeightMatrix> make_all(std::span<const TensorView> sources, ThreadPool& pool,
                                            const WeightAllocator& allocate = allocate_weights);
  // From a published quantised form, always a copy in panels (kernels/quantized_panels.h).
  // row_order empty: rows as they lie. Throws Error for scales and codes that are no numbers.
  static WeightMatrix make(const QuantizedMatrix& source, std::span<const std::int64_t> row_order,
                           ThreadPool& pool, const WeightAllocator& allocate = allocate_weights);

  // Bytes that make(source) without an order will own.
  static std::int64_t owned_bytes_of(const TensorView& source);
  // Reads some scales; in rare cases it is more (kernels/quantized_panels.h: panel_types_for).
  static std::int64_t owned_bytes_of(const QuantizedMatrix& source);

  void set_products(Bf16Products products) { products_ = products; }
  // The tensor of the file that it is of, or part of; "" for one that is no tensor's
  // (ProductObserver).
  void set_name(std::string name) { name_ = std::move(name); }
  const std::string& name() const { return name_; }

  DType dtype() const { return dtype_; }
  // What products read.
  ActivationKind activations() const {
    const bool rounds = dtype_ == DType::kBF16 && products_ == Bf16Products::kRounded;
    return rounds ? ActivationKind::kBf16 : activation_kind(dtype_);
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  const std::byte* data() const { return data_; }
  // Bytes that one product with a single row of activations reads.
  std::int64_t bytes() const { return bytes_; }
  // Columns of the activations in the order in which its own lie; empty: as they are. Products
  // reorder their activations by themselves.
  std::span<const std::int32_t> column_order() const { return column_order_; }
  // Bytes that it owns (0 when the source is borrowed).
  std::int64_t owned_bytes() const { return owned_ ? bytes_ : 0; }

 private:
  DType dtype_ = DType::kF32;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::int64_t bytes_ = 0;
  const std::byte* data_ = nullptr;
  std::shared_ptr<const std::byte> owned_;  // kernels/weight_memory.h
  std::vector<std::int32_t> column_order_;
  Bf16Products products_ = Bf16Products::kExact;
  std::string name_;
};

// Rows of activations in the forms that products read; a quantised form is made once and shared by
// every product with the same input (Q, K, V; gate, up). Not thread-safe; memory is kept between
// uses.
class Activations {
 public:
  // Refers to x (rows, columns), row-major, which must stay unchanged until the next set(). Forgets
  // the quantised forms.
  void set(const float* x, std::int64_t rows, std::int64_t columns);
  // Row i is row rows[i] of `source`, whose forms are made once and copied. Both arguments must
  // stay unchanged until the next set(); each rows[i] within the source (unchecked).
  void set_rows_of(Activations& source, std::span<const std::int32_t> rows);
  // Makes the form if it is missing. columns must be a multiple of the block width for the
  // quantised forms.
  void require(ActivationKind kind, ThreadPool& pool);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  // A number for what was set last, that of no other content of any Activations.
  std::uint64_t content() const { return content_; }
  // Null for rows of another's until require(kFloat).
  const float* floats() const { return x_; }
  // kBf16: row-major BF16. Else (rows, columns) int8; scales (rows, columns / width) float; sums:
  // see kernels/quantized_activations.h.
  const struct QuantizedRows& quantized(ActivationKind kind) const;

  Activations();
  ~Activations();
  Activations(Activations&&) noexcept;
  Activations& operator=(Activations&&) noexcept;

 private:
  void gather_floats(ThreadPool& pool);
  void copy_rows(const std::byte* from, std::byte* to, std::int64_t bytes, ThreadPool& pool) const;

  const float* x_ = nullptr;
  std::int64_t rows_ = 0;
  std::int64_t columns_ = 0;
  std::uint64_t content_ = 0;
  Activations* source_ = nullptr;
  std::span<const std::int32_t> source_rows_;
  struct Forms;
  std::unique_ptr<Forms> forms_;
};

// y[t * y_stride + r] = Σ_k x[t][k] w[r][k] for every row t of x and r of w. y does not overlap x
// or w. y_stride >= w.rows(). Calls x.require() for the form it needs. Splits the work over the
// pool.
void matmul(const WeightMatrix& w, Activations& x, float* y, std::int64_t y_stride,
            ThreadPool& pool);

// One of several products of parts of the same activations: y[t * y_stride + r] = Σ_k
// x[first_row + t][first_column + k] w[r][k] for t in [0, rows). first_column is a multiple of the
// block width of the form that w reads.
struct MatmulTask {
  const WeightMatrix* w = nullptr;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;  // of x; 0 does nothing
  std::int64_t first_column = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
};

// All products at once, so that many small ones (the experts of a layer, the heads of a projection)
// keep all threads busy. The y of no two tasks overlap. The same bits as one matmul() each.
void matmul_tasks(std::span<const MatmulTask> tasks, Activations& x, ThreadPool& pool);

}  // namespace sampan
