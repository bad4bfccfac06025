// Matrix products as kernels/matmul.h defines them, in plain loops: the oracle of the other
// instruction sets.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/lanes.h"
#include "kernels/matmul_table.h"
#include "kernels/panels.h"
#include "kernels/reference/block_scales.h"
#include "tensor/blocks.h"
#include "tensor/half.h"

namespace sampan {
namespace {

// One row of a tile of a panel.
struct TileRow {
  const std::uint8_t* header;
  const std::uint8_t* codes;
  int row;

  float single(int offset) const {
    float value;
    std::memcpy(&value, header + offset, sizeof(value));
    return value;
  }
  float half(int array) const {
    std::uint16_t bits;
    std::memcpy(&bits, header + 32 * array + 2 * row, 2);
    return f16_to_float(bits);
  }
  // Value of sub-block i in an array of pairs that starts `offset` bytes into the header.
  int pair_value(int offset, int i) const {
    return header[offset + (i / 2 * kPanelRows + row) * 2 + i % 2];
  }
  int signed_pair_value(int offset, int i) const {
    return static_cast<std::int8_t>(pair_value(offset, i));
  }

  // Codes of column k of a tile whose groups of 32 columns take group_bytes.
  int nibble(int k, int group_bytes) const {
    const int g = k % 32 / 4;
    const int byte = codes[k / 32 * group_bytes + (g % 4 * kPanelRows + row) * 4 + k % 4];
    return g < 4 ? byte & 15 : byte >> 4;
  }
  int bit(int k, int group_bytes, int offset) const {
    const int byte = codes[k / 32 * group_bytes + offset + row * 4 + k % 4];
    return (byte >> (k % 32 / 4)) & 1;
  }
  int two_bits(int k, int group_bytes, int offset) const {
    const int g = k % 32 / 4;
    const int byte = codes[k / 32 * group_bytes + offset + (g / 4 * kPanelRows + row) * 4 + k % 4];
    return (byte >> (2 * (g % 4))) & 3;
  }
  int signed_byte(int k) const {
    return static_cast<std::int8_t>(codes[(k / 4 * kPanelRows + row) * 4 + k % 4]);
  }
};

// Each format: value(k) = code - zero as an integer, and its scales.

struct Q4_0 {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) { return t.half(0); }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) { return t.nibble(k, 256) - 8; }
};
struct Q4_1 {
  static constexpr bool kMinimum = true;
  static float scale(const TileRow& t) { return t.half(0); }
  static float minimum(const TileRow& t) { return t.half(1); }
  static int value(const TileRow& t, int k) { return t.nibble(k, 256); }
};
struct Q5_0 {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) { return t.half(0); }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) {
    return (t.nibble(k, 320) | t.bit(k, 320, 256) << 4) - 16;
  }
};
struct Q5_1 {
  static constexpr bool kMinimum = true;
  static float scale(const TileRow& t) { return t.half(0); }
  static float minimum(const TileRow& t) { return t.half(1); }
  static int value(const TileRow& t, int k) { return t.nibble(k, 320) | t.bit(k, 320, 256) << 4; }
};
struct Q8_0 {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) { return t.half(0); }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) { return t.signed_byte(k); }
};
struct Iq4Nl {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) { return t.half(0); }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) {
    return kIQ4Values[static_cast<std::size_t>(t.nibble(k, 256))];
  }
};
struct Mxfp4 {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) { return e8m0_half_to_float(t.header[t.row]); }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) {
    return kMXFP4Values[static_cast<std::size_t>(t.nibble(k, 256))];
  }
};
struct I4Zero {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) { return t.half(0); }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) { return t.nibble(k, 256) - t.header[32 + t.row]; }
};
struct I8Zero {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) { return t.single(4 * t.row); }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) {
    return t.signed_byte(k) + 128 - t.header[64 + t.row];
  }
};
struct F8Block {
  static constexpr bool kMinimum = false;
  static float scale(const TileRow& t) {
    const auto power = std::bit_cast<float>(static_cast<std::uint32_t>(t.header[t.row]) << 23);
    return t.single(kPanelRows) * power;
  }
  static float minimum(const TileRow&) { return 0.0f; }
  static int value(const TileRow& t, int k) { return t.signed_byte(k); }
};

