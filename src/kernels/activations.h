#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/thread_pool.h"
#include "kernels/quantized_activations.h"

namespace sampan {

enum class ActivationKind : std::uint8_t { kFloat, kBf16, kInt8Block32, kInt8Block256 };

// Columns that one block of a form holds (1 where there are none), and its bytes.
std::int64_t block_width(ActivationKind kind);
std::int64_t block_bytes(ActivationKind kind);

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
  const QuantizedRows& quantized(ActivationKind kind) const;

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

}  // namespace sampan
