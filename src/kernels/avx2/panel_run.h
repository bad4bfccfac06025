#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

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

// A kernel takes so many tokens at a time; from kUnpackTokens on it pays to unpack codes to bytes
// once for all of them.
constexpr int kMaxTokens = 4;
constexpr std::int64_t kUnpackTokens = 16;

// How far ahead of a panel's codes weights are fetched for up to kMaxTokens tokens: more than
// memory's latency times a core's share of its speed, not many more lines than a core can wait for.
// One token goes through its weights so fast that memory itself is the limit, and there less is
// better.
constexpr std::int64_t kFetchBytes = 2048;
constexpr std::int64_t kFetchBytesOfOne = 512;

SAMPAN_INLINE inline void fetch_line(const std::uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

// Fetches weights while others are multiplied: some lines with each column group, since all lines
// of a tile at once are more than a core can wait for. Lines that are there already cost little.
template <typename F, typename Codes>
class Stream {
 public:
  // Header and codes of 32 columns.
  static constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(F::kType)];
  static constexpr int kBytes =
      (kFormat.header_bytes + kFormat.code_bytes) * 32 / kFormat.tile_columns;

  explicit Stream(const PanelRun& run) : ahead_(run.ahead), step_(run.ahead_step) {}

  // With column group kGroup of 32 columns.
  template <int kGroup>
  SAMPAN_INLINE void fetch() const {
    constexpr int kFrom = kGroup * kLines / 8, kTo = (kGroup + 1) * kLines / 8;
    unroll<kTo - kFrom>(
        [&](auto i) SAMPAN_INLINE { fetch_line(ahead_ + (kFrom + decltype(i)::value) * 64); });
  }
  SAMPAN_INLINE void next_columns() { ahead_ += step_; }

 private:
  // Codes in another form meet kUnpackTokens tokens and more, in tiles that share the fetching.
  static constexpr int kFewestTiles =
      std::is_same_v<Codes, typename F::Codes> ? 1 : kUnpackTokens / kMaxTokens;
  static constexpr int kLines = (kBytes + 64 * kFewestTiles - 1) / (64 * kFewestTiles);

  const std::uint8_t* ahead_;
  std::int64_t step_;
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