// 256-wide: kSub columns a sub-block.
struct Q2K {
  static constexpr bool kMinimum = true;
  static constexpr int kSub = 16;
  static int sub_scale(const TileRow& t, int i) { return t.pair_value(64, i) & 15; }
  static int sub_minimum(const TileRow& t, int i) { return t.pair_value(64, i) >> 4; }
  static int value(const TileRow& t, int k) { return t.two_bits(k, 128, 0); }
};
struct Q3K {
  static constexpr bool kMinimum = false;
  static constexpr int kSub = 16;
  static int sub_scale(const TileRow& t, int i) { return t.signed_pair_value(32, i); }
  static int sub_minimum(const TileRow&, int) { return 0; }
  static int value(const TileRow& t, int k) {
    return (t.two_bits(k, 192, 0) | t.bit(k, 192, 128) << 2) - 4;
  }
};
struct Q4K {
  static constexpr bool kMinimum = true;
  static constexpr int kSub = 32;
  static int sub_scale(const TileRow& t, int i) { return t.pair_value(64, i); }
  static int sub_minimum(const TileRow& t, int i) { return t.pair_value(192, i); }
  static int value(const TileRow& t, int k) { return t.nibble(k, 256); }
};
struct Q5K {
  static constexpr bool kMinimum = true;
  static constexpr int kSub = 32;
  static int sub_scale(const TileRow& t, int i) { return t.pair_value(64, i); }
  static int sub_minimum(const TileRow& t, int i) { return t.pair_value(192, i); }
  static int value(const TileRow& t, int k) { return t.nibble(k, 320) | t.bit(k, 320, 256) << 4; }
};
struct Q6K {
  static constexpr bool kMinimum = false;
  static constexpr int kSub = 16;
  static int sub_scale(const TileRow& t, int i) { return t.signed_pair_value(32, i); }
  static int sub_minimum(const TileRow&, int) { return 0; }
  static int value(const TileRow& t, int k) {
    return (t.nibble(k, 384) | t.two_bits(k, 384, 256) << 4) - 32;
  }
};
struct Iq4Xs {
  static constexpr bool kMinimum = false;
  static constexpr int kSub = 32;
  static int sub_scale(const TileRow& t, int i) { return t.signed_pair_value(32, i); }
  static int sub_minimum(const TileRow&, int) { return 0; }
  static int value(const TileRow& t, int k) {
    return kIQ4Values[static_cast<std::size_t>(t.nibble(k, 256))];
  }
};

template <typename Format>
float block32_step(const TileRow& w, const ActivationBlock32& x, float acc) {
  std::int32_t products = 0;
  std::int32_t sum = 0;
  for (int k = 0; k < 32; ++k) {
    products += Format::value(w, k) * x.q[k];
    sum += x.q[k];
  }
  acc = std::fma(Format::scale(w) * x.d, static_cast<float>(products), acc);
  if (Format::kMinimum) acc = std::fma(Format::minimum(w) * x.d, static_cast<float>(sum), acc);
  return acc;
}

template <typename Format>
float block256_step(const TileRow& w, const ActivationBlock256& x, float acc) {
  std::int32_t products = 0;
  std::int32_t minima = 0;
  for (int k = 0; k < 256; ++k) {
    products += Format::sub_scale(w, k / Format::kSub) * Format::value(w, k) * x.q[k];
    minima += Format::sub_minimum(w, k / Format::kSub) * x.q[k];
  }
  acc = std::fma(w.half(0) * x.d, static_cast<float>(products), acc);
  if (Format::kMinimum) acc = std::fma(-(w.half(1) * x.d), static_cast<float>(minima), acc);
  return acc;
}

