#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512/matmul_entries.h"
#include "kernels/lanes.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

// Rows and tokens that share loads; a register holds the 16 lanes of one output.
constexpr int kTileRows = 4;
constexpr int kTileTokens = 6;
static_assert(kTileTokens <= kMaxFloatTileTokens);
// Activations of a tile that stay in the first-level cache while the strip's rows pass by.
constexpr std::int64_t kTileFloats = 6144;

// load(p, mask): 16 weights, those that the mask leaves out are 0 and not read.
struct F32 {
  static constexpr int kBytes = 4;
  static __m512 load(const std::byte* p, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, p); }
};
struct F16 {
  static constexpr int kBytes = 2;
  static __m512 load(const std::byte* p, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
  }
};
struct BF16 {
  static constexpr int kBytes = 2;
  static __m512 load(const std::byte* p, __mmask16 mask) {
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
  }
};

constexpr __mmask16 kAll = 0xFFFF;

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
  __m512 lanes[kRows][kTokens];
  const std::byte* w[kRows];
  const float* x[kTokens];
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
  const auto add_group = [&](std::int64_t k, __mmask16 mask) SAMPAN_INLINE {
    __m512 weights[kRows];
    unroll<kRows>([&](auto r) SAMPAN_INLINE {
      weights[decltype(r)::value] = W::load(w[decltype(r)::value] + k * W::kBytes, mask);
    });
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      const __m512 activations = _mm512_maskz_loadu_ps(mask, x[kT] + k);
      unroll<kRows>([&](auto r) SAMPAN_INLINE {
        __m512& lane = lanes[decltype(r)::value][kT];
        lane = _mm512_fmadd_ps(activations, weights[decltype(r)::value], lane);
      });
    });
  };
  const std::int64_t whole = tile.columns / kLanes * kLanes;
  std::int64_t k = 0;
  if (tile.fetch) {
    for (; k + 2 * kLanes <= whole; k += 2 * kLanes) {
      fetch_next_rows<W, kRows>(w, tile.w_stride, k);
      add_group(k, kAll);
      add_group(k + kLanes, kAll);
    }
  }
  for (; k < whole; k += kLanes) add_group(k, kAll);
  if (whole < tile.columns) {
    add_group(whole, static_cast<__mmask16>((1 << (tile.columns - whole)) - 1));
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
template <typename W, int kTokens>
void multiply_rows(Tile tile, std::int64_t rows) {
  for (; rows >= kTileRows; rows -= kTileRows) {
    multiply_tile<W, kTileRows, kTokens>(tile);
    tile.w += kTileRows * tile.w_stride;
    tile.lanes += kTileRows * kTokens * kLanes;
    tile.y += kTileRows;
  }
  for (; rows > 0; --rows) {
    multiply_tile<W, 1, kTokens>(tile);
    tile.w += tile.w_stride;
    tile.lanes += kTokens * kLanes;
    ++tile.y;
  }
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

void add_float_entries_avx512(MatmulTable& table) {
  table.floats[static_cast<int>(DType::kF32)] = multiply_floats<F32>;
  table.floats[static_cast<int>(DType::kF16)] = multiply_floats<F16>;
  table.floats[static_cast<int>(DType::kBF16)] = multiply_floats<BF16>;
}

}  // namespace sampan
