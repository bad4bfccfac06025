#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/matmul_entries.h"
#include "kernels/lanes.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

// Rows and tokens that share loads; each of their outputs has its 16 lanes in two registers.
constexpr int kTileRows = 2;
constexpr int kTileTokens = 3;
static_assert(kTileTokens <= kMaxFloatTileTokens);
// A single token: rows at a time, so that their sums do not wait for each other.
constexpr int kSingleRows = 4;
// Activations of a tile that stay in the first-level cache while the strip's rows pass by.
constexpr std::int64_t kTileFloats = 4096;

struct F32 {
  static constexpr int kBytes = 4;
  static __m256 load(const std::byte* p) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
};
struct F16 {
  static constexpr int kBytes = 2;
  static __m256 load(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};
struct BF16 {
  static constexpr int kBytes = 2;
  static __m256 load(const std::byte* p) {
    const __m256i bits =
        _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
  }
};

// Some rows and tokens along a stretch of the columns.
struct Tile {
  const std::byte* w;
  std::int64_t w_stride;
  const float* x;
  std::int64_t x_stride;
  std::int64_t columns;
  float* lanes;  // (rows, tokens, 16), between stretches
  bool first;    // stretch: starts from zeros
  bool last;     // folds the lanes into y
  float* y;
  std::int64_t y_stride;
  bool fetch;  // the next rows from memory
};

SAMPAN_INLINE inline float fold(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// The columns of a tile that are left after the last whole 16, padded with zeros.
template <typename W, int kRows, int kTokens>
struct Padded {
  std::byte weights[kRows][kLanes * W::kBytes] = {};
  float activations[kTokens][kLanes] = {};

  Padded(const Tile& tile, std::int64_t from) {
    const auto left = static_cast<std::size_t>(tile.columns - from);
    for (int r = 0; r < kRows; ++r) {
      __builtin_memcpy(weights[r], tile.w + r * tile.w_stride + from * W::kBytes, left * W::kBytes);
    }
    for (int t = 0; t < kTokens; ++t) {
      __builtin_memcpy(activations[t], tile.x + t * tile.x_stride + from, left * sizeof(float));
    }
  }
};

// Two groups of columns of the rows that come after these.
template <typename W, int kRows>
SAMPAN_INLINE inline void fetch_next_rows(const std::byte* const (&w)[kRows], std::int64_t w_stride,
                                          std::int64_t k) {
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    const std::byte* next = w[decltype(r)::value] + kRows * w_stride + k * W::kBytes;
    for (int line = 0; line < 2 * kLanes * W::kBytes; line += 64) {
      _mm_prefetch(next + line, _MM_HINT_T0);
    }
  });
}

template <typename W, int kRows, int kTokens>
[[gnu::noinline]] void multiply_tile(const Tile& tile) {
  __m256 lanes[kRows][kTokens][2];
  const std::byte* w[kRows];
  const float* x[kTokens];
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    x[decltype(t)::value] = tile.x + decltype(t)::value * tile.x_stride;
  });
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    constexpr int kR = decltype(r)::value;
    w[kR] = tile.w + kR * tile.w_stride;
    unroll<2 * kTokens>([&](auto i) SAMPAN_INLINE {
      constexpr int kT = decltype(i)::value / 2, kH = decltype(i)::value % 2;
      const float* kept = tile.lanes + (kR * kTokens + kT) * kLanes + 8 * kH;
      lanes[kR][kT][kH] = tile.first ? _mm256_setzero_ps() : _mm256_load_ps(kept);
    });
  });
  const auto add_group = [&](const std::byte* const(&ws)[kRows], const float* const(&xs)[kTokens],
                             std::int64_t k) SAMPAN_INLINE {
    unroll<2>([&](auto h) SAMPAN_INLINE {
      constexpr int kH = decltype(h)::value;
      __m256 weights[kRows];
      unroll<kRows>([&](auto r) SAMPAN_INLINE {
        weights[decltype(r)::value] = W::load(ws[decltype(r)::value] + (k + 8 * kH) * W::kBytes);
      });
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const __m256 activations = _mm256_loadu_ps(xs[kT] + k + 8 * kH);
        unroll<kRows>([&](auto r) SAMPAN_INLINE {
          __m256& lane = lanes[decltype(r)::value][kT][kH];
          lane = _mm256_fmadd_ps(activations, weights[decltype(r)::value], lane);
        });
      });
    });
  };
  const std::int64_t whole = tile.columns / kLanes * kLanes;
  std::int64_t k = 0;
  if (tile.fetch) {
    for (; k + 2 * kLanes <= whole; k += 2 * kLanes) {
      fetch_next_rows<W, kRows>(w, tile.w_stride, k);
      add_group(w, x, k);
      add_group(w, x, k + kLanes);
    }
  }
  for (; k < whole; k += kLanes) add_group(w, x, k);
  if (whole < tile.columns) {
    const Padded<W, kRows, kTokens> padded(tile, whole);
    for (int r = 0; r < kRows; ++r) w[r] = padded.weights[r];
    for (int t = 0; t < kTokens; ++t) x[t] = padded.activations[t];
    add_group(w, x, 0);
  }
  unroll<kTokens * kRows>([&](auto i) SAMPAN_INLINE {
    constexpr int kT = decltype(i)::value / kRows, kR = decltype(i)::value % kRows;
    if (tile.last) {
      tile.y[kT * tile.y_stride + kR] = fold(lanes[kR][kT][0], lanes[kR][kT][1]);
    } else {
      float* kept = tile.lanes + (kR * kTokens + kT) * kLanes;
      _mm256_store_ps(kept, lanes[kR][kT][0]);
      _mm256_store_ps(kept + 8, lanes[kR][kT][1]);
    }
  });
}

