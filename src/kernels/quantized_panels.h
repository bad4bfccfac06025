#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/dtype.h"
#include "tensor/quantized_matrix.h"

namespace sampan {

// Published quantised forms in the panels of kernels/panels.h. Every integer code, zero point and
// scale is kept exactly; the 32 columns of FP8 E4M3 that share a tile's row become integers by a
// power of two (docs/adr/0005-fp8-as-8-bit-integers.md).

// Panel types that may hold the matrix, the smallest first; the last one holds any.
//   4 bits  Q4_0 (zero points 8, scales exact in f16), I4Z (such scales), I8Z
//   8 bits  Q8_0 (zero points 128, scales exact in f16), I8Z
//   E4M3    F8B (one scale for the 16 rows of a panel), I8Z
//   E2M1    MXFP4
std::vector<DType> panel_types_for(const QuantizedMatrix& source);

// Which of them the first panel fits: what pack_panels() will most likely take.
DType likely_panel_type(const QuantizedMatrix& source, std::span<const std::int64_t> row_order);

// As pack_panels() of kernels/panels.h, columns in their stored order. False where the type cannot
// hold the matrix exactly: `out` is then of no use. Throws Error as QuantizedMatrix::read_tile().
bool pack_panels(const QuantizedMatrix& source, DType type, std::span<const std::int64_t> row_order,
                 std::byte* out, ThreadPool& pool);

}  // namespace sampan