template <typename Block, DType kType, float (*kStep)(const TileRow&, const Block&, float)>
void multiply(const PanelJob& job) {
  constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(kType)];
  for (std::int64_t t = 0; t < job.tokens; ++t) {
    const auto* x = reinterpret_cast<const Block*>(job.x + t * job.x_stride);
    for (std::int64_t r = 0; r < job.rows; ++r) {
      const auto* panel =
          reinterpret_cast<const std::uint8_t*>(job.panels) + r / kPanelRows * job.panel_bytes;
      TileRow w{panel, panel + job.header_bytes, static_cast<int>(r % kPanelRows)};
      float acc = 0.0f;
      for (std::int64_t tile = 0; tile < job.tiles; ++tile) {
        acc = kStep(w, x[tile], acc);
        w.header += kFormat.header_bytes;
        w.codes += kFormat.code_bytes;
      }
      job.y[t * job.y_stride + r] = acc;
    }
  }
}

template <DType kType, typename Format>
void multiply32(const PanelJob& job) {
  multiply<ActivationBlock32, kType, block32_step<Format>>(job);
}

template <DType kType, typename Format>
void multiply256(const PanelJob& job) {
  multiply<ActivationBlock256, kType, block256_step<Format>>(job);
}

// --- float weights

float widen(DType dtype, const std::byte* p) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, p, 4);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, p, 2);
  return dtype == DType::kF16 ? f16_to_float(bits) : bf16_to_float(bits);
}

