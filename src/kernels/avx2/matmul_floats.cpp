#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/float_weights.h"
#include "kernels/avx2/matmul_entries.h"
#include "kernels/lanes.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

// Rows and tokens that share loads; each of their outputs has its 16 lanes in two halves.
constexpr int kTileTokens = 3;
static_assert(kTileTokens <= kMaxFloatTileTokens);
// A single token: rows at a time, a part of the job apart. Their sums do not wait for each other,
// and memory gives several streams sooner than one.
constexpr int kSingleRows = 4;
// Activations of a tile that stay in the first-level cache while the strip's rows pass by.
constexpr std::int64_t kTileBytes = 16384;

// How numbers are read: a step takes kColumns columns in two halves, kParts vectors a half; load_w
// and load_x give part i of the half at p. kBytes of a weight, kXBytes of an activation; kTileRows
// rows a tile, measured best.
struct Lanes {
  static constexpr int kTileRows = 4;
  static constexpr int kColumns = kLanes;
  static constexpr int kParts = 1;
  static constexpr int kXBytes = 4;
  struct FoldMode {
    FoldMode() {}
  };
  template <int kPart>
  static __m256 load_x(const std::byte* p) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
};
template <typename W>
struct Exact : Lanes {
  static constexpr int kBytes = W::kBytes;
  template <int kPart>
  static __m256 load_w(const std::byte* p) {
    return W::widen(p);
  }
};
// Bits of the processor's mode.
constexpr unsigned kSubnormalsAreZero = 0x8040;

// A lane takes two columns, the odd one first, as vdpbf16ps does, for which subnormal numbers are
// zero; for the sums of lanes they are not.
struct BF16Pairs {
  static constexpr int kTileRows = 2;
  static constexpr int kColumns = 2 * kLanes;
  static constexpr int kParts = 2;
  static constexpr int kBytes = 2;
  static constexpr int kXBytes = 2;
  struct FoldMode {
    FoldMode() { _mm_setcsr(mode & ~kSubnormalsAreZero); }
    ~FoldMode() { _mm_setcsr(mode); }
    FoldMode(const FoldMode&) = delete;
    FoldMode& operator=(const FoldMode&) = delete;
    const unsigned mode = _mm_getcsr();
  };
  template <int kPart>
  static __m256 load_w(const std::byte* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return kPart == 0 ? second_of_bf16_pairs(bits) : first_of_bf16_pairs(bits);
  }
  template <int kPart>
  static __m256 load_x(const std::byte* p) {
    return load_w<kPart>(p);
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

SAMPAN_INLINE inline float fold(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
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

// Two steps of the rows that come after these.
template <typename P, int kRows>
SAMPAN_INLINE inline void fetch_next_rows(const std::byte* const (&w)[kRows], std::int64_t ahead,
                                          std::int64_t k) {
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    const std::byte* next = w[decltype(r)::value] + ahead + k * P::kBytes;
    for (int line = 0; line < 2 * P::kColumns * P::kBytes; line += 64) {
      _mm_prefetch(next + line, _MM_HINT_T0);
    }
  });
}

// Lanes [8 kFirst, 8 (kFirst + kHalves)) of a tile.
template <typename P, int kRows, int kTokens, int kFirst, int kHalves>
SAMPAN_INLINE inline void multiply_halves(const Tile& tile) {
  __m256 lanes[kRows][kTokens][kHalves];
  const std::byte* w[kRows];
  const std::byte* x[kTokens];
  unroll<kTokens>([&](auto t) SAMPAN_INLINE {
    x[decltype(t)::value] = tile.x + decltype(t)::value * tile.x_stride;
  });
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    constexpr int kR = decltype(r)::value;
    w[kR] = tile.w + kR * tile.w_stride;
    unroll<kHalves * kTokens>([&](auto i) SAMPAN_INLINE {
      constexpr int kT = decltype(i)::value / kHalves, kH = decltype(i)::value % kHalves;
      const float* kept = tile.lanes + (kR * kTokens + kT) * kLanes + 8 * (kFirst + kH);
      lanes[kR][kT][kH] = tile.first ? _mm256_setzero_ps() : _mm256_load_ps(kept);
    });
  });
  const auto add_step = [&](const std::byte* const(&ws)[kRows],
                            const std::byte* const(&xs)[kTokens], std::int64_t k) SAMPAN_INLINE {
    unroll<kHalves * P::kParts>([&](auto i) SAMPAN_INLINE {
      constexpr int kH = decltype(i)::value / P::kParts, kPart = decltype(i)::value % P::kParts;
      const std::int64_t column = k + P::kColumns / 2 * (kFirst + kH);
      // The fewer of the two stay in registers.
      if constexpr (kTokens <= kRows) {
        __m256 activations[kTokens];
        unroll<kTokens>([&](auto t) SAMPAN_INLINE {
          activations[decltype(t)::value] =
              P::template load_x<kPart>(xs[decltype(t)::value] + column * P::kXBytes);
        });
        unroll<kRows>([&](auto r) SAMPAN_INLINE {
          constexpr int kR = decltype(r)::value;
          const __m256 weights = P::template load_w<kPart>(ws[kR] + column * P::kBytes);
          unroll<kTokens>([&](auto t) SAMPAN_INLINE {
            __m256& lane = lanes[kR][decltype(t)::value][kH];
            lane = _mm256_fmadd_ps(activations[decltype(t)::value], weights, lane);
          });
        });
      } else {
        __m256 weights[kRows];
        unroll<kRows>([&](auto r) SAMPAN_INLINE {
          weights[decltype(r)::value] =
              P::template load_w<kPart>(ws[decltype(r)::value] + column * P::kBytes);
        });
        unroll<kTokens>([&](auto t) SAMPAN_INLINE {
          constexpr int kT = decltype(t)::value;
          const __m256 activations = P::template load_x<kPart>(xs[kT] + column * P::kXBytes);
          unroll<kRows>([&](auto r) SAMPAN_INLINE {
            __m256& lane = lanes[decltype(r)::value][kT][kH];
            lane = _mm256_fmadd_ps(activations, weights[decltype(r)::value], lane);
          });
        });
      }
    });
  };
  const std::int64_t whole = tile.columns / P::kColumns * P::kColumns;
  std::int64_t k = 0;
  if (tile.fetch && kFirst == 0) {
    for (; k + 2 * P::kColumns <= whole; k += 2 * P::kColumns) {
      fetch_next_rows<P, kRows>(w, tile.ahead, k);
      add_step(w, x, k);
      add_step(w, x, k + P::kColumns);
    }
  }
  for (; k < whole; k += P::kColumns) add_step(w, x, k);
  if (whole < tile.columns) {
    const Padded<P, kRows, kTokens> padded(tile, whole);
    for (int r = 0; r < kRows; ++r) w[r] = padded.weights[r];
    for (int t = 0; t < kTokens; ++t) x[t] = padded.activations[t];
    add_step(w, x, 0);
  }
  unroll<kTokens * kRows * kHalves>([&](auto i) SAMPAN_INLINE {
    constexpr int kH = decltype(i)::value % kHalves, kPair = decltype(i)::value / kHalves;
    constexpr int kT = kPair / kRows, kR = kPair % kRows;
    float* kept = tile.lanes + (kR * kTokens + kT) * kLanes + 8 * (kFirst + kH);
    _mm256_store_ps(kept, lanes[kR][kT][kH]);
  });
}

