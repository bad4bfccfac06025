#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/activations.h"
#include "kernels/weight_memory.h"
#include "tensor/quantized_matrix.h"
#include "tensor/tensor.h"

namespace sampan {

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

}  // namespace sampan
