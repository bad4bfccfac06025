#pragma once

#include <cstdint>

namespace sampan {

enum class Isa;

// The inner steps of attention() (kernels/attention.h) and latent_attention() for one page of 64
// positions and a tile of rows: (query, head) pairs that read the same keys and values. One table
// an instruction set, same bits in all. Included by files compiled for an instruction set:
// declarations and plain data only.
//
// Keys and values come as float, binary16 or 8-bit codes with a scale for kCodesPerScale numbers. A
// binary16 is widened as it is loaded, a code times its scale rounded to float. Positions outside
// the ranges named are not read, or are read (keys, in whole groups) and leave no trace: cache
// memory that was never written may hold anything.
//
// `next`, laid out as the keys or values, is what the following call will read: the same offsets of
// it are prefetched, so that a single query streams the cache. nullptr: nothing.

// Numbers of a key, value or latent that share a scale: columns 32 i to 32 i + 31
// (kCacheScaleColumns of kernels/cache_codes.h).
inline constexpr std::int64_t kCodesPerScale = 32;

// The keys of a page, for score (4, head_dim, 16) and for dot (64, width).
template <typename T>
struct PageKeys {
  const T* keys;
  const T* next;
  const float* scales;  // of codes: for score (4, scale_columns, 16), for dot (64, scale_columns)
  std::int64_t scale_columns;
};

// Rows that take the values of positions [first, end) of a page.
template <typename T>
struct ValueSum {
  const float* p;  // (rows, 64)
  std::int64_t rows;
  const T* values;  // (64, columns), rows value_stride apart
  std::int64_t value_stride;
  const float* scales;  // of codes: (64, ceil(columns / kCodesPerScale)), rows scale_stride apart
  std::int64_t scale_stride;
  std::int64_t columns;
  std::int64_t first;
  std::int64_t end;
  const T* next;
  const float* correction;  // (rows)
  float* o;                 // (rows, columns), rows o_stride apart
  std::int64_t o_stride;
};

// Positions that `dot` takes at a time.
inline constexpr std::int64_t kDotPositions = 4;

struct AttentionTable {
  // scores[row][j] = dot(q[row], k_j) for the positions j of key groups [first_group, end_group) of
  // 16: one fma chain over ascending d from 0. q (rows, head_dim), scores (rows, 64).
  template <typename T>
  using Score = void (*)(const float* q, std::int64_t rows, std::int64_t head_dim,
                         const PageKeys<T>& keys, std::int64_t first_group, std::int64_t end_group,
                         float* scores);
  Score<float> score_f32;
  Score<std::uint16_t> score_f16;
  Score<std::int8_t> score_q8;
  // As score for keys that lie position by position and groups of kDotPositions; the dot is over 16
  // virtual lanes, lane[d % 16] = fma(q[d], k_j[d], lane[d % 16]) for ascending d, folded as
  // lanes.h says. width in place of head_dim, a multiple of 16.
  Score<float> dot_f32;
  Score<std::uint16_t> dot_f16;
  Score<std::int8_t> dot_q8;
  // Scores to weights p, row by row, in place; takes m and l (rows) one page on and sets
  // correction[row] = c. Row r sees positions [first[r], end[r]) of the page, at least one.
  void (*softmax)(float* scores, std::int64_t rows, float scale, const std::int32_t* first,
                  const std::int32_t* end, float* m, float* l, float* correction);
  // o[row] = o[row] * correction[row], then o[row][d] = fma(p[row][j], v_j[d], o[row][d]) for j
  // from first to end - 1.
  void (*accumulate_f32)(const ValueSum<float>& sum);
  void (*accumulate_f16)(const ValueSum<std::uint16_t>& sum);
  void (*accumulate_q8)(const ValueSum<std::int8_t>& sum);
  // out[row][d] = o[row][d] / l[row]. o, out (rows, head_dim).
  void (*divide)(const float* o, const float* l, std::int64_t rows, std::int64_t head_dim,
                 float* out);
};

const AttentionTable& attention_table_reference();
const AttentionTable& attention_table_avx2();
const AttentionTable& attention_table_avx512();
const AttentionTable& attention_table_neon();

// The table of an instruction set that isa_supported().
const AttentionTable& attention_table(Isa isa);
// The table of active_isa().
const AttentionTable& active_attention_table();

}  // namespace sampan
