#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/lanes.h"
#include "kernels/matmul_table.h"
#include "kernels/unroll.h"
#include "kernels/vectors/sums.h"

// LaneKernel (kernels/matmul_table.h) for the registers of x86-64: products of rows of plain floats
// with many tokens. The 16 virtual lanes of the outputs are taken one after the other: a register
// holds the same lane of several rows, and the weights, widened and turned into a panel of (16
// lanes, groups of 16 words, rows), meet a few tokens at a time. What is added to a lane comes in
// the order of the columns, so the bits are those of float_tiles.h, which reads each weight once as
// it lies and suits few tokens.
namespace sampan {
namespace {

// Some tokens by two registers of rows; beside their sums two vectors of weights, one activation.
constexpr int kPanelRegisters = 2;
constexpr int kPanelRowCount = kPanelRegisters * kVector;
// The lanes of more would not stay in the first-level cache (measured).
constexpr int kMostTokens = 6;
static_assert(kMostTokens * kPanelRegisters <= kMaxSums);
// The fewest where any number of tokens is cut into tiles of nearly equal size.
constexpr int least_tokens() {
  std::int64_t least = kMostTokens;
  for (std::int64_t n = kManyTokens; n <= kLaneJobTokens; ++n) {
    const std::int64_t smallest = n / ((n + kMostTokens - 1) / kMostTokens);
    if (smallest < least) least = smallest;
  }
  return static_cast<int>(least);
}
constexpr int kLeastTokens = least_tokens();
// Words of a panel's rows: it stays in the second-level cache.
constexpr std::int64_t kStretch = kWideLaneWords;
constexpr std::int64_t kPanelFloats = (kStretch / kLanes | 1) * kLanes * kPanelRowCount;
// Where the words are more, a stretch of the activations meets so many panels before the next one
// does, so that it stays in a cache, and the lanes of so many tokens with each are kept meanwhile.
constexpr std::int64_t kKeptPanels = kWideLaneUnitRows / kPanelRowCount;
constexpr std::int64_t kKeptTokens = kLaneJobTokens;
constexpr std::int64_t kTokenLanes = kLanes * kPanelRowCount;
// Floats from a lane of a panel to the next: an odd number of cache lines, so that the lanes of a
// group do not fall on the same sets.
constexpr std::int64_t panel_lane_stride(std::int64_t groups) {
  return (groups | 1) * kPanelRowCount;
}
static_assert((kPanelFloats + kKeptPanels * kKeptTokens * kTokenLanes) * sizeof(float) <=
              kJobScratchBytes);

// A column a word.
struct ExactWords {
  static Floats multiply_add(Floats x, Floats w, Floats sum) { return add_product(x, w, sum); }
};

// Eight weights.
inline __m256 widen_eight(const float* w) { return _mm256_loadu_ps(w); }
inline __m256 widen_eight(const std::uint16_t* w) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
}

// (8 rows, 8 columns) to (8 columns, 8 rows).
SAMPAN_INLINE inline void transpose(__m256 (&v)[8]) {
  __m256 pairs[8], fours[8];
  unroll<4>([&](auto i) SAMPAN_INLINE {
    constexpr int kI = 2 * decltype(i)::value;
    pairs[kI] = _mm256_unpacklo_ps(v[kI], v[kI + 1]);
    pairs[kI + 1] = _mm256_unpackhi_ps(v[kI], v[kI + 1]);
  });
  unroll<2>([&](auto i) SAMPAN_INLINE {
    constexpr int kI = 4 * decltype(i)::value;
    fours[kI] = _mm256_shuffle_ps(pairs[kI], pairs[kI + 2], 0x44);
    fours[kI + 1] = _mm256_shuffle_ps(pairs[kI], pairs[kI + 2], 0xEE);
    fours[kI + 2] = _mm256_shuffle_ps(pairs[kI + 1], pairs[kI + 3], 0x44);
    fours[kI + 3] = _mm256_shuffle_ps(pairs[kI + 1], pairs[kI + 3], 0xEE);
  });
  unroll<4>([&](auto i) SAMPAN_INLINE {
    constexpr int kI = decltype(i)::value;
    v[kI] = _mm256_permute2f128_ps(fours[kI], fours[kI + 4], 0x20);
    v[kI + 4] = _mm256_permute2f128_ps(fours[kI], fours[kI + 4], 0x31);
  });
}

// 16 words of 8 rows into a panel: lane l at out + l * lane_stride.
template <typename T>
SAMPAN_INLINE inline void turn_group(const std::byte* const (&rows)[8], std::int64_t offset,
                                     float* out, std::int64_t lane_stride) {
  __m256 v[8];
  if constexpr (std::is_same_v<T, Bf16>) {  // two columns a float
    unroll<8>([&](auto r) SAMPAN_INLINE {
      v[decltype(r)::value] =
          _mm256_loadu_ps(reinterpret_cast<const float*>(rows[decltype(r)::value] + offset));
    });
    transpose(v);
    unroll<8>([&](auto pair) SAMPAN_INLINE {
      constexpr int kPair = decltype(pair)::value;
      const __m256i bits = _mm256_castps_si256(v[kPair]);
      const __m256i second =
          _mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0xFFFF0000u)));
      _mm256_store_ps(out + 2 * kPair * lane_stride,
                      _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)));
      _mm256_store_ps(out + (2 * kPair + 1) * lane_stride, _mm256_castsi256_ps(second));
    });
  } else {
    unroll<2>([&](auto half) SAMPAN_INLINE {
      constexpr int kFirst = 8 * decltype(half)::value;
      unroll<8>([&](auto r) SAMPAN_INLINE {
        const std::byte* from = rows[decltype(r)::value] + offset + kFirst * sizeof(T);
        v[decltype(r)::value] = widen_eight(reinterpret_cast<const T*>(from));
      });
      transpose(v);
      unroll<8>([&](auto lane) SAMPAN_INLINE {
        _mm256_store_ps(out + (kFirst + decltype(lane)::value) * lane_stride,
                        v[decltype(lane)::value]);
      });
    });
  }
}

