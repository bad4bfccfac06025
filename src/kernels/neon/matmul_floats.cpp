#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/lanes.h"
#include "kernels/neon/float_weights.h"
#include "kernels/neon/matmul_entries.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

// Rows and tokens that share loads; the 16 lanes of each of their outputs are four vectors.
constexpr int kTileRows = 4;
constexpr int kTileTokens = 3;
static_assert(kTileTokens <= kMaxFloatTileTokens);
constexpr int kLaneVectors = kLanes / 4;
// Activations of a tile that stay in the first-level cache while the strip's rows pass by.
constexpr std::int64_t kTileBytes = 16384;

// How numbers are read and multiplied: a step takes kColumns columns, kParts vectors for each of
// the four of lanes; load_w and load_x give part i of what lies at p. kBytes of a weight, kXBytes
// of an activation.
template <typename W>
struct Exact {
  static constexpr int kColumns = kLanes;
  static constexpr int kParts = 1;
  static constexpr int kBytes = W::kBytes;
  static constexpr int kXBytes = 4;
  template <int kPart>
  static float32x4_t load_w(const std::byte* p) {
    return W::widen(p);
  }
  template <int kPart>
  static float32x4_t load_x(const std::byte* p) {
    return F32Weights::widen(p);
  }
  static float32x4_t multiply_add(float32x4_t x, float32x4_t w, float32x4_t lanes) {
    return vfmaq_f32(lanes, x, w);
  }
};

// Zeros, with their sign, in place of subnormal numbers. FPCR's mode for that flushes before it
// rounds: what rounds up to the least normal number would be lost.
SAMPAN_INLINE inline float32x4_t without_subnormals(float32x4_t x) {
  const uint32x4_t is_small = vcaltq_f32(x, vdupq_n_f32(0x1p-126f));
  const uint32x4_t magnitude = vandq_u32(is_small, vdupq_n_u32(0x7FFFFFFF));
  return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), magnitude));
}

// A lane takes two columns, the odd one first, and subnormal numbers are zero, as vdpbf16ps does.
struct BF16Pairs {
  static constexpr int kColumns = 2 * kLanes;
  static constexpr int kParts = 2;
  static constexpr int kBytes = 2;
  static constexpr int kXBytes = 2;
  template <int kPart>
  static float32x4_t load_w(const std::byte* p) {
    const uint32x4_t pairs =
        vreinterpretq_u32_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(p)));
    const uint32x4_t bits =
        kPart == 0 ? vandq_u32(pairs, vdupq_n_u32(0xFFFF0000u)) : vshlq_n_u32(pairs, 16);
    return without_subnormals(vreinterpretq_f32_u32(bits));
  }
  template <int kPart>
  static float32x4_t load_x(const std::byte* p) {
    return load_w<kPart>(p);
  }
  static float32x4_t multiply_add(float32x4_t x, float32x4_t w, float32x4_t lanes) {
    return without_subnormals(vfmaq_f32(lanes, x, w));
  }
};

// Some rows and tokens along a stretch of the columns.
struct Tile {
  const std::byte* w;
  std::int64_t w_stride;
  const std::byte* x;
  std::int64_t x_stride;  // bytes
  std::int64_t columns;
  float* lanes;  // (rows, tokens, 16), between stretches
  bool first;    // stretch: starts from zeros
  bool last;     // folds the lanes into y
  float* y;
  std::int64_t y_stride;
};

