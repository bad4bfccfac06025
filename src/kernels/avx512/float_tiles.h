#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512/matmul_entries.h"
#include "kernels/lanes.h"
#include "kernels/unroll.h"

// Products of rows of floats with activations, for the sources of this folder alone: everything has
// internal linkage. A Product P says how numbers are read and multiplied:
//
//   kColumns           columns that a step takes
//   kParts             vectors a step, of weights and of activations: parts of it
//   kBytes, kXBytes    of a weight and of an activation
//   Mask, W, X         which of a step's columns there are; a vector of weights, of activations
//   load_w, load_x     part i of the step at p; columns left out by the mask are 0 and not read
//   multiply_add(x, w, lanes)
namespace sampan {
namespace {

// Rows and tokens that share loads; a register holds the 16 lanes of one output.
constexpr int kTileRows = 4;
constexpr int kTileTokens = 6;
static_assert(kTileTokens <= kMaxFloatTileTokens);
// Activations of a tile that stay in the first-level cache while the strip's rows pass by.
constexpr std::int64_t kTileBytes = 24576;

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
  bool fetch;  // the next rows from memory
};

SAMPAN_INLINE inline float fold(__m512 lanes) {
  const __m256 low = _mm512_castps512_ps256(lanes);
  const __m256 eight = _mm256_add_ps(low, _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Halves of a and b added: their first 8 lanes become 4 + 4, side by side.
SAMPAN_INLINE inline __m512 fold_halves(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
}

// The folds of four rows at once.
SAMPAN_INLINE inline __m128 fold4(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = fold_halves(a, b);
  const __m512 cd = fold_halves(c, d);
  const __m512 four =
      _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
  const __m512 two = _mm512_add_ps(four, _mm512_permute_ps(four, 0x4E));
  const __m512 one = _mm512_add_ps(two, _mm512_permute_ps(two, 0xB1));
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one));
}

// Two steps of the rows that come after these.
template <typename P, int kRows>
SAMPAN_INLINE inline void fetch_next_rows(const std::byte* const (&w)[kRows], std::int64_t w_stride,
                                          std::int64_t k) {
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    const std::byte* next = w[decltype(r)::value] + kRows * w_stride + k * P::kBytes;
    for (int line = 0; line < 2 * P::kColumns * P::kBytes; line += 64) {
      _mm_prefetch(next + line, _MM_HINT_T0);
    }
  });
}

template <typename P, int kRows, int kTokens>
[[gnu::noinline]] void multiply_tile(const Tile& tile) {
  __m512 lanes[kRows][kTokens];
  const std::byte* w[kRows];
  const std::byte* x[kTokens];
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    constexpr int kR = decltype(r)::value;
    w[kR] = tile.w + kR * tile.w_stride;
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      lanes[kR][kT] = tile.first ? _mm512_setzero_ps()
                                 : _mm512_load_ps(tile.lanes + (kR * kTokens + kT) * kLanes);
    });
  });
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    x[decltype(t)::value] = tile.x + decltype(t)::value * tile.x_stride;
  });
  const auto add_step = [&](std::int64_t k, typename P::Mask mask) SAMPAN_INLINE {
    unroll<P::kParts>([&](auto part) SAMPAN_INLINE {
      constexpr int kPart = decltype(part)::value;
      typename P::W weights[kRows];
      unroll<kRows>([&](auto r) SAMPAN_INLINE {
        weights[decltype(r)::value] =
            P::template load_w<kPart>(w[decltype(r)::value] + k * P::kBytes, mask);
      });
      unroll<kTokens>([&](auto t) SAMPAN_INLINE {
        constexpr int kT = decltype(t)::value;
        const typename P::X activations = P::template load_x<kPart>(x[kT] + k * P::kXBytes, mask);
        unroll<kRows>([&](auto r) SAMPAN_INLINE {
          __m512& lane = lanes[decltype(r)::value][kT];
          lane = P::multiply_add(activations, weights[decltype(r)::value], lane);
        });
      });
    });
  };
  constexpr auto kAll = static_cast<typename P::Mask>(-1);
  const std::int64_t whole = tile.columns / P::kColumns * P::kColumns;
  std::int64_t k = 0;
  if (tile.fetch) {
    for (; k + 2 * P::kColumns <= whole; k += 2 * P::kColumns) {
      fetch_next_rows<P, kRows>(w, tile.w_stride, k);
      add_step(k, kAll);
      add_step(k + P::kColumns, kAll);
    }
  }
  for (; k < whole; k += P::kColumns) add_step(k, kAll);
  if (whole < tile.columns) {
    add_step(whole, static_cast<typename P::Mask>((1u << (tile.columns - whole)) - 1));
  }
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    constexpr int kT = decltype(t)::value;
    float* y = tile.y + kT * tile.y_stride;
    if (!tile.last) {
      unroll<kRows>([&](auto r) SAMPAN_INLINE {
        constexpr int kR = decltype(r)::value;
        _mm512_store_ps(tile.lanes + (kR * kTokens + kT) * kLanes, lanes[kR][kT]);
      });
    } else if constexpr (kRows == 4) {
      _mm_storeu_ps(y, fold4(lanes[0][kT], lanes[1][kT], lanes[2][kT], lanes[3][kT]));
    } else {
      unroll<kRows>([&](auto r) SAMPAN_INLINE {
        y[decltype(r)::value] = fold(lanes[decltype(r)::value][kT]);
      });
    }
  });
}

// All rows with kTokens tokens, along one stretch.
template <typename P, int kTokens>
void multiply_rows(Tile tile, std::int64_t rows) {
  for (; rows >= kTileRows; rows -= kTileRows) {
    multiply_tile<P, kTileRows, kTokens>(tile);
    tile.w += kTileRows * tile.w_stride;
    tile.lanes += kTileRows * kTokens * kLanes;
    tile.y += kTileRows;
  }
  for (; rows > 0; --rows) {
    multiply_tile<P, 1, kTokens>(tile);
    tile.w += tile.w_stride;
    tile.lanes += kTokens * kLanes;
    ++tile.y;
  }
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
    const std::int64_t stretch =
        alone ? job.columns : kTileBytes / P::kXBytes / now / P::kColumns * P::kColumns;
    multiply_tokens<P>(tile, job.rows, now, stretch);
    tile.fetch = false;  // the first tile of tokens has brought them in
    tile.x += now * tile.x_stride;
    tile.y += now * tile.y_stride;
    tokens -= now;
  }
}

}  // namespace
}  // namespace sampan
