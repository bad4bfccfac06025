#pragma once

#include "kernels/neon/matmul_panels.h"

// A PanelJob of one format: panel by panel, tokens in tiles of a few.
namespace sampan {
namespace {

constexpr int kMaxTokens = 4;
// From so many tokens on codes are unpacked to bytes once for all of them.
constexpr std::int64_t kUnpackTokens = 16;
static_assert(kUnpackTokens > kMaxTokens * (kMaxTokens - 2), "tiles of equal size may be smaller");
// Columns unpacked at a time: with 16 rows they stay in the first-level cache.
constexpr std::int64_t kUnpackColumns = 1024;

// tokens is in [kSmallest, kLargest].
template <typename F, typename Codes, int kSmallest, int kLargest>
void run_some_tokens(const PanelRun& run, std::int64_t tokens) {
  if constexpr (kSmallest < kLargest) {
    if (tokens < kLargest) return run_some_tokens<F, Codes, kSmallest, kLargest - 1>(run, tokens);
  }
  if constexpr (kPanelFormats[static_cast<int>(F::kType)].tile_columns == 32) {
    run_block32<F, Codes, kLargest>(run);
  } else {
    run_block256<F, Codes, kLargest>(run);
  }
}

// Tiles of nearly equal size, none smaller than kSmallest.
template <typename F, typename Codes, int kSmallest>
void run_all_tokens(PanelRun run, std::int64_t tokens) {
  for (std::int64_t tiles = (tokens + kMaxTokens - 1) / kMaxTokens; tiles > 0; --tiles) {
    const std::int64_t now = (tokens + tiles - 1) / tiles;
    run_some_tokens<F, Codes, kSmallest, kMaxTokens>(run, now);
    run.x += now * run.x_stride;
    run.y += now * run.y_stride;
    tokens -= now;
  }
}

template <typename F>
void unpack_panel(const std::uint8_t* codes, std::int64_t groups, std::uint8_t* out) {
  for (std::int64_t i = 0; i < groups; ++i) {
    unpack_group<typename F::Codes>(codes, out);
    codes += F::Codes::kGroupBytes;
    out += UnpackedCodes::kGroupBytes;
  }
}

// All tokens with codes unpacked to bytes, a stretch of columns at a time.
template <typename F>
void run_unpacked(PanelRun run, std::int64_t tokens, std::uint8_t* bytes) {
  constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(F::kType)];
  constexpr std::int64_t kStretch = kUnpackColumns / kFormat.tile_columns;
  constexpr std::int64_t kBlockBytes =
      kFormat.tile_columns == 32 ? sizeof(ActivationBlock32) : sizeof(ActivationBlock256);
  const PanelRun all = run;
  run.codes = bytes;
  for (std::int64_t from = 0; from < all.tiles; from += kStretch) {
    run.tiles = all.tiles - from < kStretch ? all.tiles - from : kStretch;
    run.resume = from > 0;
    run.x = all.x + from * kBlockBytes;
    run.header = all.header + from * kFormat.header_bytes;
    unpack_panel<F>(all.codes + from * kFormat.code_bytes, run.tiles * (kFormat.tile_columns / 32),
                    bytes);
    run_all_tokens<F, UnpackedCodes, kMaxTokens - 1>(run, tokens);
  }
}

// The rows of a panel that is not full, from (tokens, 16) to y.
inline void copy_tail(const PanelJob& job, std::int64_t row, const float* tail) {
  for (std::int64_t t = 0; t < job.tokens; ++t) {
    for (std::int64_t r = row; r < job.rows; ++r) {
      job.y[t * job.y_stride + r] = tail[t * kPanelRows + r - row];
    }
  }
}

template <typename F>
void multiply_panels(const PanelJob& job) {
  auto* tail = reinterpret_cast<float*>(job.scratch);
  auto* bytes = reinterpret_cast<std::uint8_t*>(tail + kMaxJobTokens * kPanelRows);
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
    if (job.tokens >= kUnpackTokens) {
      run_unpacked<F>(run, job.tokens, bytes);
    } else {
      run_all_tokens<F, typename F::Codes, 1>(run, job.tokens);
    }
    if (!whole) copy_tail(job, row, tail);
  }
}

}  // namespace
}  // namespace sampan
