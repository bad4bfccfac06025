#pragma once

#include "kernels/avx512/matmul_panels.h"

// A PanelJob of one format: two panels by two, tokens in tiles of a few.
namespace sampan {
namespace {

#ifndef MAXT5
#define MAXT5 5
#endif
constexpr int kMaxTokens = MAXT5;
// Up to so many tokens one panel at a time: the weights come from memory, in one stream.
constexpr std::int64_t kSinglePanelTokens = 2;

// From so many tokens on it pays to unpack codes to bytes once for all of them.
#ifndef UNP
#define UNP 16
#endif
constexpr std::int64_t kUnpackTokens = UNP;
// Columns at a time when there are many tokens: two panels of them stay in the first-level cache.
#ifndef STR
#define STR 512
#endif
constexpr std::int64_t kStretchColumns = STR;

template <typename F, typename Codes, int kTokens, int kPanels>
void run_up_to(const PanelRun<kPanels>& run, std::int64_t tokens) {
  if (tokens == kTokens) {
    if constexpr (kPanelFormats[static_cast<int>(F::kType)].tile_columns == 32) {
      run_block32<F, Codes, kTokens>(run);
    } else {
      run_block256<F, Codes, kTokens>(run);
    }
  } else if constexpr (kTokens > 1) {
    run_up_to<F, Codes, kTokens - 1>(run, tokens);
  }
}

// Tiles of nearly equal size.
template <typename F, typename Codes, int kLargest, int kPanels>
void run_all_tokens(PanelRun<kPanels> run, std::int64_t tokens) {
  for (std::int64_t tiles = (tokens + kLargest - 1) / kLargest; tiles > 0; --tiles) {
    const std::int64_t now = (tokens + tiles - 1) / tiles;
    run_up_to<F, Codes, kLargest>(run, now);
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

// All tokens, a stretch of columns at a time, with codes unpacked to bytes.
template <typename F, int kLargest, int kPanels>
void run_stretches(PanelRun<kPanels> run, std::int64_t tokens, std::uint8_t* bytes) {
  constexpr PanelFormat kFormat = kPanelFormats[static_cast<int>(F::kType)];
  constexpr std::int64_t kStretch = kStretchColumns / kFormat.tile_columns;
  constexpr std::int64_t kBlockBytes =
      kFormat.tile_columns == 32 ? sizeof(ActivationBlock32) : sizeof(ActivationBlock256);
  const PanelRun<kPanels> all = run;
  for (std::int64_t from = 0; from < all.tiles; from += kStretch) {
    run.tiles = all.tiles - from < kStretch ? all.tiles - from : kStretch;
    run.resume = from > 0;
    run.x = all.x + from * kBlockBytes;
    for (int p = 0; p < kPanels; ++p) {
      run.header[p] = all.header[p] + from * kFormat.header_bytes;
#ifdef NOUNP
      run.codes[p] = all.codes[p] + from * kFormat.code_bytes;
#else
      std::uint8_t* out = bytes + p * kStretchColumns * kPanelRows;
      unpack_panel<F>(all.codes[p] + from * kFormat.code_bytes, run.tiles * (kFormat.tile_columns / 32), out);
      run.codes[p] = out;
#endif
    }
#ifdef NOUNP
    run_all_tokens<F, typename F::Codes, kLargest>(run, tokens);
#else
    run_all_tokens<F, ByteCodes, kLargest>(run, tokens);
#endif
  }
}

// The rows of a panel that is not full, from (tokens, 16) to y.
inline void copy_tail(const PanelJob& job, std::int64_t row, const float* tail, std::int64_t stride) {
  for (std::int64_t t = 0; t < job.tokens; ++t) {
    for (std::int64_t r = row; r < job.rows; ++r) {
      job.y[t * job.y_stride + r] = tail[t * stride + r - row];
    }
  }
}

// kPanels panels from `row` on. Where there are fewer, the last is taken again.
template <typename F, int kLargest, int kPanels>
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
  if (job.tokens >= kUnpackTokens) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(job.scratch) + kPanels * kMaxJobTokens * kPanelRows * sizeof(float);
    run_stretches<F, kLargest>(run, job.tokens, bytes);
  } else {
    run_all_tokens<F, typename F::Codes, kLargest>(run, job.tokens);
  }
  if (!whole) copy_tail(job, row, tail, kPanels * kPanelRows);
}

template <typename F>
void multiply_panels(const PanelJob& job) {
  if (job.tokens <= kSinglePanelTokens) {
    for (std::int64_t row = 0; row < job.rows; row += kPanelRows) {
      multiply_group<F, kSinglePanelTokens, 1>(job, row);
    }
  } else {
    for (std::int64_t row = 0; row < job.rows; row += 2 * kPanelRows) {
      multiply_group<F, kMaxTokens, 2>(job, row);
    }
  }
}

}  // namespace
}  // namespace sampan