// `words` words of up to kPanelRowCount rows from w on, into a panel whose lanes are `groups`
// groups long. Rows that are not there repeat the last one; in the last group the words that are
// not there are zeros.
template <typename T>
void turn_weights(const std::byte* w, std::int64_t w_stride, std::int64_t rows, std::int64_t words,
                  std::int64_t groups, float* panel) {
  constexpr std::int64_t kBytes = sizeof(T);
  const std::int64_t whole = words / kLanes, lane_stride = panel_lane_stride(groups);
  for (std::int64_t first = 0; first < rows; first += 8) {
    const std::byte* from[8];
    for (std::int64_t r = 0; r < 8; ++r) {
      from[r] = w + (first + r < rows ? first + r : rows - 1) * w_stride;
    }
    float* out = panel + first;
    for (std::int64_t g = 0; g < whole; ++g, out += kPanelRowCount) {
      turn_group<T>(from, g * kLanes * kBytes, out, lane_stride);
    }
    if (whole == groups) continue;
    std::byte padded[8][kLanes * kBytes] = {};
    const std::byte* last[8];
    for (int r = 0; r < 8; ++r) {
      __builtin_memcpy(padded[r], from[r] + whole * kLanes * kBytes,
                       static_cast<std::size_t>(words % kLanes) * kBytes);
      last[r] = padded[r];
    }
    turn_group<T>(last, 0, out, lane_stride);
  }
}

// A panel and the tokens that it meets.
struct LaneRun {
  const float* panel;
  std::int64_t words;
  std::int64_t groups;
  std::int64_t rows;
  const float* x;
  std::int64_t x_stride;
  std::int64_t x_lane_stride;
  float* kept;  // (16 lanes, tokens, kPanelRowCount)
  bool first;   // stretch: the lanes start from zeros
  bool last;    // the lanes are folded into y
  float* y;
  std::int64_t y_stride;
};

