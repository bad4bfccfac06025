#pragma once

#include <cstddef>
#include <cstdint>

namespace sampan {

// Activations quantised to 8 bits, blocks in the order of the columns, everything that a product
// needs of a block together.
//
// Quantisation of a block of n = 32 or 256 floats: amax = max |x|.
//   a block with an infinity or a NaN:   d = NaN, q = 0 (so that what is computed from it is NaN)
//   amax < 2^-100:                       d = 0, q = 0
//   else:                                d = amax / 127, q = round-to-nearest-even(x * (127 /
//   amax)), in float; |q| <= 127
struct ActivationBlock32 {
  std::int8_t q[32];
  float d;
  std::int32_t minus_sum;  // -Σ q
  float sum;               // Σ q
};

struct ActivationBlock256 {
  std::int8_t q[256];
  std::int16_t sums16[16];  // Σ q of 16 columns each
  std::int16_t sums32[8];   // of 32 columns each
  float d;
};

inline constexpr float kLeastActivation = 0x1p-100f;

// Rows of blocks of one kind: row t starts at data + t * row_stride. The stride is an odd multiple
// of 64 bytes, so that rows do not fall on the same cache sets.
struct QuantizedRows {
  const std::byte* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t rows = 0;
  std::int64_t blocks = 0;  // a row
};

}  // namespace sampan
