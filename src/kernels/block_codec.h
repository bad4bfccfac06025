#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace sampan {

// Rows of block formats and of 16-bit floats to float and back. Layouts: tensor/blocks.h.

// out[i] for i in [0, n): the float values of a row of `dtype` (F32, F16, BF16 or a block type); n a multiple of the block
// size. Equal to the bit to the `gguf` package's dequantisation. `row` needs no alignment. Throws Error kUnsupported for
// integer types.
void dequantize_row(DType dtype, const std::byte* row, std::int64_t n, float* out);

// True for the types that quantize_row takes.
bool can_quantize(DType dtype);

// Encodes n floats as `dtype` into out (row_bytes(dtype, n) bytes). Deterministic. Q8_0, Q4_0 … use the plain rounding of GGUF's
// reference; k-quants minimise the weighted squared error over scales and minima. importance (n) weighs columns, or nullptr.
void quantize_row(DType dtype, const float* x, std::int64_t n, const float* importance, std::byte* out);

}  // namespace sampan
