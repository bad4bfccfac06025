#include <bit>
#include <cstring>

#include "kernels/reference/block_scales.h"
#include "kernels/reference/codec.h"
#include "tensor/blocks.h"
#include "tensor/half.h"

// The order of the float operations is the `gguf` package's: (d * scale) * q, then - (dmin * min)
// or + m.

namespace sampan {
namespace {

template <typename Block>
Block load_block(const std::byte* row, std::int64_t index) {
  Block block;
  std::memcpy(&block, row + index * static_cast<std::int64_t>(sizeof(Block)), sizeof(Block));
  return block;
}

// Calls decode(block, out) for every block of a row.
template <typename Block, int kElements, void decode(const Block&, float*)>
void decode_row(const std::byte* row, std::int64_t n, float* out) {
  for (std::int64_t i = 0; i < n / kElements; ++i) {
    decode(load_block<Block>(row, i), out + i * kElements);
  }
}

int low_nibble(std::uint8_t byte) { return byte & 15; }
int high_nibble(std::uint8_t byte) { return byte >> 4; }
int bit(std::uint32_t word, int index) { return static_cast<int>(word >> index & 1u); }

void decode_q4_0(const BlockQ4_0& block, float* out) {
  const float d = f16_to_float(block.d);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(low_nibble(block.qs[j]) - 8);
    out[j + 16] = d * static_cast<float>(high_nibble(block.qs[j]) - 8);
  }
}

void decode_q4_1(const BlockQ4_1& block, float* out) {
  const float d = f16_to_float(block.d), m = f16_to_float(block.m);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(low_nibble(block.qs[j])) + m;
    out[j + 16] = d * static_cast<float>(high_nibble(block.qs[j])) + m;
  }
}

void decode_q5_0(const BlockQ5_0& block, float* out) {
  const float d = f16_to_float(block.d);
  const auto qh = std::bit_cast<std::uint32_t>(block.qh);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((low_nibble(block.qs[j]) | bit(qh, j) << 4) - 16);
    out[j + 16] = d * static_cast<float>((high_nibble(block.qs[j]) | bit(qh, j + 16) << 4) - 16);
  }
}

void decode_q5_1(const BlockQ5_1& block, float* out) {
  const float d = f16_to_float(block.d), m = f16_to_float(block.m);
  const auto qh = std::bit_cast<std::uint32_t>(block.qh);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(low_nibble(block.qs[j]) | bit(qh, j) << 4) + m;
    out[j + 16] = d * static_cast<float>(high_nibble(block.qs[j]) | bit(qh, j + 16) << 4) + m;
  }
}

void decode_q8_0(const BlockQ8_0& block, float* out) {
  const float d = f16_to_float(block.d);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(block.qs[j]);
}

// 32 elements of nibbles that stand for a table's values.
void decode_table(float scale, const std::uint8_t qs[16], const std::array<std::int8_t, 16>& values,
                  float* out) {
  for (std::size_t j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>(values[qs[j] & 15]);
    out[j + 16] = scale * static_cast<float>(values[qs[j] >> 4]);
  }
}

void decode_iq4_nl(const BlockIQ4_NL& block, float* out) {
  decode_table(f16_to_float(block.d), block.qs, kIQ4Values, out);
}

void decode_mxfp4(const BlockMXFP4& block, float* out) {
  decode_table(e8m0_half_to_float(block.e), block.qs, kMXFP4Values, out);
}

void decode_q2_k(const BlockQ2_K& block, float* out) {
  const float d = f16_to_float(block.d), dmin = f16_to_float(block.dmin);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(block.scales[g] & 15);
    const float minimum = dmin * static_cast<float>(block.scales[g] >> 4);
    const std::uint8_t* qs = block.qs + 32 * (g / 8) + 16 * (g % 2);
    const int shift = 2 * (g / 2 % 4);
    for (int l = 0; l < 16; ++l) {
      out[16 * g + l] = scale * static_cast<float>(qs[l] >> shift & 3) - minimum;
    }
  }
}

void decode_q3_k(const BlockQ3_K& block, float* out) {
  const float d = f16_to_float(block.d);
  std::uint8_t scales[16];
  unpack_scales_q3_k(block.scales, scales);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(scales[g] - 32);
    const std::uint8_t* qs = block.qs + 32 * (g / 8) + 16 * (g % 2);
    const std::uint8_t* hmask = block.hmask + 16 * (g % 2);
    const int shift = 2 * (g / 2 % 4);
    for (int l = 0; l < 16; ++l) {
      const int q = (qs[l] >> shift & 3) + 4 * bit(hmask[l], g / 2) - 4;
      out[16 * g + l] = scale * static_cast<float>(q);
    }
  }
}

