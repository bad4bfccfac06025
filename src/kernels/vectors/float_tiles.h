#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/lanes.h"
#include "kernels/matmul_table.h"
#include "kernels/unroll.h"
#include "kernels/vectors/sums.h"

// FloatKernel (kernels/matmul_table.h) for any registers of floats: products of rows of plain
// floats with few tokens, each weight read once as it lies. A Product P says how numbers are read
// and multiplied:
//
//   kTileRows              rows that a tile takes best
//   kColumns               columns that a step takes
//   kParts                 vectors a step for each register of lanes, of weights and of activations
//   kBytes, kXBytes        of a weight and of an activation
//   load_w, load_x         part i of what lies at p
//   multiply_add(x, w, lanes)
//   kSubnormalsAreZero     for all but the sums of lanes
namespace sampan {
namespace {

// Rows and tokens that share loads.
constexpr int kTileTokens = kMaxSums / 4;
static_assert(kTileTokens <= kMaxFloatTileTokens);
// Rows that are read from memory at a time: all lanes of their outputs stay in registers, so that
// one pass reads the weights, and the sums of a single token do not wait for each other.
template <typename P, int kTokens>
constexpr int stream_rows() {
  constexpr int kFit = kMaxSums / (kLaneVectors * kTokens);
  if (kFit < 2) return P::kTileRows;
  return kFit < 4 ? kFit : 4;
}
// Activations of a tile that stay in the first-level cache while the strip's rows pass by.
constexpr std::int64_t kTileBytes = kTileTokens > 3 ? 24576 : 16384;

// A column a lane.
template <typename T>
struct Exact {
  static constexpr int kTileRows = 4;
  static constexpr int kColumns = kLanes;
  static constexpr int kParts = 1;
  static constexpr int kBytes = sizeof(T);
  static constexpr int kXBytes = sizeof(float);
  static constexpr bool kSubnormalsAreZero = false;
  template <int kPart>
  static Floats load_w(const std::byte* p) {
    return load(reinterpret_cast<const T*>(p));
  }
  template <int kPart>
  static Floats load_x(const std::byte* p) {
    return load(reinterpret_cast<const float*>(p));
  }
  static Floats multiply_add(Floats x, Floats w, Floats lanes) { return add_product(x, w, lanes); }
};

// A lane takes two columns, the odd one first, and subnormal numbers are zero, as vdpbf16ps does.
struct Bf16Pairs {
  static constexpr int kTileRows = kRegisters == 16 ? 2 : 4;  // measured best
  static constexpr int kColumns = 2 * kLanes;
  static constexpr int kParts = 2;
  static constexpr int kBytes = 2;
  static constexpr int kXBytes = 2;
  static constexpr bool kSubnormalsAreZero = true;
  template <int kPart>
  static Floats load_w(const std::byte* p) {
    return without_subnormals(kPart == 0 ? second_of_pairs(p) : first_of_pairs(p));
  }
  template <int kPart>
  static Floats load_x(const std::byte* p) {
    return load_w<kPart>(p);
  }
  static Floats multiply_add(Floats x, Floats w, Floats lanes) {
    return without_subnormals(add_product(x, w, lanes));
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
  std::int64_t y_step = 1;  // from a row's output to the next
  bool fetch;               // weights from memory
  std::int64_t ahead = 0;   // bytes from a row to what is fetched meanwhile
};

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

// Two steps of the rows that come after these.
template <typename P, int kRows>
SAMPAN_INLINE inline void fetch_next_rows(const std::byte* const (&w)[kRows], std::int64_t ahead,
                                          std::int64_t k) {
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    const std::byte* next = w[decltype(r)::value] + ahead + k * P::kBytes;
    for (int line = 0; line < 2 * P::kColumns * P::kBytes; line += 64) prefetch(next + line);
  });
}

// kVectors registers, from kFirst on, of the lanes of each output.
template <typename P, int kRows, int kTokens, int kFirst, int kVectors>
SAMPAN_INLINE inline void multiply_vectors(const Tile& tile) {
  Sums<kRows, kTokens> lanes[kVectors];
  const auto for_lanes = [&](const auto& f) SAMPAN_INLINE {
    unroll<kVectors>([&](auto v) SAMPAN_INLINE {
      constexpr int kV = decltype(v)::value;
      for_sums<kRows, kTokens>(lanes[kV], [&](int r, int t, Floats& lane) SAMPAN_INLINE {
        f(lane, tile.lanes + (r * kTokens + t) * kLanes + (kFirst + kV) * kVector);
      });
    });
  };
  const std::byte* w[kRows];
  const std::byte* x[kTokens];
  for (int r = 0; r < kRows; ++r) w[r] = tile.w + r * tile.w_stride;
  for (int t = 0; t < kTokens; ++t) x[t] = tile.x + t * tile.x_stride;
  for_lanes([&](Floats& lane, const float* kept)
                SAMPAN_INLINE { lane = tile.first ? zeros() : load(kept); });
  const auto add_step = [&](std::int64_t k) SAMPAN_INLINE {
    unroll<kVectors * P::kParts>([&](auto i) SAMPAN_INLINE {
      constexpr int kV = decltype(i)::value / P::kParts, kPart = decltype(i)::value % P::kParts;
      const std::int64_t column = k + P::kColumns / kLaneVectors * (kFirst + kV);
      add_products<kRows, kTokens>(
          lanes[kV],
          [&](int r) SAMPAN_INLINE { return P::template load_w<kPart>(w[r] + column * P::kBytes); },
          [&](int t)
              SAMPAN_INLINE { return P::template load_x<kPart>(x[t] + column * P::kXBytes); },
          [](auto weights, auto activations, Floats lane)
              SAMPAN_INLINE { return P::multiply_add(activations, weights, lane); });
    });
  };
  const std::int64_t whole = tile.columns / P::kColumns * P::kColumns;
  std::int64_t k = 0;
  if (tile.fetch && kFirst == 0) {
    for (; k + 2 * P::kColumns <= whole; k += 2 * P::kColumns) {
      fetch_next_rows<P, kRows>(w, tile.ahead, k);
      add_step(k);
      add_step(k + P::kColumns);
    }
  }
  for (; k < whole; k += P::kColumns) add_step(k);
  if (whole < tile.columns) {
    const Padded<P, kRows, kTokens> padded(tile, whole);
    for (int r = 0; r < kRows; ++r) w[r] = padded.weights[r];
    for (int t = 0; t < kTokens; ++t) x[t] = padded.activations[t];
    add_step(0);
  }
  for_lanes([](Floats lane, float* kept) SAMPAN_INLINE { store(kept, lane); });
}

// The steps of the tree of lanes.h that add whole registers.
SAMPAN_INLINE inline Floats add_registers(const float* lanes) {
  if constexpr (kLaneVectors == 1) return load(lanes);
  if constexpr (kLaneVectors == 2) return add(load(lanes), load(lanes + kVector));
  if constexpr (kLaneVectors == 4) {
    const Floats even = add(load(lanes), load(lanes + 2 * kVector));
    return add(even, add(load(lanes + kVector), load(lanes + 3 * kVector)));
  }
}

// Out of line, so that no sum moves to where subnormal numbers are zero.
template <int kRows, int kTokens>
[[gnu::noinline]] void fold_tile(const Tile& tile) {
  for (int t = 0; t < kTokens; ++t) {
    const float* const lanes = tile.lanes + t * kLanes;
    float sums[4];
    for (int row = 0; row < kRows; row += 4) {
      const int rows = kRows - row < 4 ? kRows - row : 4;
      Floats four[4];
      for (int r = 0; r < 4; ++r) {
        four[r] = r < rows ? add_registers(lanes + (row + r) * kTokens * kLanes) : zeros();
      }
      fold_four(four, sums);
      for (int r = 0; r < rows; ++r) {
        tile.y[t * tile.y_stride + (row + r) * tile.y_step] = sums[r];
      }
    }
  }
}

template <typename P, int kRows, int kTokens>
[[gnu::noinline]] void multiply_tile(const Tile& tile) {
  constexpr int kVectors = times_at_once<kRows * kTokens, kLaneVectors>();
  unroll<kLaneVectors / kVectors>([&](auto i) SAMPAN_INLINE {
    multiply_vectors<P, kRows, kTokens, decltype(i)::value * kVectors, kVectors>(tile);
  });
  if (!tile.last) return;
  if constexpr (P::kSubnormalsAreZero) {
    const SubnormalMode mode(false);
    fold_tile<kRows, kTokens>(tile);
  } else {
    fold_tile<kRows, kTokens>(tile);
  }
}

// Rows in groups of kRows with kTokens tokens, along one stretch. Moves the tile on; returns the
// rows that are left.
template <typename P, int kRows, int kTokens>
std::int64_t multiply_groups(Tile& tile, std::int64_t rows) {
  tile.ahead = kRows * tile.w_stride;
  for (; rows >= kRows; rows -= kRows) {
    multiply_tile<P, kRows, kTokens>(tile);
    tile.w += kRows * tile.w_stride;
    tile.lanes += kRows * kTokens * kLanes;
    tile.y += kRows;
  }
  return rows;
}

// As multiply_groups for weights that come from memory, each row of a group from a stream of rows
// of its own, a part of the job apart: memory gives several streams sooner than one, and rows that
// lie side by side may fall on the same sets of a cache.
template <typename P, int kRows, int kTokens>
std::int64_t multiply_streams(Tile& tile, std::int64_t rows) {
  const std::int64_t length = rows / kRows;
  Tile group = tile;
  group.w_stride = length * tile.w_stride;
  group.y_step = length;
  group.ahead = tile.w_stride;
  for (std::int64_t i = 0; i < length; ++i) {
    // At a stream's end that of the next job, which comes after all of these rows.
    if (i == length - 1) group.ahead = (rows - i) * tile.w_stride;
    multiply_tile<P, kRows, kTokens>(group);
    group.w += tile.w_stride;
    group.lanes += kRows * kTokens * kLanes;
    ++group.y;
  }
  tile.w += kRows * length * tile.w_stride;
  tile.lanes += kRows * length * kTokens * kLanes;
  tile.y += kRows * length;
  return rows - kRows * length;
}

template <typename P, int kTokens>
void multiply_rows(Tile tile, std::int64_t rows) {
  if (tile.fetch) {
    rows = multiply_streams<P, stream_rows<P, kTokens>(), kTokens>(tile, rows);
  }
  rows = multiply_groups<P, P::kTileRows, kTokens>(tile, rows);
  multiply_groups<P, 1, kTokens>(tile, rows);
}

template <typename P, int kTokens>
void multiply_up_to(const Tile& tile, std::int64_t rows, std::int64_t tokens) {
  if (tokens == kTokens) {
    multiply_rows<P, kTokens>(tile, rows);
  } else if constexpr (kTokens > 1) {
    multiply_up_to<P, kTokens - 1>(tile, rows, tokens);
  }
}

// A tile's tokens with all rows and columns.
template <typename P>
void multiply_tokens(Tile tile, std::int64_t rows, std::int64_t tokens, std::int64_t stretch) {
  const std::int64_t columns = tile.columns;
  for (std::int64_t from = 0; from < columns; from += stretch) {
    tile.first = from == 0;
    tile.last = columns - from <= stretch;
    tile.columns = tile.last ? columns - from : stretch;
    multiply_up_to<P, kTileTokens>(tile, rows, tokens);
    tile.w += stretch * P::kBytes;
    tile.x += stretch * P::kXBytes;
  }
}

template <typename P>
[[gnu::noinline]] void multiply_job(const FloatJob& job) {
  Tile tile = {};
  tile.w = job.w;
  tile.w_stride = job.w_stride;
  tile.x = job.x;
  tile.x_stride = job.x_stride;
  tile.columns = job.columns;
  tile.lanes = reinterpret_cast<float*>(job.scratch);
  tile.y = job.y;
  tile.y_stride = job.y_stride;
  tile.fetch = true;
  std::int64_t tokens = job.tokens;
  for (std::int64_t tiles = (tokens + kTileTokens - 1) / kTileTokens; tiles > 0; --tiles) {
    const std::int64_t now = (tokens + tiles - 1) / tiles;
    // The first tile waits for the weights at any rate, and one stretch reads them in order.
    const std::int64_t stretch =
        tile.fetch ? job.columns : kTileBytes / P::kXBytes / now / P::kColumns * P::kColumns;
    multiply_tokens<P>(tile, job.rows, now, stretch);
    tile.fetch = false;  // the first tile of tokens has brought them in
    tile.x += now * tile.x_stride;
    tile.y += now * tile.y_stride;
    tokens -= now;
  }
}

template <typename P>
void multiply_floats(const FloatJob& job) {
  if constexpr (P::kSubnormalsAreZero) {
    const SubnormalMode mode(true);
    multiply_job<P>(job);
  } else {
    multiply_job<P>(job);
  }
}

inline void add_float_entries(MatmulTable& table) {
  table.floats[static_cast<int>(DType::kF32)] = multiply_floats<Exact<float>>;
  table.floats[static_cast<int>(DType::kF16)] = multiply_floats<Exact<std::uint16_t>>;
  table.floats[static_cast<int>(DType::kBF16)] = multiply_floats<Exact<Bf16>>;
  table.bf16_pairs = multiply_floats<Bf16Pairs>;
}

}  // namespace
}  // namespace sampan
