#include "kernels/attention_table.h"
#include "kernels/avx512/vector_math.h"
#include "kernels/lanes.h"
#include "kernels/unroll.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = 64;
constexpr int kGroups = 4;  // groups of 16 positions a page

// 16 numbers of the cache as floats.
inline __m512 load(const float* x) { return _mm512_loadu_ps(x); }
inline __m512 load(const std::uint16_t* x) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}
inline __m512 load(const std::int8_t* x) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}
inline __m512 load(const float* x, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, x); }
inline __m512 load(const std::uint16_t* x, __mmask16 mask) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x));
}
inline __m512 load(const std::int8_t* x, __mmask16 mask) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, x)));
}
// Codes times their scales: those of their lanes at scales[index …], or one for all lanes at
// scales[index]. Other numbers have none.
template <typename T>
inline __m512 by_lane_scales(__m512 x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return _mm512_mul_ps(x, _mm512_loadu_ps(scales + index));
}
template <typename T>
inline __m512 by_scale(__m512 x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return _mm512_mul_ps(x, _mm512_set1_ps(scales[index]));
}

inline void prefetch(const void* x) { _mm_prefetch(static_cast<const char*>(x), _MM_HINT_T0); }
template <typename T>
inline const T* at(const T* x, std::int64_t offset) {
  return x == nullptr ? nullptr : x + offset;
}
// Whether the vector at index i of a row of vectors begins a cache line.
template <typename T>
inline bool begins_line(std::int64_t i) {
  return i % (64 / (kLanes * static_cast<std::int64_t>(sizeof(T)))) == 0;
}

// Rows a block: 6 rows of 4 accumulators each, 4 vectors of the cache and a broadcast fit the 32
// registers, and 10 loads feed 24 multiply-adds.
constexpr int kMaxBlockRows = 6;

// Calls block(row, n) with nearly equal n <= kMost.
template <int kMost, typename Block>
inline void for_blocks(std::int64_t rows, const Block& block) {
  std::int64_t left = (rows + kMost - 1) / kMost;
  for (std::int64_t row = 0; row < rows; --left) {
    const std::int64_t n = (rows - row + left - 1) / left;
    block(row, n);
    row += n;
  }
}

// sum[r][v] = fma(x[r], y[v], sum[r][v]) for all pairs.
template <int kRows, int kVectors, typename LoadX, typename LoadY>
[[gnu::always_inline]] inline void multiply_add(__m512 (&sum)[kRows][kVectors], const LoadX& load_x,
                                                const LoadY& load_y) {
  __m512 y[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) y[v] = load_y(v);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const __m512 x = load_x(r);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_fmadd_ps(x, y[v], sum[r][v]);
  }
}

// The keys of a page from a group of 16 positions on.
template <typename T>
inline PageKeys<T> from_group(const PageKeys<T>& page, std::int64_t head_dim, std::int64_t g) {
  return {page.keys + g * head_dim * kLanes, at(page.next, g * head_dim * kLanes),
          at(page.scales, g * page.scale_columns * kLanes), page.scale_columns};
}

// kCount groups of 16 positions.
template <typename T, int kRows, int kCount>
inline void score_groups(const float* q, std::int64_t head_dim, const PageKeys<T>& page,
                         float* scores) {
  __m512 dot[kRows][kCount];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int g = 0; g < kCount; ++g) dot[r][g] = _mm512_setzero_ps();
  }
  for (std::int64_t d = 0; d < head_dim; ++d) {
    if (page.next != nullptr && begins_line<T>(d)) {
#pragma GCC unroll 8
      for (int g = 0; g < kCount; ++g) prefetch(page.next + (g * head_dim + d) * kLanes);
    }
    multiply_add(
        dot, [=](int r) { return _mm512_set1_ps(q[r * head_dim + d]); },
        [=](int g) {
          return by_lane_scales<T>(load(page.keys + (g * head_dim + d) * kLanes), page.scales,
                                   (g * page.scale_columns + d / kCodesPerScale) * kLanes);
        });
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int g = 0; g < kCount; ++g) _mm512_storeu_ps(scores + r * kPage + g * kLanes, dot[r][g]);
  }
}

