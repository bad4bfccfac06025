#pragma once

#include <type_traits>

#include "kernels/avx2/matmul_panels.h"

// A PanelJob of one format: panel by panel, tokens in tiles of a few.
namespace sampan {
namespace {

constexpr int kMaxTokens = 4;
// From so many tokens on it pays to unpack codes to bytes once for all of them.
constexpr std::int64_t kUnpackTokens = 16;
// From so many on the kernels leave the fetching to the time between tiles of tokens.
constexpr std::int64_t kNoFetchTokens = 32;
// The fewest tokens of a tile where there are several of nearly equal size, and where there are so
// many that codes are unpacked.
constexpr int kLeastOfSeveral = (kMaxTokens + 1) / 2;
constexpr int kLeastUnpacked = kMaxTokens - 1;
static_assert(kUnpackTokens > kMaxTokens * (kMaxTokens - 2));
// Columns that several tiles of tokens meet one after the other: with 16 rows, unpacked or not,
// they stay in the first-level cache.
template <typename F>
constexpr std::int64_t kStretchColumns = F::kRun == 0 ? 512 : 1024;

// tokens is in [kSmallest, kLargest].
template <typename F, typename Codes, typename Fetch, int kSmallest, int kLargest>
void run_some_tokens(const PanelRun& run, std::int64_t tokens) {
  if constexpr (kSmallest < kLargest) {
    if (tokens < kLargest)
      return run_some_tokens<F, Codes, Fetch, kSmallest, kLargest - 1>(run, tokens);
  }
  run_tokens<F, Codes, Fetch, kLargest>(run);
}

// A tile of tokens after the other, of nearly equal size, none smaller than kSmallest. Each fetches
// its share of what comes at run.ahead. Returns where the fetching ends.
template <typename F, typename Codes, typename Fetch, int kSmallest>
const std::uint8_t* run_all_tokens(PanelRun run, std::int64_t tokens) {
  const std::int64_t groups = run.tiles * kGroupsOf32<F>;
  const std::int64_t all_tiles = (tokens + kMaxTokens - 1) / kMaxTokens;
  run.ahead_step = (kColumnBytes<F> + all_tiles - 1) / all_tiles;
  const std::uint8_t* const end = run.ahead + groups * kColumnBytes<F>;
  const std::uint8_t* line = run.ahead;
  for (std::int64_t tiles = all_tiles; tiles > 0; --tiles) {
    const std::int64_t now = (tokens + tiles - 1) / tiles;
    const std::uint8_t* const next = run.ahead + groups * run.ahead_step;
    if constexpr (std::is_same_v<Fetch, NoFetch>) {
      for (; line < next && line < end; line += 64) fetch_line(line);
    }
    run_some_tokens<F, Codes, Fetch, kSmallest, kMaxTokens>(run, now);
    run.x += now * run.x_stride;
    run.y += now * run.y_stride;
    run.ahead = next;
    tokens -= now;
  }
  return end;
}

// The form in which many tokens read the codes of a format.
template <typename F>
using Unpacked = std::conditional_t<F::kRun == 0, SignCodes, UnpackedCodes>;

inline void store256(std::uint8_t* p, __m256i v) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), v);
}

// 8 rows of 32 columns.
template <typename F>
SAMPAN_INLINE inline void unpack_half(const std::uint8_t* codes, std::uint8_t* out) {
  if constexpr (F::kRun == 0) {
    const __m256i ones = _mm256_set1_epi8(1);
    __m256i negative = _mm256_setzero_si256();
    unroll<8>([&](auto g) SAMPAN_INLINE {
      constexpr int kG = decltype(g)::value;
      const __m256i w = F::Codes::template group<kG>(codes);
      const __m256i magnitude = _mm256_abs_epi8(w);
      const __m256i sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), w);
      store256(out + 128 * kG, magnitude);
      store256(out + 128 * kG + 64, sign);
      negative =
          _mm256_add_epi16(negative, _mm256_maddubs_epi16(_mm256_and_si256(magnitude, sign), ones));
    });
    store256(out + 1024, _mm256_madd_epi16(negative, _mm256_set1_epi16(1)));
  } else {
    unroll<8>([&](auto g) SAMPAN_INLINE {
      constexpr int kG = decltype(g)::value;
      store256(out + 64 * kG, F::Codes::template group<kG>(codes));
    });
  }
}

