#pragma once

#include "kernels/avx512/matmul_panels.h"

// A PanelJob of one format: few tokens with a panel after the other, more with two panels at a time
// and in tiles of a few.
namespace sampan {
namespace {

// Up to so many tokens one panel at a time and all tokens at once: the weights come from memory, in
// one stream.
constexpr int kSinglePanelTokens = 8;
// A tile of tokens with two panels: the most, and the fewest where there are several of nearly
// equal size.
constexpr int kMaxTokens = 5;
constexpr int kLeastTokens = (kMaxTokens + 1) / 2;
static_assert(kSinglePanelTokens >= kMaxTokens);  // so there are always several
// From so many tokens on it pays to unpack codes to bytes once for all of them, where unpacking is
// dear (F::kDearCodes).
constexpr std::int64_t kUnpackTokens = 16;
static_assert(kUnpackTokens > kMaxTokens * (kMaxTokens - 2), "tiles of equal size may be smaller");
// Columns unpacked at a time: two panels of them stay in the first-level cache.
constexpr std::int64_t kUnpackColumns = 512;

template <typename F>
constexpr int kGroupsOf32 = kPanelFormats[static_cast<int>(F::kType)].tile_columns / 32;  // a tile

// tokens is in [kSmallest, kLargest].
template <typename F, typename Codes, int kSmallest, int kLargest, int kPanels>
void run_some_tokens(const PanelRun<kPanels>& run, std::int64_t tokens) {
  if constexpr (kSmallest < kLargest) {
    if (tokens < kLargest) return run_some_tokens<F, Codes, kSmallest, kLargest - 1>(run, tokens);
  }
  if constexpr (kPanelFormats[static_cast<int>(F::kType)].tile_columns == 32) {
    run_block32<F, Codes, kLargest>(run);
  } else {
    run_block256<F, Codes, kLargest>(run);
  }
}

// Tiles of nearly equal size, none smaller than kSmallest. Each fetches its share of what comes at
// run.ahead.
template <typename F, typename Codes, int kSmallest, int kLargest, int kPanels>
void run_all_tokens(PanelRun<kPanels> run, std::int64_t tokens) {
  const std::int64_t all_tiles = (tokens + kLargest - 1) / kLargest;
  run.ahead_step = (run.ahead_step + all_tiles - 1) / all_tiles;
  for (std::int64_t tiles = all_tiles; tiles > 0; --tiles) {
    const std::int64_t now = (tokens + tiles - 1) / tiles;
    run_some_tokens<F, Codes, kSmallest, kLargest>(run, now);
    run.ahead += run.tiles * kGroupsOf32<F> * run.ahead_step;
    run.x += now * run.x_stride;
    for (float*& y : run.y) y += now * run.y_stride;
    tokens -= now;
  }
}

template <typename F>
void unpack_panel(const std::uint8_t* codes, std::int64_t groups, std::uint8_t* out) {
  for (std::int64_t i = 0; i < groups; ++i) {
    unroll<8>([&](auto g) SAMPAN_INLINE {
      constexpr int kG = decltype(g)::value;
      _mm512_store_si512(out + 64 * kG, F::Codes::template group<kG>(codes));
    });
    codes += F::Codes::kGroupBytes;
    out += ByteCodes::kGroupBytes;
  }
}

// All tokens with codes unpacked to bytes, a stretch of columns at a time.
template <typename F, int kPanels>
void run_unpacked(PanelRun<kPanels> run, std::int64_t tokens, std::uint8_t* bytes) {
  constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(F::kType)];
  constexpr std::int64_t kStretch = kUnpackColumns / kFormat.tile_columns;
  constexpr std::int64_t kBlockBytes =
      kFormat.tile_columns == 32 ? sizeof(ActivationBlock32) : sizeof(ActivationBlock256);
  const PanelRun<kPanels> all = run;
  for (std::int64_t from = 0; from < all.tiles; from += kStretch) {
    run.tiles = all.tiles - from < kStretch ? all.tiles - from : kStretch;
    run.resume = from > 0;
    run.x = all.x + from * kBlockBytes;
    run.ahead = all.ahead + from * kGroupsOf32<F> * all.ahead_step;
    for (int p = 0; p < kPanels; ++p) {
      std::uint8_t* out = bytes + p * kUnpackColumns * kPanelRows;
      unpack_panel<F>(all.codes[p] + from * kFormat.code_bytes, run.tiles * kGroupsOf32<F>, out);
      run.header[p] = all.header[p] + from * kFormat.header_bytes;
      run.codes[p] = out;
    }
    run_all_tokens<F, ByteCodes, kMaxTokens - 1, kMaxTokens>(run, tokens);
  }
}

template <typename F, int kPanels>
void run_job_tokens(const PanelRun<kPanels>& run, std::int64_t tokens, std::uint8_t* bytes) {
  if constexpr (kPanels == 1) {
    run_all_tokens<F, typename F::Codes, 1, kSinglePanelTokens>(run, tokens);
  } else {
    if constexpr (F::kDearCodes) {
      if (tokens >= kUnpackTokens) return run_unpacked<F>(run, tokens, bytes);
    }
    run_all_tokens<F, typename F::Codes, kLeastTokens, kMaxTokens>(run, tokens);
  }
}

// The rows of a panel that is not full, from (tokens, 16) to y.
inline void copy_tail(const PanelJob& job, std::int64_t row, const float* tail,
                      std::int64_t stride) {
  for (std::int64_t t = 0; t < job.tokens; ++t) {
    for (std::int64_t r = row; r < job.rows; ++r) {
      job.y[t * job.y_stride + r] = tail[t * stride + r - row];
    }
  }
}

// kPanels panels from `row` on. Where there are fewer, the last is taken again.
template <typename F, int kPanels>
void multiply_group(const PanelJob& job, std::int64_t row) {
  auto* tail = reinterpret_cast<float*>(job.scratch);
  const std::int64_t left = job.rows - row;
  const bool whole = left >= kPanels * kPanelRows;
  PanelRun<kPanels> run;
  for (int p = 0; p < kPanels; ++p) {
    const std::int64_t from = p * kPanelRows < left ? row / kPanelRows + p : row / kPanelRows;
    run.header[p] = reinterpret_cast<const std::uint8_t*>(job.panels) + from * job.panel_bytes;
    run.codes[p] = run.header[p] + job.header_bytes;
    run.y[p] = (whole ? job.y + row : tail) + p * kPanelRows;
  }
  run.tiles = job.tiles;
  run.x = job.x;
  run.x_stride = job.x_stride;
  run.y_stride = whole ? job.y_stride : kPanels * kPanelRows;
  run.resume = false;
  // Two panels are two streams, one of which would run into what is fetched ahead of the other.
  run.ahead = kPanels == 1 ? run.codes[0] + kFetchBytes : run.header[0] + kPanels * job.panel_bytes;
  run.ahead_step = kPanels * job.panel_bytes / (job.tiles * kGroupsOf32<F>);
  run_job_tokens<F>(run, job.tokens,
                    reinterpret_cast<std::uint8_t*>(tail + kPanels * kPanelRows * kMaxJobTokens));
  if (!whole) copy_tail(job, row, tail, kPanels * kPanelRows);
}

template <typename F>
void multiply_panels(const PanelJob& job) {
  if (job.tokens <= kSinglePanelTokens) {
    for (std::int64_t row = 0; row < job.rows; row += kPanelRows) {
      multiply_group<F, 1>(job, row);
    }
  } else {
    for (std::int64_t row = 0; row < job.rows; row += 2 * kPanelRows) {
      multiply_group<F, 2>(job, row);
    }
  }
}

}  // namespace
}  // namespace sampan