template <typename T, int kRows>
void score_block(const float* q, std::int64_t head_dim, const PageKeys<T>& page, std::int64_t first,
                 std::int64_t end, float* scores) {
  std::int64_t g = first;
  for (; g + 4 <= end; g += 4) {
    score_groups<T, kRows, 4>(q, head_dim, from_group(page, head_dim, g), scores + g * kLanes);
  }
  for (; g + 2 <= end; g += 2) {
    score_groups<T, kRows, 2>(q, head_dim, from_group(page, head_dim, g), scores + g * kLanes);
  }
  for (; g < end; ++g) {
    score_groups<T, kRows, 1>(q, head_dim, from_group(page, head_dim, g), scores + g * kLanes);
  }
}

template <typename T>
void score(const float* q, std::int64_t rows, std::int64_t head_dim, const PageKeys<T>& page,
           std::int64_t first_group, std::int64_t end_group, float* scores) {
  using Block =
      void (*)(const float*, std::int64_t, const PageKeys<T>&, std::int64_t, std::int64_t, float*);
  static constexpr Block kBlocks[kMaxBlockRows] = {score_block<T, 1>, score_block<T, 2>,
                                                   score_block<T, 3>, score_block<T, 4>,
                                                   score_block<T, 5>, score_block<T, 6>};
  PageKeys<T> keys = page;
  for_blocks<kMaxBlockRows>(rows, [&](std::int64_t row, std::int64_t n) {
    if (row > 0) keys.next = nullptr;
    kBlocks[n - 1](q + row * head_dim, head_dim, keys, first_group, end_group,
                   scores + row * kPage);
  });
}

// The sums of lanes of 16 vectors by the tree of kernels/lanes.h, each step for all of them at
// once: lane 4 i + j of the result is that of v[i + 4 j].
inline __m512 fold_sixteen(const __m512 (&v)[16]) {
  const auto eight = [](__m512 a, __m512 b) SAMPAN_INLINE {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  };
  const auto four = [](__m512 a, __m512 b) SAMPAN_INLINE {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  };
  const auto two = [](__m512 a, __m512 b) SAMPAN_INLINE {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
  };
  const auto one = [](__m512 a, __m512 b) SAMPAN_INLINE {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
  };
  __m512 s[4];
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {
    s[i] = four(eight(v[4 * i], v[4 * i + 1]), eight(v[4 * i + 2], v[4 * i + 3]));
  }
  return one(two(s[0], s[1]), two(s[2], s[3]));
}

// Rows a block of dot: 4 rows by 4 positions are the 16 sums that fold together.
constexpr int kDotRows = 4;

// Which of kDotPositions positions a block prefetches: every `step`th from `first` on.
struct Share {
  std::int64_t first;
  std::int64_t step;
};

// kDotPositions positions.
template <typename T, int kRows>
inline void dot_group(const float* q, std::int64_t width, const PageKeys<T>& page, Share share,
                      float* scores) {
  __m512 sum[kRows][kDotPositions];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < kDotPositions; ++j) sum[r][j] = _mm512_setzero_ps();
  }
  for (std::int64_t d = 0; d < width; d += kLanes) {
    if (page.next != nullptr && begins_line<T>(d / kLanes)) {
      for (std::int64_t i = share.first; i < kDotPositions; i += share.step) {
        prefetch(page.next + i * width + d);
      }
    }
    multiply_add(
        sum, [=](int r) { return _mm512_loadu_ps(q + r * width + d); },
        [=](int j) {
          return by_scale<T>(load(page.keys + j * width + d), page.scales,
                             j * page.scale_columns + d / kCodesPerScale);
        });
  }
  __m512 v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = i % 4 < kRows ? sum[i % 4][i / 4] : _mm512_setzero_ps();
  const __m512 dots = fold_sixteen(v);
  _mm_storeu_ps(scores, _mm512_castps512_ps128(dots));
  if constexpr (kRows > 1) _mm_storeu_ps(scores + kPage, _mm512_extractf32x4_ps(dots, 1));
  if constexpr (kRows > 2) _mm_storeu_ps(scores + 2 * kPage, _mm512_extractf32x4_ps(dots, 2));
  if constexpr (kRows > 3) _mm_storeu_ps(scores + 3 * kPage, _mm512_extractf32x4_ps(dots, 3));
}

