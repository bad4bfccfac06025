#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "tensor/dtype.h"

namespace sampan {

// Positions a page of the key-value cache; also the block of positions over which the softmax is
// reduced, so results do not depend on how a prompt was chunked or where a query stands in its
// batch.
inline constexpr std::int64_t kKvPagePositions = 64;

// Geometry of one layer's cache. A page holds kKvPagePositions positions of all kv heads:
//   keys    [kv_heads][kKvPagePositions / 16][head_dim][16]  (16 positions side by side: a lane a
//   position)
//   values  [kv_heads][kKvPagePositions][value_dim]
// keys first, then values, as F32 or F16. As kQ8_0 they are the codes of kernels/cache_codes.h, and
// behind each kv head's codes lie their scales:
//   of keys    [kKvPagePositions / 16][ceil(head_dim / 32)][16]
//   of values  [kKvPagePositions][ceil(value_dim / 32)]
// Pages are best aligned to 64 bytes.
struct KvLayout {
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;   // of a query and a key
  DType dtype = DType::kF32;   // kF32, kF16 or kQ8_0
  std::int64_t value_dim = 0;  // of a value and an output; 0: head_dim

  std::int64_t value_width() const { return value_dim > 0 ? value_dim : head_dim; }
  std::int64_t page_bytes() const;
};

// Writes keys k (tokens, kv_heads, head_dim) and values v (tokens, kv_heads, value_dim) of tokens
// at positions[t] >= 0 into pages[t][positions[t] / 64], where pages[t] is the page table of token
// t's sequence for this layer. F16 rounds to nearest even, beyond 65504 to infinity. No two tokens
// of a call name the same place.
void store_kv(const KvLayout& layout, const float* k, const float* v, std::int64_t tokens,
              const std::int32_t* positions, std::byte* const* const* pages, ThreadPool& pool);

struct AttentionQuery {
  std::int32_t position = 0;  // sees the keys at max(0, position - window + 1) … position
  const std::byte* const* pages = nullptr;  // page table of its sequence for this layer
};

struct AttentionArgs {
  KvLayout layout;
  std::int64_t heads =
      0;  // query heads; a multiple of kv_heads; head h reads kv head h / (heads / kv_heads)
  float scale = 1.0f;
  std::int64_t window = 0;  // sliding window in positions; 0 = none
};

// Causal attention. q (queries, heads, head_dim), out (queries, heads, value_dim), no overlap. For
// each query and head, m = -infinity, l = 0, o = 0; then over the pages that hold a visible
// position, ascending:
//   s_j = scale * dot, dot = fma(q[d], k_j[d], dot) for ascending d from 0, for visible j
//   m' = max(m, max_j s_j); c = exp_f32(m - m') (so 0 for the first page)
//   p_j = exp_f32(s_j - m') for visible j, 0 for others
//   l = fma(l, c, sum of p over the 64 positions: lane[j % 16] added in ascending j from 0, then
//       folded as lanes.h says); m = m'
//   o[d] = o[d] * c, then o[d] = fma(p_j, v_j[d], o[d]) for ascending visible j
// and at the end out[d] = o[d] / l. Keys and values at invisible positions have no influence,
// whatever the memory holds, and page table entries without a visible position are not read. F16
// keys and values are widened first (exact), codes multiplied by their scales first (rounded).
//
// Consecutive queries that name the same page table at ascending positions share the reading of its
// pages; the result of a query does not depend on which others are there. Where scores are not
// finite the result is NaN. Scratch memory of some hundred KiB a thread is kept for the next call.
void attention(const AttentionArgs& args, const float* q, std::span<const AttentionQuery> queries,
               float* out, ThreadPool& pool);

// A part of an attention whose keys and values are made piece by piece: some heads, some pages.
struct AttentionPiece {
  std::int64_t first_page = 0;
  std::int64_t end_page = 0;   // page tables are read at [first_page, end_page)
  std::int64_t row_heads = 0;  // heads of a row of q, out, m and l, of which args.heads are taken
  float* m = nullptr;          // (queries, row_heads), kept from piece to piece
  float* l = nullptr;          // (queries, row_heads)
};

// Takes queries, each at a position of first_page or later, on by the pages of a piece; q, out, m
// and l point at the first head. A first_page of 0 starts them; pieces then follow in ascending
// order without a gap. out is a query's result, the same bits as attention() gives, once the page
// of its position was taken. No window.
void attention_piece(const AttentionArgs& args, const AttentionPiece& piece, const float* q,
                     std::span<const AttentionQuery> queries, float* out, ThreadPool& pool);

}  // namespace sampan
