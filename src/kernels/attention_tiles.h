#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/attention.h"
#include "kernels/attention_table.h"

namespace sampan {

// What attention() and latent_attention() share: queries are cut into tiles of (query, head) rows
// that read the cache together, page by page, and tiles are spread over threads. A cache says how
// its pages are read; query heads are in `groups` groups of `group_heads`, head h in group h /
// group_heads.

// The rows of a tile that take a page's values, positions [first, end) of it.
struct TileRows {
  const float* p;  // (count, kKvPagePositions)
  std::int64_t count;
  std::int64_t first;
  std::int64_t end;
  const float* correction;  // (count)
  float* o;                 // (count, o_dims)
};

class PagedCache {
 public:
  virtual ~PagedCache() = default;

  // scores[row][j], rows kKvPagePositions apart, = dot of q[row] (rows, q_width) with the key of
  // position j, for j in [first, end). Others may be written too. `next` is the page that will be
  // read after this one, for prefetching; or nullptr.
  virtual void score(const std::byte* page, const std::byte* next, std::int64_t group,
                     const float* q, std::int64_t rows, std::int64_t first, std::int64_t end,
                     float* scores) const = 0;
  // o = o * correction + Σ p_j v_j as AttentionTable's accumulate.
  virtual void accumulate(const std::byte* page, const std::byte* next, std::int64_t group,
                          const TileRows& rows) const = 0;
};

struct TiledAttention {
  const PagedCache& cache;
  std::int64_t groups;
  std::int64_t group_heads;
  std::int64_t q_dims;   // of a head, in q
  std::int64_t q_width;  // of a row as the cache reads it: q_dims, then zeros
  std::int64_t o_dims;   // of a head, in out
  float scale;
  std::int64_t window;          // as AttentionArgs
  const AttentionPiece* piece;  // null: all of it

  std::int64_t row_heads() const { return piece ? piece->row_heads : groups * group_heads; }
};

// q (queries, row_heads, q_dims), out (queries, row_heads, o_dims).
void attend(const AttentionTable& table, const TiledAttention& problem, const float* q,
            std::span<const AttentionQuery> queries, float* out, ThreadPool& pool);

}  // namespace sampan