// The tree of lanes.h.
SAMPAN_INLINE inline float fold(const float* lanes) {
  const float32x4_t low = vaddq_f32(vld1q_f32(lanes), vld1q_f32(lanes + 8));
  const float32x4_t high = vaddq_f32(vld1q_f32(lanes + 4), vld1q_f32(lanes + 12));
  const float32x4_t four = vaddq_f32(low, high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vpadds_f32(two);
}

// The columns of a tile that are left after the last whole step, padded with zeros.
template <typename P, int kRows, int kTokens>
struct Padded {
  std::byte weights[kRows][P::kColumns * P::kBytes] = {};
  std::byte activations[kTokens][P::kColumns * P::kXBytes] = {};

  Padded(const Tile& tile, std::int64_t from) {
    const auto left = static_cast<std::size_t>(tile.columns - from);
    for (int r = 0; r < kRows; ++r) {
      __builtin_memcpy(weights[r], tile.w + r * tile.w_stride + from * P::kBytes, left * P::kBytes);
    }
    for (int t = 0; t < kTokens; ++t) {
      __builtin_memcpy(activations[t], tile.x + t * tile.x_stride + from * P::kXBytes,
                       left * P::kXBytes);
    }
  }
};

// Of each output, kVectors vectors of lanes from kFirst on.
template <int kRows, int kTokens, int kVectors>
using LaneVectors = float32x4_t[kRows][kTokens][kVectors];

// lanes += the products of the step at column k.
template <typename P, int kFirst, int kRows, int kTokens, int kVectors>
SAMPAN_INLINE inline void add_step(const std::byte* const (&w)[kRows],
                                   const std::byte* const (&x)[kTokens], std::int64_t k,
                                   LaneVectors<kRows, kTokens, kVectors>& lanes) {
  unroll<kVectors * P::kParts>([&](auto i) SAMPAN_INLINE {
    constexpr int kV = decltype(i)::value / P::kParts, kPart = decltype(i)::value % P::kParts;
    const std::int64_t column = k + P::kColumns / kLaneVectors * (kFirst + kV);
    float32x4_t activations[kTokens];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      activations[kT] = P::template load_x<kPart>(x[kT] + column * P::kXBytes);
    });
    unroll<kRows>([&](auto r) SAMPAN_INLINE {
      constexpr int kR = decltype(r)::value;
      const float32x4_t weights = P::template load_w<kPart>(w[kR] + column * P::kBytes);
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        float32x4_t& lane = lanes[kR][decltype(t)::value][kV];
        lane = P::multiply_add(activations[decltype(t)::value], weights, lane);
      });
    });
  });
}

// f(an output's vectors kFirst … of lanes, where they are kept between stretches).
template <int kFirst, int kRows, int kTokens, int kVectors, typename Function>
SAMPAN_INLINE inline void for_each_vector(const Tile& tile,
                                          LaneVectors<kRows, kTokens, kVectors>& lanes,
                                          Function&& f) {
  unroll<kRows * kTokens * kVectors>([&](auto i) SAMPAN_INLINE {
    constexpr int kV = decltype(i)::value % kVectors, kOutput = decltype(i)::value / kVectors;
    f(lanes[kOutput / kTokens][kOutput % kTokens][kV],
      tile.lanes + kOutput * kLanes + 4 * (kFirst + kV));
  });
}

template <typename P, int kRows, int kTokens, int kFirst, int kVectors>
SAMPAN_INLINE inline void multiply_vectors(const Tile& tile) {
  const std::byte* w[kRows];
  const std::byte* x[kTokens];
  for (int r = 0; r < kRows; ++r) w[r] = tile.w + r * tile.w_stride;
  for (int t = 0; t < kTokens; ++t) x[t] = tile.x + t * tile.x_stride;
  LaneVectors<kRows, kTokens, kVectors> lanes;
  for_each_vector<kFirst, kRows, kTokens, kVectors>(
      tile, lanes, [&](float32x4_t& lane, const float* kept) SAMPAN_INLINE {
        lane = tile.first ? vdupq_n_f32(0.0f) : vld1q_f32(kept);
      });
  const std::int64_t whole = tile.columns / P::kColumns * P::kColumns;
  for (std::int64_t k = 0; k < whole; k += P::kColumns) {
    add_step<P, kFirst, kRows, kTokens, kVectors>(w, x, k, lanes);
  }
  if (whole < tile.columns) {
    const Padded<P, kRows, kTokens> padded(tile, whole);
    for (int r = 0; r < kRows; ++r) w[r] = padded.weights[r];
    for (int t = 0; t < kTokens; ++t) x[t] = padded.activations[t];
    add_step<P, kFirst, kRows, kTokens, kVectors>(w, x, 0, lanes);
  }
  for_each_vector<kFirst, kRows, kTokens, kVectors>(
      tile, lanes, [](float32x4_t lane, float* kept) SAMPAN_INLINE { vst1q_f32(kept, lane); });
}