// More than kMostAtOnce outputs have their lanes one half after the other, so that the sums of a
// half fit the 16 registers.
constexpr int kMostAtOnce = 6;

// Out of line, so that no sum moves to where the processor's mode is another.
template <int kRows, int kTokens>
[[gnu::noinline]] void fold_tile(const Tile& tile) {
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) {
      const float* kept = tile.lanes + (r * kTokens + t) * kLanes;
      tile.y[t * tile.y_stride + r * tile.y_step] =
          fold(_mm256_load_ps(kept), _mm256_load_ps(kept + 8));
    }
  }
}

template <typename P, int kRows, int kTokens>
[[gnu::noinline]] void multiply_tile(const Tile& tile) {
  if constexpr (kRows * kTokens <= kMostAtOnce) {
    multiply_halves<P, kRows, kTokens, 0, 2>(tile);
  } else {
    multiply_halves<P, kRows, kTokens, 0, 1>(tile);
    multiply_halves<P, kRows, kTokens, 1, 1>(tile);
  }
  if (!tile.last) return;
  const typename P::FoldMode mode;
  fold_tile<kRows, kTokens>(tile);
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

// As multiply_groups for a single token, each row of a group from a stream of rows of its own.
template <typename P>
std::int64_t multiply_streams(Tile& tile, std::int64_t rows) {
  const std::int64_t length = rows / kSingleRows;
  Tile group = tile;
  group.w_stride = length * tile.w_stride;
  group.y_step = length;
  group.ahead = tile.w_stride;
  for (std::int64_t i = 0; i < length; ++i) {
    // At a stream's end that of the next job, which comes after all of these rows.
    if (i == length - 1) group.ahead = (rows - i) * tile.w_stride;
    multiply_tile<P, kSingleRows, 1>(group);
    group.w += tile.w_stride;
    group.lanes += kSingleRows * kLanes;
    ++group.y;
  }
  tile.w += kSingleRows * length * tile.w_stride;
  tile.lanes += kSingleRows * length * kLanes;
  tile.y += kSingleRows * length;
  return rows - kSingleRows * length;
}

template <typename P, int kTokens>
void multiply_rows(Tile tile, std::int64_t rows) {
  if constexpr (kTokens == 1) rows = multiply_streams<P>(tile, rows);
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

// As vdpbf16ps does whatever the mode of the processor: subnormal numbers are zero.
void multiply_pairs(const FloatJob& job) {
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode | kSubnormalsAreZero);
  multiply_floats<BF16Pairs>(job);
  _mm_setcsr(mode);
}

}  // namespace

void add_float_entries_avx2(MatmulTable& table) {
  table.floats[static_cast<int>(DType::kF32)] = multiply_floats<Exact<F32Weights>>;
  table.floats[static_cast<int>(DType::kF16)] = multiply_floats<Exact<F16Weights>>;
  table.floats[static_cast<int>(DType::kBF16)] = multiply_floats<Exact<BF16Weights>>;
  table.bf16_pairs = multiply_pairs;
}

}  // namespace sampan
