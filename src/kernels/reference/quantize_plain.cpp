// Blocks of 32 by plain rounding, equal to the bit to the `gguf` package's for ordinary values.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/block_scales.h"
#include "kernels/reference/codec.h"
#include "tensor/blocks.h"
#include "tensor/half.h"

namespace sampan {
namespace {

constexpr float kMaxHalf = 65504.0f;

// Calls encode(x) → Block for every 32 elements of a row; plain rounding knows no importance.
template <typename Block, Block encode(const float*)>
void encode_row(const float* x, std::int64_t n, const float*, std::byte* out) {
  for (std::int64_t i = 0; i < n / 32; ++i) {
    const Block block = encode(x + 32 * i);
    std::memcpy(out + i * static_cast<std::int64_t>(sizeof(Block)), &block, sizeof(Block));
  }
}

// A scale that stays finite as a half, and its inverse (0 where the inverse is not a number that
// helps).
float finite_half(float value) { return std::clamp(value, -kMaxHalf, kMaxHalf); }
float inverse(float d) {
  const float result = 1.0f / d;
  return std::isfinite(result) ? result : 0.0f;
}

int truncate_to_code(float value, int max_code) {
  return value >= static_cast<float>(max_code) ? max_code : static_cast<int>(std::max(0.0f, value));
}

// The element of the largest magnitude, the first of several.
float extreme(const float* x) {
  float found = x[0];
  for (int i = 1; i < 32; ++i) {
    if (std::fabs(x[i]) > std::fabs(found)) found = x[i];
  }
  return found;
}

// Codes of 4 bits into nibbles; of 5 bits, with the highest bits apart.
void pack_nibbles(const int codes[32], std::uint8_t qs[16]) {
  for (int j = 0; j < 16; ++j) {
    qs[j] = static_cast<std::uint8_t>((codes[j] & 15) | (codes[j + 16] & 15) << 4);
  }
}

void pack_high_bits(const int codes[32], std::uint8_t qh[4]) {
  std::uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<std::uint32_t>(codes[i] >> 4) << i;
  std::memcpy(qh, &bits, sizeof(bits));
}

// Codes around `zero`: the element of the largest magnitude becomes code 0. Returns the scale.
float encode_symmetric(const float* x, int zero, int codes[32]) {
  const float d = finite_half(extreme(x) / static_cast<float>(-zero));
  const float inverse_d = inverse(d);
  for (int i = 0; i < 32; ++i) {
    codes[i] = truncate_to_code(x[i] * inverse_d + (static_cast<float>(zero) + 0.5f), 2 * zero - 1);
  }
  return d;
}

struct ScaleAndMinimum {
  float d;
  float m;
};

// Codes 0 to max_code between the least and the largest element.
ScaleAndMinimum encode_range(const float* x, int max_code, int codes[32]) {
  const auto [least, largest] = std::minmax_element(x, x + 32);
  const float m = finite_half(*least);
  const float d = finite_half((*largest - *least) / static_cast<float>(max_code));
  const float inverse_d = inverse(d);
  for (int i = 0; i < 32; ++i) {
    codes[i] = truncate_to_code((x[i] - m) * inverse_d + 0.5f, max_code);
  }
  return {d, m};
}

BlockQ4_0 encode_q4_0(const float* x) {
  BlockQ4_0 block;
  int codes[32];
  block.d = float_to_f16(encode_symmetric(x, 8, codes));
  pack_nibbles(codes, block.qs);
  return block;
}

BlockQ5_0 encode_q5_0(const float* x) {
  BlockQ5_0 block;
  int codes[32];
  block.d = float_to_f16(encode_symmetric(x, 16, codes));
  pack_nibbles(codes, block.qs);
  pack_high_bits(codes, block.qh);
  return block;
}

BlockQ4_1 encode_q4_1(const float* x) {
  BlockQ4_1 block;
  int codes[32];
  const auto [d, m] = encode_range(x, 15, codes);
  block.d = float_to_f16(d);
  block.m = float_to_f16(m);
  pack_nibbles(codes, block.qs);
  return block;
}

BlockQ5_1 encode_q5_1(const float* x) {
  BlockQ5_1 block;
  int codes[32];
  const auto [d, m] = encode_range(x, 31, codes);
  block.d = float_to_f16(d);
  block.m = float_to_f16(m);
  pack_nibbles(codes, block.qs);
  pack_high_bits(codes, block.qh);
  return block;
}

BlockQ8_0 encode_q8_0(const float* x) {
  BlockQ8_0 block;
  const float d = finite_half(std::fabs(extreme(x)) / 127.0f);
  const float inverse_d = inverse(d);
  block.d = float_to_f16(d);
  for (int i = 0; i < 32; ++i) {
    // Halves are rounded away from zero; adding 0.5 first would also round up what lies just below
    // a half.
    const float scaled = std::fabs(x[i]) * inverse_d;
    const int floored = truncate_to_code(scaled, 127);
    const int magnitude = floored + (floored < 127 && scaled - static_cast<float>(floored) >= 0.5f);
    block.qs[i] = static_cast<std::int8_t>(x[i] < 0 ? -magnitude : magnitude);
  }
  return block;
}

// The power of two of the scale follows the largest element; every element takes the nearest value,
// the first of two.
BlockMXFP4 encode_mxfp4(const float* x) {
  BlockMXFP4 block;
  const float largest = std::fabs(extreme(x));
  // The logarithm is rounded to float before it is floored, as the package's is.
  const float exponent =
      largest > 0 ? std::floor(static_cast<float>(std::log2(static_cast<double>(largest)))) : -200;
  block.e = static_cast<std::uint8_t>(std::max(exponent - 2.0f + 127.0f, 0.0f));
  const float d = e8m0_half_to_float(block.e);
  int codes[32] = {};
  float best[32];
  std::fill(best, best + 32, std::numeric_limits<float>::infinity());
  for (int code = 0; code < 16; ++code) {
    const float value = d * static_cast<float>(kMXFP4Values[static_cast<std::size_t>(code)]);
    for (int i = 0; i < 32; ++i) {
      const float error = std::fabs(value - x[i]);
      codes[i] = error < best[i] ? code : codes[i];
      best[i] = error < best[i] ? error : best[i];
    }
  }
  pack_nibbles(codes, block.qs);
  return block;
}

}  // namespace

QuantizeFunction find_quantize_plain(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return encode_row<BlockQ4_0, encode_q4_0>;
    case DType::kQ4_1:
      return encode_row<BlockQ4_1, encode_q4_1>;
    case DType::kQ5_0:
      return encode_row<BlockQ5_0, encode_q5_0>;
    case DType::kQ5_1:
      return encode_row<BlockQ5_1, encode_q5_1>;
    case DType::kQ8_0:
      return encode_row<BlockQ8_0, encode_q8_0>;
    case DType::kMXFP4:
      return encode_row<BlockMXFP4, encode_mxfp4>;
    default:
      return nullptr;
  }
}

}  // namespace sampan