float fold(float* lanes) {
  for (int width = kLanes / 2; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

template <DType kType>
void multiply_floats(const FloatJob& job) {
  constexpr int kBytes = kType == DType::kF32 ? 4 : 2;
  for (std::int64_t t = 0; t < job.tokens; ++t) {
    for (std::int64_t r = 0; r < job.rows; ++r) {
      const auto* x = reinterpret_cast<const float*>(job.x + t * job.x_stride);
      const std::byte* w = job.w + r * job.w_stride;
      float lanes[kLanes] = {};
      for (std::int64_t k = 0; k < job.columns; ++k) {
        lanes[k % kLanes] = std::fma(x[k], widen(kType, w + k * kBytes), lanes[k % kLanes]);
      }
      // The last partial group is padded with zeros, and an fma with zeros turns a lane of -0 into
      // +0.
      for (std::int64_t k = job.columns; k % kLanes != 0; ++k) {
        lanes[k % kLanes] = std::fma(0.0f, 0.0f, lanes[k % kLanes]);
      }
      job.y[t * job.y_stride + r] = fold(lanes);
    }
  }
}

// Subnormal numbers are zero.
float flush(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

// As vdpbf16ps: a lane takes two columns, the odd one first.
void multiply_pairs(const FloatJob& job) {
  for (std::int64_t t = 0; t < job.tokens; ++t) {
    for (std::int64_t r = 0; r < job.rows; ++r) {
      const std::byte* x = job.x + t * job.x_stride;
      const std::byte* w = job.w + r * job.w_stride;
      const auto number = [&](const std::byte* row, std::int64_t k) {
        return k < job.columns ? flush(widen(DType::kBF16, row + 2 * k)) : 0.0f;
      };
      float lanes[kLanes] = {};
      for (std::int64_t k = 0; k < job.columns; k += 2 * kLanes) {
        for (int lane = 0; lane < kLanes; ++lane) {
          for (const std::int64_t column : {k + 2 * lane + 1, k + 2 * lane}) {
            lanes[lane] = flush(std::fma(number(x, column), number(w, column), lanes[lane]));
          }
        }
      }
      job.y[t * job.y_stride + r] = fold(lanes);
    }
  }
}

// --- activations

// Scale of a block, and what its floats are multiplied by before rounding (0 when all become 0).
struct BlockScale {
  float d;
  float inverse;
};

BlockScale block_scale(const float* x, int n) {
  std::uint32_t largest =
      0;  // of the bits of |x|, which order as the numbers do, infinities and NaNs last
  for (int i = 0; i < n; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFu;
    if (bits > largest) largest = bits;
  }
  const float amax = std::bit_cast<float>(largest);
  if (largest >= 0x7F800000u) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  if (amax < kLeastActivation) return {0.0f, 0.0f};
  return {amax / 127.0f, 127.0f / amax};
}

int quantize(float x, const BlockScale& scale) {
  return scale.inverse == 0.0f ? 0 : static_cast<int>(std::nearbyintf(x * scale.inverse));
}

void quantize32(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock32*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 32) {
    const BlockScale scale = block_scale(x, 32);
    int sum = 0;
    for (int k = 0; k < 32; ++k) {
      const int q = quantize(x[k], scale);
      block[b].q[k] = static_cast<std::int8_t>(q);
      sum += q;
    }
    block[b].d = scale.d;
    block[b].minus_sum = -sum;
    block[b].sum = static_cast<float>(sum);
  }
}

void narrow_bf16(const float* x, std::int64_t count, std::byte* out) {
  auto* const halves = reinterpret_cast<std::uint16_t*>(out);
  for (std::int64_t i = 0; i < count; ++i) halves[i] = float_to_bf16(x[i]);
}

void quantize256(const float* x, std::int64_t blocks, std::byte* out) {
  auto* block = reinterpret_cast<ActivationBlock256*>(out);
  for (std::int64_t b = 0; b < blocks; ++b, x += 256) {
    const BlockScale scale = block_scale(x, 256);
    for (int i = 0; i < 16; ++i) {
      int sum = 0;
      for (int k = 16 * i; k < 16 * i + 16; ++k) {
        const int q = quantize(x[k], scale);
        block[b].q[k] = static_cast<std::int8_t>(q);
        sum += q;
      }
      block[b].sums16[i] = static_cast<std::int16_t>(sum);
    }
    for (int i = 0; i < 8; ++i) {
      block[b].sums32[i] =
          static_cast<std::int16_t>(block[b].sums16[2 * i] + block[b].sums16[2 * i + 1]);
    }
    block[b].d = scale.d;
  }
}

MatmulTable make_table() {
  MatmulTable table = {};
  table.name = "reference";
  const auto panels = [&](DType dtype) -> PanelKernel& {
    return table.panels[static_cast<int>(dtype)];
  };
  panels(DType::kQ4_0) = multiply32<DType::kQ4_0, Q4_0>;
  panels(DType::kQ4_1) = multiply32<DType::kQ4_1, Q4_1>;
  panels(DType::kQ5_0) = multiply32<DType::kQ5_0, Q5_0>;
  panels(DType::kQ5_1) = multiply32<DType::kQ5_1, Q5_1>;
  panels(DType::kQ8_0) = multiply32<DType::kQ8_0, Q8_0>;
  panels(DType::kIQ4_NL) = multiply32<DType::kIQ4_NL, Iq4Nl>;
  panels(DType::kMXFP4) = multiply32<DType::kMXFP4, Mxfp4>;
  panels(DType::kI4Zero) = multiply32<DType::kI4Zero, I4Zero>;
  panels(DType::kI8Zero) = multiply32<DType::kI8Zero, I8Zero>;
  panels(DType::kF8Block) = multiply32<DType::kF8Block, F8Block>;
  panels(DType::kQ2_K) = multiply256<DType::kQ2_K, Q2K>;
  panels(DType::kQ3_K) = multiply256<DType::kQ3_K, Q3K>;
  panels(DType::kQ4_K) = multiply256<DType::kQ4_K, Q4K>;
  panels(DType::kQ5_K) = multiply256<DType::kQ5_K, Q5K>;
  panels(DType::kQ6_K) = multiply256<DType::kQ6_K, Q6K>;
  panels(DType::kIQ4_XS) = multiply256<DType::kIQ4_XS, Iq4Xs>;
  table.floats[static_cast<int>(DType::kF32)] = multiply_floats<DType::kF32>;
  table.floats[static_cast<int>(DType::kF16)] = multiply_floats<DType::kF16>;
  table.floats[static_cast<int>(DType::kBF16)] = multiply_floats<DType::kBF16>;
  table.bf16_pairs = multiply_pairs;
  table.quantize32 = quantize32;
  table.quantize256 = quantize256;
  table.narrow_bf16 = narrow_bf16;
  table.strip_panels = 1;
  return table;
}

}  // namespace

const MatmulTable& matmul_table_reference() {
  static const MatmulTable table = make_table();
  return table;
}

}  // namespace sampan
