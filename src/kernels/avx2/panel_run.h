#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/matmul_formats.h"
#include "kernels/matmul_table.h"
#include "kernels/unroll.h"

// What products of a panel read, and how it comes from memory.
namespace sampan {
namespace {

// A run of tiles of one panel, and the tokens that it meets.
struct PanelRun {
  const std::uint8_t* header;
  const std::uint8_t* codes;
  std::int64_t tiles;
  const std::byte* x;
  std::int64_t x_stride;
  float* y;  // 16 rows side by side
  std::int64_t y_stride;
  bool resume;  // goes on from the sums in y
  // Weights that are fetched meanwhile, from `ahead` on, and bytes with 32 columns.
  const std::uint8_t* ahead;
  std::int64_t ahead_step;
};

// How far ahead of a panel's codes weights are fetched for a single tile of tokens: more than
// memory's latency times a core's share of its speed, not many more lines than a core can wait for.
// One token goes through its weights so fast that memory itself is the limit, and there less is
// better.
constexpr std::int64_t kFetchBytes = 2048;
constexpr std::int64_t kFetchBytesOfOne = 512;

SAMPAN_INLINE inline void fetch_line(const std::uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

template <typename F>
constexpr int kGroupsOf32 = kPanelFormats[static_cast<int>(F::kType)].tile_columns / 32;  // a tile
// Header and codes of 32 columns.
template <typename F>
constexpr int kColumnBytes = (kPanelFormats[static_cast<int>(F::kType)].header_bytes +
                              kPanelFormats[static_cast<int>(F::kType)].code_bytes) /
                             kGroupsOf32<F>;

// How a kernel fetches weights while it multiplies others: before each tile of columns, with each
// column group of 32 columns, after 32 columns.

// Codes from memory: some lines with each column group, since all lines of a tile at once are more
// than a core can wait for.
template <typename F>
class GroupFetch {
 public:
  explicit GroupFetch(const PanelRun& run) : ahead_(run.ahead), step_(run.ahead_step) {}
  SAMPAN_INLINE void next_tile() {}
  template <int kGroup>
  SAMPAN_INLINE void fetch() const {
    constexpr int kFrom = kGroup * kLines / 8, kTo = (kGroup + 1) * kLines / 8;
    unroll<kTo - kFrom>(
        [&](auto i) SAMPAN_INLINE { fetch_line(ahead_ + (kFrom + decltype(i)::value) * 64); });
  }
  SAMPAN_INLINE void next_columns() { ahead_ += step_; }

 private:
  static constexpr int kLines = (kColumnBytes<F> + 63) / 64;
  const std::uint8_t* ahead_;
  std::int64_t step_;
};

// Unpacked codes and at least kTiles tiles of tokens, which share the fetching: some lines before
// each tile of columns.
template <typename F, int kTiles>
class TileFetch {
 public:
  explicit TileFetch(const PanelRun& run)
      : ahead_(run.ahead), step_(kGroupsOf32<F> * run.ahead_step) {}
  SAMPAN_INLINE void next_tile() {
    unroll<kLines>([&](auto i) SAMPAN_INLINE { fetch_line(ahead_ + decltype(i)::value * 64); });
    ahead_ += step_;
  }
  template <int kGroup>
  SAMPAN_INLINE void fetch() const {}
  SAMPAN_INLINE void next_columns() {}

 private:
  static constexpr int kLines =
      (kGroupsOf32<F> * kColumnBytes<F> + 64 * kTiles - 1) / (64 * kTiles);
  const std::uint8_t* ahead_;
  std::int64_t step_;
};

// Many tokens: so little between one tile of them and the next that it is fetched there, and the
// kernel's registers are its own.
struct NoFetch {
  explicit NoFetch(const PanelRun&) {}
  SAMPAN_INLINE void next_tile() {}
  template <int kGroup>
  SAMPAN_INLINE void fetch() const {}
  SAMPAN_INLINE void next_columns() {}
};

// Column groups in the order in which they are taken: both nibbles of a byte together where their
// sub-block is the same.
template <int kSub>
constexpr int column_group(int i) {
  return kSub == 16 ? i : i / 2 + (i % 2) * 4;
}

SAMPAN_INLINE inline __m256i broadcast4(const std::byte* p) {
  int bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm256_set1_epi32(bits);
}

SAMPAN_INLINE inline __m256 broadcast_float(const std::byte* p) {
  return _mm256_castsi256_ps(broadcast4(p));
}

}  // namespace
}  // namespace sampan
