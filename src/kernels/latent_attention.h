#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "tensor/dtype.h"

namespace sampan {

// Multi-head latent attention in its absorbed form (DeepSeek-V2, arXiv 2405.04434, section 2.1):
// all heads read one cached row a position, [latent | rope], whose first part is also the value.

// Geometry of one layer's latent cache. A page holds kKvPagePositions rows (width), row-major, as
// F32 or F16: the latent, the rope part, then zeros up to a multiple of 16, so that a row of 512 +
// 64 starts on a cache line wherever the page does and vector code needs no tails. As kQ8_0 the
// rows are codes (kernels/cache_codes.h), and behind all of them lie their scales,
// [kKvPagePositions][ceil(width / 32)]. Pages are best aligned to 64 bytes.
struct LatentLayout {
  std::int64_t latent_dim = 0;
  std::int64_t rope_dim = 0;
  DType dtype = DType::kF32;  // kF32, kF16 or kQ8_0

  std::int64_t row_dim() const { return latent_dim + rope_dim; }
  std::int64_t width() const;
  std::int64_t page_bytes() const;
};

// Writes rows (tokens, latent_dim + rope_dim), row_stride >= latent_dim + rope_dim floats apart, of
// tokens at positions[t] >= 0 into pages[t][positions[t] / 64], where pages[t] is the page table of
// token t's sequence for this layer. F16 rounds to nearest even, beyond 65504 to infinity. No two
// tokens of a call name the same place.
void store_latent(const LatentLayout& layout, const float* rows, std::int64_t row_stride,
                  std::int64_t tokens, const std::int32_t* positions,
                  std::byte* const* const* pages, ThreadPool& pool);

// Reads the cached rows of positions [begin, end) of one sequence back as floats (exact;
// codes times their scales, rounded): rows
// (end - begin, latent_dim + rope_dim), row_stride floats apart. For the expanded form.
void load_latent(const LatentLayout& layout, const std::byte* const* pages, std::int64_t begin,
                 std::int64_t end, float* rows, std::int64_t row_stride, ThreadPool& pool);

struct LatentAttentionArgs {
  LatentLayout layout;
  std::int64_t heads = 0;
  float scale = 1.0f;
};

// Causal attention. q (queries, heads, latent_dim + rope_dim), out (queries, heads, latent_dim), no
// overlap. As attention() of kernels/attention.h without a window, all heads reading the same
// rows, but
//   s_j = scale * dot, dot over 16 virtual lanes: lane[d % 16] = fma(q[d], row_j[d], lane[d % 16])
//         for ascending d from 0, the last partial group padded with zeros, folded as lanes.h says
//   v_j = row_j[0 … latent_dim)
// Queries share the reading of pages, results do not depend on company, and scratch is kept as
// there.
void latent_attention(const LatentAttentionArgs& args, const float* q,
                      std::span<const AttentionQuery> queries, float* out, ThreadPool& pool);

}  // namespace sampan