void decode_q4_k(const BlockQ4_K& block, float* out) {
  const float d = f16_to_float(block.d), dmin = f16_to_float(block.dmin);
  std::uint8_t scales[8], minima[8];
  unpack_scales_q4_k(block.scales, scales, minima);
  for (int g = 0; g < 8; ++g) {
    const float scale = d * static_cast<float>(scales[g]);
    const float minimum = dmin * static_cast<float>(minima[g]);
    const std::uint8_t* qs = block.qs + 32 * (g / 2);
    const int shift = 4 * (g % 2);
    for (int l = 0; l < 32; ++l) {
      out[32 * g + l] = scale * static_cast<float>(qs[l] >> shift & 15) - minimum;
    }
  }
}

void decode_q5_k(const BlockQ5_K& block, float* out) {
  const float d = f16_to_float(block.d), dmin = f16_to_float(block.dmin);
  std::uint8_t scales[8], minima[8];
  unpack_scales_q4_k(block.scales, scales, minima);
  for (int g = 0; g < 8; ++g) {
    const float scale = d * static_cast<float>(scales[g]);
    const float minimum = dmin * static_cast<float>(minima[g]);
    const std::uint8_t* qs = block.qs + 32 * (g / 2);
    const int shift = 4 * (g % 2);
    for (int l = 0; l < 32; ++l) {
      const int q = (qs[l] >> shift & 15) + 16 * bit(block.qh[l], g);
      out[32 * g + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void decode_q6_k(const BlockQ6_K& block, float* out) {
  const float d = f16_to_float(block.d);
  for (int g = 0; g < 16; ++g) {
    const float scale = d * static_cast<float>(block.scales[g]);
    const int half = g / 8, field = g / 2 % 4;
    const std::uint8_t* ql = block.ql + 64 * half + 32 * (field % 2) + 16 * (g % 2);
    const std::uint8_t* qh = block.qh + 32 * half + 16 * (g % 2);
    for (int l = 0; l < 16; ++l) {
      const int q = (ql[l] >> 4 * (field / 2) & 15) | (qh[l] >> 2 * field & 3) << 4;
      out[16 * g + l] = scale * static_cast<float>(q - 32);
    }
  }
}

void decode_iq4_xs(const BlockIQ4_XS& block, float* out) {
  const float d = f16_to_float(block.d);
  for (int g = 0; g < 8; ++g) {
    const int scale = (block.scales_l[g / 2] >> 4 * (g % 2) & 15) | (block.scales_h >> 2 * g & 3)
                                                                        << 4;
    decode_table(d * static_cast<float>(scale - 32), block.qs + 16 * g, kIQ4Values, out + 32 * g);
  }
}

void decode_f32_row(const std::byte* row, std::int64_t n, float* out) {
  if (n > 0) std::memcpy(out, row, static_cast<std::size_t>(n) * sizeof(float));
}

void decode_f16(const std::uint16_t& bits, float* out) { *out = f16_to_float(bits); }

void decode_bf16(const std::uint16_t& bits, float* out) { *out = bf16_to_float(bits); }

}  // namespace

DequantizeFunction find_dequantize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return decode_f32_row;
    case DType::kF16:
      return decode_row<std::uint16_t, 1, decode_f16>;
    case DType::kBF16:
      return decode_row<std::uint16_t, 1, decode_bf16>;
    case DType::kQ4_0:
      return decode_row<BlockQ4_0, 32, decode_q4_0>;
    case DType::kQ4_1:
      return decode_row<BlockQ4_1, 32, decode_q4_1>;
    case DType::kQ5_0:
      return decode_row<BlockQ5_0, 32, decode_q5_0>;
    case DType::kQ5_1:
      return decode_row<BlockQ5_1, 32, decode_q5_1>;
    case DType::kQ8_0:
      return decode_row<BlockQ8_0, 32, decode_q8_0>;
    case DType::kQ2_K:
      return decode_row<BlockQ2_K, 256, decode_q2_k>;
    case DType::kQ3_K:
      return decode_row<BlockQ3_K, 256, decode_q3_k>;
    case DType::kQ4_K:
      return decode_row<BlockQ4_K, 256, decode_q4_k>;
    case DType::kQ5_K:
      return decode_row<BlockQ5_K, 256, decode_q5_k>;
    case DType::kQ6_K:
      return decode_row<BlockQ6_K, 256, decode_q6_k>;
    case DType::kIQ4_NL:
      return decode_row<BlockIQ4_NL, 32, decode_iq4_nl>;
    case DType::kIQ4_XS:
      return decode_row<BlockIQ4_XS, 256, decode_iq4_xs>;
    case DType::kMXFP4:
      return decode_row<BlockMXFP4, 32, decode_mxfp4>;
    default:
      return nullptr;
  }
}

}  // namespace sampan