// The tree of lanes.h.
template <int kTokens>
void fold_panel(const LaneRun& run) {
  for (int t = 0; t < kTokens; ++t) {
    float sums[kPanelRowCount];
    for (int row = 0; row < kPanelRowCount; row += kVector) {
      Floats v[kLanes];
      unroll<kLanes>([&](auto lane) SAMPAN_INLINE {
        v[decltype(lane)::value] =
            load(run.kept + (decltype(lane)::value * kTokens + t) * kPanelRowCount + row);
      });
      const auto halve = [&](auto half) SAMPAN_INLINE {
        unroll<decltype(half)::value>([&](auto i) SAMPAN_INLINE {
          constexpr int kI = decltype(i)::value;
          v[kI] = add(v[kI], v[kI + decltype(half)::value]);
        });
      };
      halve(Index<8>{});
      halve(Index<4>{});
      halve(Index<2>{});
      store(sums + row, add(v[0], v[1]));
    }
    float* const y = run.y + t * run.y_stride;
    if (run.rows == kPanelRowCount) {
      __builtin_memcpy(y, sums, sizeof(sums));
    } else {
      __builtin_memcpy(y, sums, static_cast<std::size_t>(run.rows) * sizeof(float));
    }
  }
}

// The weights of a panel, fetched by and by while others are multiplied: a share with each lane of
// each tile of tokens.
struct Fetch {
  const std::byte* w;
  std::int64_t w_stride;
  std::int64_t row_lines;
  std::int64_t shares = 0;
  std::int64_t share = 0;
  std::int64_t fetched = 0;
  std::int64_t line = 0;  // of a row

  void next() {
    const std::int64_t lines = kPanelRowCount * row_lines;
    for (++share; fetched * shares < lines * share; ++fetched) {
      prefetch(w + line * 64);
      if (++line < row_lines) continue;
      line = 0;
      w += w_stride;
    }
  }
};

template <typename P, int kTokens>
[[gnu::noinline]] void multiply_panel(const LaneRun& run, Fetch& ahead) {
  const std::int64_t whole = run.words / kLanes, rest = run.words % kLanes;
  if (run.last) {  // later the stores of the next tile's lanes would wait behind those of these
    for (int t = 0; t < kTokens; ++t) {
      for (int row = 0; row < run.rows; row += 16) prefetch(run.y + t * run.y_stride + row);
    }
  }
  const float* w = run.panel;
  float* kept = run.kept;
  for (int lane = 0; lane < kLanes; ++lane) {
    ahead.next();
    Sums<kTokens, kPanelRegisters> sums;
    const auto for_kept = [&](const auto& f) SAMPAN_INLINE {
      for_sums<kTokens, kPanelRegisters>(sums, [&](int t, int h, Floats& sum) SAMPAN_INLINE {
        f(sum, kept + t * kPanelRowCount + h * kVector);
      });
    };
    const float* x[kTokens];
    unroll<kTokens>([&](auto t) SAMPAN_INLINE {
      constexpr int kT = decltype(t)::value;
      x[kT] = run.x + kT * run.x_stride + lane * run.x_lane_stride;
    });
    for_kept([&](Floats& sum, const float* at)
                 SAMPAN_INLINE { sum = run.first ? zeros() : load(at); });
    const std::int64_t count = whole + (lane < rest);
#pragma GCC unroll 4
    for (std::int64_t g = 0; g < count; ++g) {
      add_products<kTokens, kPanelRegisters>(
          sums, [&](int t) SAMPAN_INLINE { return broadcast(x[t][g]); },
          [&](int h) SAMPAN_INLINE { return load(w + g * kPanelRowCount + h * kVector); },
          [](Floats a, Floats b, Floats sum) SAMPAN_INLINE { return P::multiply_add(a, b, sum); });
    }
    for_kept([&](Floats& sum, float* at) SAMPAN_INLINE {
      // The padding's product is +0, which makes -0 to +0.
      if (count < run.groups) sum = add(sum, zeros());
      store(at, sum);
    });
    w += panel_lane_stride(run.groups);
    kept += kTokens * kPanelRowCount;
  }
  if (run.last) fold_panel<kTokens>(run);
}

// tokens is in [kLeast, kLargest].
template <typename P, int kLargest>
void multiply_some(const LaneRun& run, std::int64_t tokens, Fetch& ahead) {
  if constexpr (kLargest > kLeastTokens) {
    if (tokens < kLargest) return multiply_some<P, kLargest - 1>(run, tokens, ahead);
  }
  multiply_panel<P, kLargest>(run, ahead);
}