template <typename T, int kRows>
void dot_block(const float* q, std::int64_t width, const PageKeys<T>& page, std::int64_t first,
               std::int64_t end, Share share, float* scores) {
  for (std::int64_t j = first * kDotPositions; j < end * kDotPositions; j += kDotPositions) {
    const PageKeys<T> keys = {page.keys + j * width, at(page.next, j * width),
                              at(page.scales, j * page.scale_columns), page.scale_columns};
    dot_group<T, kRows>(q, width, keys, share, scores + j);
  }
}

template <typename T>
void dot(const float* q, std::int64_t rows, std::int64_t width, const PageKeys<T>& page,
         std::int64_t first_group, std::int64_t end_group, float* scores) {
  using Block = void (*)(const float*, std::int64_t, const PageKeys<T>&, std::int64_t, std::int64_t,
                         Share, float*);
  static constexpr Block kBlocks[kDotRows] = {dot_block<T, 1>, dot_block<T, 2>, dot_block<T, 3>,
                                              dot_block<T, 4>};
  const std::int64_t blocks = (rows + kDotRows - 1) / kDotRows;
  for_blocks<kDotRows>(rows, [&](std::int64_t row, std::int64_t n) {
    kBlocks[n - 1](q + row * width, width, page, first_group, end_group,
                   {(row + n - 1) / kDotRows, blocks}, scores + row * kPage);
  });
}

// Scores of one row to weights; returns their sum and moves m on.
inline float softmax_row(float* scores, __m512 scale, std::int32_t first, std::int32_t end,
                         float* m) {
  const std::uint64_t below_end = ~std::uint64_t{0} >> (kPage - end);
  const std::uint64_t visible = below_end >> first << first;
  const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
  __m512 s[kGroups];
  __mmask16 mask[kGroups];
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    mask[g] = static_cast<__mmask16>(visible >> (g * kLanes));
    s[g] = _mm512_mask_mul_ps(lowest, mask[g], _mm512_loadu_ps(scores + g * kLanes), scale);
  }
  const __m512 pair = _mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_max_ps(s[2], s[3]));
  const float highest_here = _mm512_reduce_max_ps(pair);
  const float highest = highest_here > *m ? highest_here : *m;
  *m = highest;
  __m512 lanes = _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    const __m512 x = _mm512_sub_ps(s[g], _mm512_set1_ps(highest));
    const __m512 p = _mm512_maskz_mov_ps(mask[g], exp_lanes<ExpRange::kNotPositive>(x));
    _mm512_storeu_ps(scores + g * kLanes, p);
    lanes = _mm512_add_ps(lanes, p);
  }
  return fold_lanes(lanes);
}

void softmax(float* scores, std::int64_t rows, float scale, const std::int32_t* first,
             const std::int32_t* end, float* m, float* l, float* correction) {
  for (std::int64_t base = 0; base < rows; base += kLanes) {
    const std::int64_t n = rows - base < kLanes ? rows - base : kLanes;
    const __mmask16 mask = first_lanes(n);
    const __m512 old_m = _mm512_maskz_loadu_ps(mask, m + base);
    alignas(64) float sum[kLanes] = {};
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t row = base + i;
      sum[i] =
          softmax_row(scores + row * kPage, _mm512_set1_ps(scale), first[row], end[row], m + row);
    }
    const __m512 new_m = _mm512_maskz_loadu_ps(mask, m + base);
    const __m512 c = exp_lanes<ExpRange::kNotPositive>(_mm512_sub_ps(old_m, new_m));
    const __m512 new_l =
        _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, l + base), c, _mm512_load_ps(sum));
    _mm512_mask_storeu_ps(correction + base, mask, c);
    _mm512_mask_storeu_ps(l + base, mask, new_l);
  }
}

// kVectors whole vectors of columns.
template <typename T, int kRows, int kVectors>
inline void accumulate_columns(const ValueSum<T>& block, std::int64_t column, float* o) {
  const T* const values = block.values + column;
  const T* const next = at(block.next, column);
  const std::int64_t stride = block.value_stride;
  const std::int64_t o_stride = block.o_stride;
  const float* const p = block.p;
  __m512 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const __m512 c = _mm512_set1_ps(block.correction[r]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = _mm512_mul_ps(_mm512_loadu_ps(o + r * o_stride + v * kLanes), c);
    }
  }
  const std::int64_t end = block.end;
  for (std::int64_t j = block.first; j < end; ++j) {
    if (next != nullptr) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        if (begins_line<T>(v)) prefetch(next + j * stride + v * kLanes);
      }
    }
    multiply_add(
        sum, [=](int r) { return _mm512_set1_ps(p[r * kPage + j]); },
        [=](int v) {
          return by_scale<T>(load(values + j * stride + v * kLanes), block.scales,
                             j * block.scale_stride + (column + v * kLanes) / kCodesPerScale);
        });
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(o + r * o_stride + v * kLanes, sum[r][v]);
  }
}