template <typename F>
void unpack_panel(const std::uint8_t* codes, std::int64_t groups, std::uint8_t* out) {
  for (std::int64_t i = 0; i < groups; ++i) {
    unpack_half<F>(codes, out);
    unpack_half<F>(codes + 32, out + 32);
    codes += F::Codes::kGroupBytes;
    out += Unpacked<F>::kGroupBytes;
  }
}

// Several tiles of tokens, a stretch of columns at a time, while the next one is fetched; with
// Codes that are not F's own unpacked before.
template <typename F, typename Codes, typename Fetch, int kSmallest>
void run_stretches(PanelRun run, std::int64_t tokens, std::uint8_t* bytes) {
  constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(F::kType)];
  constexpr std::int64_t kStretch = kStretchColumns<F> / kFormat.tile_columns;
  constexpr std::int64_t kBlockBytes =
      kFormat.tile_columns == 32 ? sizeof(ActivationBlock32) : sizeof(ActivationBlock256);
  const PanelRun all = run;
  run.ahead = all.codes + (all.tiles < kStretch ? all.tiles : kStretch) * kFormat.code_bytes;
  for (std::int64_t from = 0; from < all.tiles; from += kStretch) {
    run.tiles = all.tiles - from < kStretch ? all.tiles - from : kStretch;
    run.resume = from > 0;
    run.x = all.x + from * kBlockBytes;
    run.header = all.header + from * kFormat.header_bytes;
    run.codes = all.codes + from * kFormat.code_bytes;
    if constexpr (!std::is_same_v<Codes, typename F::Codes>) {
      unpack_panel<F>(run.codes, run.tiles * kGroupsOf32<F>, bytes);
      run.codes = bytes;
    }
    run.ahead = run_all_tokens<F, Codes, Fetch, kSmallest>(run, tokens);
  }
}

template <typename F>
void multiply_panels(const PanelJob& job) {
  auto* tail = reinterpret_cast<float*>(job.scratch);
  auto* bytes =
      reinterpret_cast<std::uint8_t*>(job.scratch) + kMaxJobTokens * kPanelRows * sizeof(float);
  for (std::int64_t row = 0; row < job.rows; row += kPanelRows) {
    const bool whole = job.rows - row >= kPanelRows;
    PanelRun run;
    run.header =
        reinterpret_cast<const std::uint8_t*>(job.panels) + row / kPanelRows * job.panel_bytes;
    run.codes = run.header + job.header_bytes;
    run.tiles = job.tiles;
    run.x = job.x;
    run.x_stride = job.x_stride;
    run.y = whole ? job.y + row : tail;
    run.y_stride = whole ? job.y_stride : kPanelRows;
    run.resume = false;
    using Own = typename F::Codes;
    if (job.tokens >= kNoFetchTokens) {
      run_stretches<F, Unpacked<F>, NoFetch, kLeastUnpacked>(run, job.tokens, bytes);
    } else if (job.tokens >= kUnpackTokens) {
      using Fetch = TileFetch<F, kUnpackTokens / kMaxTokens>;
      run_stretches<F, Unpacked<F>, Fetch, kLeastUnpacked>(run, job.tokens, bytes);
    } else if (job.tokens > kMaxTokens) {
      run_stretches<F, Own, GroupFetch<F>, kLeastOfSeveral>(run, job.tokens, bytes);
    } else {
      run.ahead = run.codes + (job.tokens == 1 ? kFetchBytesOfOne : kFetchBytes);
      run_all_tokens<F, Own, GroupFetch<F>, 1>(run, job.tokens);
    }
    if (whole) continue;
    for (std::int64_t t = 0; t < job.tokens; ++t) {
      for (std::int64_t r = row; r < job.rows; ++r) {
        job.y[t * job.y_stride + r] = tail[t * kPanelRows + r - row];
      }
    }
  }
}

}  // namespace
}  // namespace sampan