// Some tokens with a panel, in tiles of nearly equal size.
template <typename P>
void multiply_all(LaneRun run, std::int64_t tokens, Fetch ahead) {
  const std::int64_t tiles = (tokens + kMostTokens - 1) / kMostTokens;
  const bool is_whole = run.first && run.last;  // nothing is kept from tile to tile
  ahead.shares = tiles * kLanes;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t left = tiles - tile;
    const std::int64_t now = (tokens + left - 1) / left;
    multiply_some<P, kMostTokens>(run, now, ahead);
    run.x += now * run.x_stride;
    run.y += now * run.y_stride;
    if (!is_whole) run.kept += now * kTokenLanes;
    tokens -= now;
  }
}

// kKeptPanels panels at most.
template <typename P, typename T>
void multiply_panels(const LaneJob& job, std::int64_t first_row, std::int64_t end_row) {
  auto* const panel = reinterpret_cast<float*>(job.scratch);
  for (std::int64_t from = 0; from < job.words; from += kStretch) {
    LaneRun run;
    run.panel = panel;
    run.first = from == 0;
    run.last = job.words - from <= kStretch;
    run.words = run.last ? job.words - from : kStretch;
    run.groups = (run.words + kLanes - 1) / kLanes;
    run.x = job.x + from / kLanes;
    run.x_stride = job.x_stride;
    run.x_lane_stride = job.lane_stride;
    run.kept = panel + kPanelFloats;
    run.y_stride = job.y_stride;
    for (std::int64_t row = first_row; row < end_row; row += kPanelRowCount) {
      const std::byte* const w = job.w + row * job.w_stride + from * std::int64_t{sizeof(T)};
      run.rows = end_row - row < kPanelRowCount ? end_row - row : kPanelRowCount;
      run.y = job.y + row;
      turn_weights<T>(w, job.w_stride, run.rows, run.words, run.groups, panel);
      // After the last rows of a job those of the next one, mostly.
      const Fetch ahead = {.w = w + kPanelRowCount * job.w_stride,
                           .w_stride = job.w_stride,
                           .row_lines = (run.words * std::int64_t{sizeof(T)} + 63) / 64};
      multiply_all<P>(run, job.tokens, ahead);
      run.kept += kKeptTokens * kTokenLanes;
    }
  }
}

// P says how words are multiplied, T how they are read.
template <typename P, typename T>
void multiply_lanes(const LaneJob& job) {
  constexpr std::int64_t kRowsAtOnce = kKeptPanels * kPanelRowCount;
  for (std::int64_t row = 0; row < job.rows; row += kRowsAtOnce) {
    multiply_panels<P, T>(job, row, job.rows - row < kRowsAtOnce ? job.rows : row + kRowsAtOnce);
  }
}

void order_lanes(const float* x, std::int64_t words, std::int64_t lane_stride, float* out) {
  std::int64_t k = 0;
  for (; k + 8 * kLanes <= words; k += 8 * kLanes) {
    for (int first = 0; first < kLanes; first += 8) {
      __m256 v[8];
      unroll<8>([&](auto g) SAMPAN_INLINE {
        v[decltype(g)::value] = _mm256_loadu_ps(x + k + decltype(g)::value * kLanes + first);
      });
      transpose(v);
      unroll<8>([&](auto lane) SAMPAN_INLINE {
        _mm256_storeu_ps(out + (first + decltype(lane)::value) * lane_stride + k / kLanes,
                         v[decltype(lane)::value]);
      });
    }
  }
  for (; k < words; ++k) out[k % kLanes * lane_stride + k / kLanes] = x[k];
}

inline void add_lane_entries(MatmulTable& table) {
  table.lanes[static_cast<int>(DType::kF32)] = multiply_lanes<ExactWords, float>;
  table.lanes[static_cast<int>(DType::kF16)] = multiply_lanes<ExactWords, std::uint16_t>;
  table.lanes[static_cast<int>(DType::kBF16)] = multiply_lanes<ExactWords, Bf16>;
  table.order_lanes = order_lanes;
  table.lane_unit_rows = kPanelRowCount;
}

}  // namespace
}  // namespace sampan