// Vectors of lanes that all outputs of a tile have in registers: at most 24 of the 32.
template <int kOutputs>
constexpr int vectors_at_once() {
  return kOutputs * 4 <= 24 ? 4 : kOutputs * 2 <= 24 ? 2 : 1;
}

template <typename P, int kRows, int kTokens>
[[gnu::noinline]] void multiply_tile(const Tile& tile) {
  constexpr int kVectors = vectors_at_once<kRows * kTokens>();
  unroll<kLaneVectors / kVectors>([&](auto i) SAMPAN_INLINE {
    multiply_vectors<P, kRows, kTokens, decltype(i)::value * kVectors, kVectors>(tile);
  });
  if (!tile.last) return;
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      tile.y[t * tile.y_stride + r] = fold(tile.lanes + (r * kTokens + t) * kLanes);
    }
  }
}

// Rows in groups of kRows with kTokens tokens, along one stretch. Moves the tile on; returns the
// rows that are left.
template <typename P, int kRows, int kTokens>
std::int64_t multiply_groups(Tile& tile, std::int64_t rows) {
  for (; rows >= kRows; rows -= kRows) {
    multiply_tile<P, kRows, kTokens>(tile);
    tile.w += kRows * tile.w_stride;
    tile.lanes += kRows * kTokens * kLanes;
    tile.y += kRows;
  }
  return rows;
}

template <typename P, int kTokens>
void multiply_rows(Tile tile, std::int64_t rows, std::int64_t tokens) {
  if constexpr (kTokens > 1) {
    if (tokens < kTokens) return multiply_rows<P, kTokens - 1>(tile, rows, tokens);
  }
  rows = multiply_groups<P, kTileRows, kTokens>(tile, rows);
  multiply_groups<P, 1, kTokens>(tile, rows);
}

// A tile's tokens with all rows and columns.
template <typename P>
void multiply_tokens(Tile tile, std::int64_t rows, std::int64_t tokens, std::int64_t stretch) {
  const std::int64_t columns = tile.columns;
  for (std::int64_t from = 0; from < columns; from += stretch) {
    tile.first = from == 0;
    tile.last = columns - from <= stretch;
    tile.columns = tile.last ? columns - from : stretch;
    multiply_rows<P, kTileTokens>(tile, rows, tokens);
    tile.w += stretch * P::kBytes;
    tile.x += stretch * P::kXBytes;
  }
}

template <typename P>
void multiply_floats(const FloatJob& job) {
  Tile tile = {};
  tile.w = job.w;
  tile.w_stride = job.w_stride;
  tile.x = job.x;
  tile.x_stride = job.x_stride;
  tile.columns = job.columns;
  tile.lanes = reinterpret_cast<float*>(job.scratch);
  tile.y = job.y;
  tile.y_stride = job.y_stride;
  std::int64_t tokens = job.tokens;
  for (std::int64_t tiles = (tokens + kTileTokens - 1) / kTileTokens; tiles > 0; --tiles) {
    const std::int64_t now = (tokens + tiles - 1) / tiles;
    // With one tile only the weights come from memory at any rate, and one stretch reads them in
    // order.
    const bool alone = now == job.tokens;
    const std::int64_t stretch =
        alone ? job.columns : kTileBytes / P::kXBytes / now / P::kColumns * P::kColumns;
    multiply_tokens<P>(tile, job.rows, now, stretch);
    tile.x += now * tile.x_stride;
    tile.y += now * tile.y_stride;
    tokens -= now;
  }
}

}  // namespace

void add_float_entries_neon(MatmulTable& table) {
  table.floats[static_cast<int>(DType::kF32)] = multiply_floats<Exact<F32Weights>>;
  table.floats[static_cast<int>(DType::kF16)] = multiply_floats<Exact<F16Weights>>;
  table.floats[static_cast<int>(DType::kBF16)] = multiply_floats<Exact<BF16Weights>>;
  table.bf16_pairs = multiply_floats<BF16Pairs>;
}

}  // namespace sampan