// Rows in groups of kRows with kTokens tokens, along one stretch. Moves the tile on; returns the
// rows that are left.
template <typename W, int kRows, int kTokens>
std::int64_t multiply_groups(Tile& tile, std::int64_t rows) {
  for (; rows >= kRows; rows -= kRows) {
    multiply_tile<W, kRows, kTokens>(tile);
    tile.w += kRows * tile.w_stride;
    tile.lanes += kRows * kTokens * kLanes;
    tile.y += kRows;
  }
  return rows;
}

template <typename W, int kTokens>
void multiply_rows(Tile tile, std::int64_t rows) {
  if constexpr (kTokens == 1) rows = multiply_groups<W, kSingleRows, kTokens>(tile, rows);
  rows = multiply_groups<W, kTileRows, kTokens>(tile, rows);
  multiply_groups<W, 1, kTokens>(tile, rows);
}

template <typename W, int kTokens>
void multiply_up_to(const Tile& tile, std::int64_t rows, std::int64_t tokens) {
  if (tokens == kTokens) {
    multiply_rows<W, kTokens>(tile, rows);
  } else if constexpr (kTokens > 1) {
    multiply_up_to<W, kTokens - 1>(tile, rows, tokens);
  }
}

// A tile's tokens with all rows and columns.
template <typename W>
void multiply_tokens(Tile tile, std::int64_t rows, std::int64_t tokens, std::int64_t stretch) {
  const std::int64_t columns = tile.columns;
  for (std::int64_t from = 0; from < columns; from += stretch) {
    tile.first = from == 0;
    tile.last = columns - from <= stretch;
    tile.columns = tile.last ? columns - from : stretch;
    multiply_up_to<W, kTileTokens>(tile, rows, tokens);
    tile.w += stretch * W::kBytes;
    tile.x += stretch;
  }
}

template <typename W>
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
  tile.fetch = true;
  std::int64_t tokens = job.tokens;
  for (std::int64_t tiles = (tokens + kTileTokens - 1) / kTileTokens; tiles > 0; --tiles) {
    const std::int64_t now = (tokens + tiles - 1) / tiles;
    // With one tile only the weights come from memory at any rate, and one stretch reads them in
    // order.
    const bool alone = now == job.tokens;
    const std::int64_t stretch = alone ? job.columns : kTileFloats / now / kLanes * kLanes;
    multiply_tokens<W>(tile, job.rows, now, stretch);
    tile.fetch = false;  // the first tile of tokens has brought them in
    tile.x += now * tile.x_stride;
    tile.y += now * tile.y_stride;
    tokens -= now;
  }
}

}  // namespace

void add_float_entries_avx2(MatmulTable& table) {
  table.floats[static_cast<int>(DType::kF32)] = multiply_floats<F32>;
  table.floats[static_cast<int>(DType::kF16)] = multiply_floats<F16>;
  table.floats[static_cast<int>(DType::kBF16)] = multiply_floats<BF16>;
}

}  // namespace sampan
