#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace sampan {

// The functions behind kernels/block_codec.h, one a type; nullptr for a type that has none.

using DequantizeFunction = void (*)(const std::byte* row, std::int64_t n, float* out);
// x holds no NaN and no infinity.
using QuantizeFunction = void (*)(const float* x, std::int64_t n, const float* importance,
                                  std::byte* out);

DequantizeFunction find_dequantize(DType dtype);
QuantizeFunction find_quantize_plain(DType dtype);   // blocks of 32 by GGUF's plain rounding
QuantizeFunction find_quantize_affine(DType dtype);  // Q2_K, Q4_K, Q5_K: scale and minimum
QuantizeFunction find_quantize_scaled(DType dtype);  // Q3_K, Q6_K, IQ4_NL, IQ4_XS: scale only

}  // namespace sampan