// The last columns, fewer than a vector.
template <typename T, int kRows>
inline void accumulate_tail(const ValueSum<T>& block, std::int64_t column, float* o) {
  const __mmask16 mask = first_lanes(block.columns - column);
  __m512 sum[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    sum[r] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, o + r * block.o_stride),
                           _mm512_set1_ps(block.correction[r]));
  }
  for (std::int64_t j = block.first; j < block.end; ++j) {
    const __m512 value =
        by_scale<T>(load(block.values + j * block.value_stride + column, mask), block.scales,
                    j * block.scale_stride + column / kCodesPerScale);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      sum[r] = _mm512_fmadd_ps(_mm512_set1_ps(block.p[r * kPage + j]), value, sum[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    _mm512_mask_storeu_ps(o + r * block.o_stride, mask, sum[r]);
  }
}

template <typename T, int kRows>
void accumulate_block(const ValueSum<T>& block) {
  std::int64_t d = 0;
  float* const o = block.o;
  if constexpr (kRows <= 3) {
    for (; d + 8 * kLanes <= block.columns; d += 8 * kLanes) {
      accumulate_columns<T, kRows, 8>(block, d, o + d);
    }
  }
  for (; d + 4 * kLanes <= block.columns; d += 4 * kLanes) {
    accumulate_columns<T, kRows, 4>(block, d, o + d);
  }
  for (; d + 2 * kLanes <= block.columns; d += 2 * kLanes) {
    accumulate_columns<T, kRows, 2>(block, d, o + d);
  }
  for (; d + kLanes <= block.columns; d += kLanes) {
    accumulate_columns<T, kRows, 1>(block, d, o + d);
  }
  if (d < block.columns) accumulate_tail<T, kRows>(block, d, o + d);
}

template <typename T>
void accumulate(const ValueSum<T>& sum) {
  using Block = void (*)(const ValueSum<T>&);
  static constexpr Block kBlocks[kMaxBlockRows] = {accumulate_block<T, 1>, accumulate_block<T, 2>,
                                                   accumulate_block<T, 3>, accumulate_block<T, 4>,
                                                   accumulate_block<T, 5>, accumulate_block<T, 6>};
  for_blocks<kMaxBlockRows>(sum.rows, [&](std::int64_t row, std::int64_t n) {
    ValueSum<T> block = sum;
    block.p += row * kPage;
    block.correction += row;
    block.o += row * sum.o_stride;
    if (row > 0) block.next = nullptr;
    kBlocks[n - 1](block);
  });
}

void divide(const float* o, const float* l, std::int64_t rows, std::int64_t head_dim, float* out) {
  for (std::int64_t row = 0; row < rows; ++row, o += head_dim, out += head_dim) {
    const __m512 sum = _mm512_set1_ps(l[row]);
    for (std::int64_t d = 0; d < head_dim; d += kLanes) {
      const __mmask16 mask = first_lanes(head_dim - d < kLanes ? head_dim - d : kLanes);
      const __m512 quotient = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, o + d), sum);
      _mm512_mask_storeu_ps(out + d, mask, quotient);
    }
  }
}

constexpr AttentionTable kTable = {
    .score_f32 = score<float>,
    .score_f16 = score<std::uint16_t>,
    .score_q8 = score<std::int8_t>,
    .dot_f32 = dot<float>,
    .dot_f16 = dot<std::uint16_t>,
    .dot_q8 = dot<std::int8_t>,
    .softmax = softmax,
    .accumulate_f32 = accumulate<float>,
    .accumulate_f16 = accumulate<std::uint16_t>,
    .accumulate_q8 = accumulate<std::int8_t>,
    .divide = divide,
};

}  // namespace

const AttentionTable& attention_table_avx512() { return kTable; }

}  // namespace sampan
