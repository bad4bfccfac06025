#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "kernels/attention.h"
#include "kernels/attention_table.h"

namespace sampan {

// What attention() and latent_attention() share: queries are cut into tiles of (query, head) rows
// that read the cache together, page by page, and tiles are spread over threads. A cache says how
// its pages are read; query heads are in `groups` groups of `group_heads`, head h in group h /
// group_heads.

inline constexpr std::int64_t kPage = kKvPagePositions;

// Whether numbers are stored as codes beside scales.
template <typename T>
inline constexpr bool is_coded = sizeof(T) == 1;

// The entries of a table by how numbers are stored.
inline auto score_entry(const AttentionTable& table, float) { return table.score_f32; }
inline auto score_entry(const AttentionTable& table, std::uint16_t) { return table.score_f16; }
inline auto score_entry(const AttentionTable& table, std::int8_t) { return table.score_q8; }
inline auto dot_entry(const AttentionTable& table, float) { return table.dot_f32; }
inline auto dot_entry(const AttentionTable& table, std::uint16_t) { return table.dot_f16; }
inline auto dot_entry(const AttentionTable& table, std::int8_t) { return table.dot_q8; }
inline auto accumulate_entry(const AttentionTable& table, float) { return table.accumulate_f32; }
inline auto accumulate_entry(const AttentionTable& table, std::uint16_t) {
  return table.accumulate_f16;
}
inline auto accumulate_entry(const AttentionTable& table, std::int8_t) {
  return table.accumulate_q8;
}

// Calls run(T{}), T how the numbers of a cache of the type are stored.
template <typename Run>
void with_stored_type(DType dtype, const Run& run) {
  switch (dtype) {
    case DType::kF32:
      return run(float{});
    case DType::kF16:
      return run(std::uint16_t{});
    default:
      SAMPAN_CHECK(dtype == DType::kQ8_0);
      return run(std::int8_t{});
  }
}

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
