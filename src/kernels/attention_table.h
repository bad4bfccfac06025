#pragma once

#include <cstdint>

namespace sampan {

enum class Isa;

// The inner steps of attention() (kernels/attention.h) for one kv head, one page of 64 positions
// and a tile of rows: (query, head) pairs that read this kv head. One table an instruction set,
// same bits in all. Included by files compiled for an instruction set: declarations only.
//
// Keys (4, head_dim, 16) and values (64, head_dim) come as float or binary16; a binary16 is widened
// as it is loaded. Positions outside the ranges named are not read, or are read (keys, in whole
// groups of 16) and leave no trace: cache memory that was never written may hold anything.
//
// `next`, of the size of `keys` or `values`, is what the following call will read: the same offsets
// of it are prefetched, so that a single query streams the cache. nullptr: nothing.
struct AttentionTable {
  // scores[row][j] = dot(q[row], k_j) for the positions j of key groups [first_group, end_group):
  // one fma chain over ascending d from 0. q (rows, head_dim), scores (rows, 64).
  void (*score_f32)(const float* q, std::int64_t rows, std::int64_t head_dim, const float* keys,
                    std::int64_t first_group, std::int64_t end_group, const float* next,
                    float* scores);
  void (*score_f16)(const float* q, std::int64_t rows, std::int64_t head_dim,
                    const std::uint16_t* keys, std::int64_t first_group, std::int64_t end_group,
                    const std::uint16_t* next, float* scores);
  // Scores to weights p, row by row, in place; takes m and l (rows) one page on and sets
  // correction[row] = c. Row r sees positions [first[r], end[r]) of the page, at least one.
  void (*softmax)(float* scores, std::int64_t rows, float scale, const std::int32_t* first,
                  const std::int32_t* end, float* m, float* l, float* correction);
  // o[row] = o[row] * correction[row], then o[row][d] = fma(p[row][j], v_j[d], o[row][d]) for j
  // from first to end - 1. p (rows, 64), o (rows, head_dim).
  void (*accumulate_f32)(const float* p, std::int64_t rows, const float* values,
                         std::int64_t head_dim, std::int64_t first, std::int64_t end,
                         const float* next, const float* correction, float* o);
  void (*accumulate_f16)(const float* p, std::int64_t rows, const std::uint16_t* values,
                         std::int64_t head_dim, std::int64_t first, std::int64_t end,
                         const std::uint16_t* next, const float* correction, float* o);
  // out[row][d] = o[row][d] / l[row]. o, out (rows, head_dim).
  void (*divide)(const float* o, const float* l, std::int64_t rows, std::int64_t head_dim,
                 float* out);
};

const AttentionTable& attention_table_reference();
const AttentionTable& attention_table_avx2();
const AttentionTable& attention_table_avx512();

// The table of an instruction set that isa_supported().
const AttentionTable& attention_table(Isa isa);
// The table of active_isa().
const AttentionTable& active_attention_table();

}  // namespace sampan
