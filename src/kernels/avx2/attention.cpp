#include "kernels/attention_table.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/lanes.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = 64;
constexpr int kPageVectors = 8;

inline __m256 load(const float* x) { return _mm256_loadu_ps(x); }
inline __m256 load(const std::uint16_t* x) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
}

inline __m256 load(const std::int8_t* x) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
}
// Codes times their scales: those of their lanes at scales[index …], or one for all lanes at
// scales[index]. Other numbers have none.
template <typename T>
inline __m256 by_lane_scales(__m256 x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return _mm256_mul_ps(x, _mm256_loadu_ps(scales + index));
}
template <typename T>
inline __m256 by_scale(__m256 x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return _mm256_mul_ps(x, _mm256_broadcast_ss(scales + index));
}

inline void prefetch(const void* x) { _mm_prefetch(static_cast<const char*>(x), _MM_HINT_T0); }
template <typename T>
inline void prefetch_row(const T* x, std::int64_t n) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < n; i += kLine) prefetch(x + i);
}
template <typename T>
inline const T* at(const T* x, std::int64_t offset) {
  return x == nullptr ? nullptr : x + offset;
}
// Whether element i of a row that begins a cache line does.
template <typename T>
inline bool begins_line(std::int64_t i) {
  return i % (64 / static_cast<std::int64_t>(sizeof(T))) == 0;
}

// Rows a block: 6 rows of 2 accumulators each, 2 vectors of the cache and a broadcast fit the 16
// registers.
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

// sum[r][v] = fma(x[r], y[v], sum[r][v]) for all pairs. The fewer of the two stay in registers
// while the others are loaded one by one, so that everything fits the 16 registers.
template <int kRows, int kVectors, typename LoadX, typename LoadY>
[[gnu::always_inline]] inline void multiply_add(__m256 (&sum)[kRows][kVectors], const LoadX& load_x,
                                                const LoadY& load_y) {
  if constexpr (kRows > kVectors) {
    __m256 y[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) y[v] = load_y(v);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m256 x = load_x(r);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm256_fmadd_ps(x, y[v], sum[r][v]);
    }
  } else {
    __m256 x[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) x[r] = load_x(r);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const __m256 y = load_y(v);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum[r][v] = _mm256_fmadd_ps(x[r], y, sum[r][v]);
    }
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
  constexpr int kVectors = 2 * kCount;
  __m256 dot[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) dot[r][v] = _mm256_setzero_ps();
  }
  for (std::int64_t d = 0; d < head_dim; ++d) {
    if (page.next != nullptr && begins_line<T>(d * kLanes)) {
#pragma GCC unroll 8
      for (int g = 0; g < kCount; ++g) prefetch(page.next + (g * head_dim + d) * kLanes);
    }
    multiply_add(
        dot, [=](int r) { return _mm256_broadcast_ss(q + r * head_dim + d); },
        [=](int v) {
          const std::int64_t lane = v % 2 * kVector;
          const std::int64_t group = v / 2;
          return by_lane_scales<T>(
              load(page.keys + (group * head_dim + d) * kLanes + lane), page.scales,
              (group * page.scale_columns + d / kCodesPerScale) * kLanes + lane);
        });
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(scores + r * kPage + v * kVector, dot[r][v]);
    }
  }
}

template <typename T, int kRows>
void score_block(const float* q, std::int64_t head_dim, const PageKeys<T>& page, std::int64_t first,
                 std::int64_t end, float* scores) {
  constexpr int kCount = kRows == 1 ? 4 : kRows <= 3 ? 2 : 1;
  std::int64_t g = first;
  for (; g + kCount <= end; g += kCount) {
    score_groups<T, kRows, kCount>(q, head_dim, from_group(page, head_dim, g), scores + g * kLanes);
  }
  if constexpr (kCount > 1) {
    for (; g < end; ++g) {
      score_groups<T, kRows, 1>(q, head_dim, from_group(page, head_dim, g), scores + g * kLanes);
    }
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

// Rows a block of dot: 3 rows by 4 positions are 12 sums, a register each, for half of the 16
// virtual lanes at a time.
constexpr int kDotRows = 3;

// sum[r][j] = lanes [half, half + 8) of the dots.
template <typename T, int kRows>
[[gnu::always_inline]] inline void dot_lanes(const float* q, std::int64_t width,
                                             const PageKeys<T>& page, std::int64_t half,
                                             __m256 (&sum)[kRows][kDotPositions]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < kDotPositions; ++j) sum[r][j] = _mm256_setzero_ps();
  }
  for (std::int64_t d = half; d < width; d += kLanes) {
    multiply_add(
        sum, [=](int r) { return _mm256_loadu_ps(q + r * width + d); },
        [=](int j) {
          return by_scale<T>(load(page.keys + j * width + d), page.scales,
                             j * page.scale_columns + d / kCodesPerScale);
        });
  }
}

// The four sums of lanes of v by the tree of kernels/lanes.h, from 8 lanes on.
inline __m128 fold_four(const __m256 (&v)[kDotPositions]) {
  const __m256 a = _mm256_add_ps(_mm256_permute2f128_ps(v[0], v[1], 0x20),
                                 _mm256_permute2f128_ps(v[0], v[1], 0x31));
  const __m256 b = _mm256_add_ps(_mm256_permute2f128_ps(v[2], v[3], 0x20),
                                 _mm256_permute2f128_ps(v[2], v[3], 0x31));
  const __m256 two =
      _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xEE));  // 0 2 | 1 3
  const __m128 low = _mm256_castps256_ps128(two);
  const __m128 high = _mm256_extractf128_ps(two, 1);
  const __m128 even = _mm_shuffle_ps(low, high, 0x88);
  const __m128 odd = _mm_shuffle_ps(low, high, 0xDD);
  const __m128 sums = _mm_add_ps(even, odd);  // 0 2 1 3
  return _mm_shuffle_ps(sums, sums, 0xD8);
}

// kDotPositions positions.
template <typename T, int kRows>
inline void dot_group(const float* q, std::int64_t width, const PageKeys<T>& page, float* scores) {
  __m256 low[kRows][kDotPositions];
  __m256 high[kRows][kDotPositions];
  dot_lanes(q, width, page, 0, low);
  dot_lanes(q, width, page, kVector, high);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < kDotPositions; ++j) low[r][j] = _mm256_add_ps(low[r][j], high[r][j]);
    _mm_storeu_ps(scores + r * kPage, fold_four(low[r]));
  }
}

// Which of kDotPositions positions a block prefetches: every `step`th from `first` on.
struct Share {
  std::int64_t first;
  std::int64_t step;
};

template <typename T, int kRows>
void dot_block(const float* q, std::int64_t width, const PageKeys<T>& page, std::int64_t first,
               std::int64_t end, Share share, float* scores) {
  for (std::int64_t j = first * kDotPositions; j < end * kDotPositions; j += kDotPositions) {
    if (page.next != nullptr) {
      for (std::int64_t i = share.first; i < kDotPositions; i += share.step) {
        prefetch_row(page.next + (j + i) * width, width);
      }
    }
    const PageKeys<T> keys = {page.keys + j * width, nullptr,
                              at(page.scales, j * page.scale_columns), page.scale_columns};
    dot_group<T, kRows>(q, width, keys, scores + j);
  }
}

template <typename T>
void dot(const float* q, std::int64_t rows, std::int64_t width, const PageKeys<T>& page,
         std::int64_t first_group, std::int64_t end_group, float* scores) {
  using Block = void (*)(const float*, std::int64_t, const PageKeys<T>&, std::int64_t, std::int64_t,
                         Share, float*);
  static constexpr Block kBlocks[kDotRows] = {dot_block<T, 1>, dot_block<T, 2>, dot_block<T, 3>};
  const std::int64_t blocks = (rows + kDotRows - 1) / kDotRows;
  for_blocks<kDotRows>(rows, [&](std::int64_t row, std::int64_t n) {
    kBlocks[n - 1](q + row * width, width, page, first_group, end_group,
                   {(row + n - 1) / kDotRows, blocks}, scores + row * kPage);
  });
}

inline float highest_lane(__m256 v) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Scores of a row, scaled; those that it does not see are -infinity.
template <bool kSeesAll>
class RowScores {
 public:
  RowScores(const float* scores, float scale, std::int32_t first, std::int32_t end)
      : scores_(scores),
        scale_(_mm256_set1_ps(scale)),
        before_(_mm256_set1_epi32(first - 1)),
        stop_(_mm256_set1_epi32(end)) {}

  __m256 vector(int v) const {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(scores_ + v * kVector), scale_);
    if constexpr (kSeesAll) return scaled;
    return _mm256_blendv_ps(_mm256_set1_ps(-__builtin_inff()), scaled, visible(v));
  }
  // Zeros where the row sees nothing.
  __m256 keep_visible(__m256 p, int v) const {
    if constexpr (kSeesAll) return p;
    return _mm256_and_ps(visible(v), p);
  }

 private:
  __m256 visible(int v) const {
    const __m256i index =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(v * kVector));
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_cmpgt_epi32(index, before_), _mm256_cmpgt_epi32(stop_, index)));
  }

  const float* scores_;
  __m256 scale_;
  __m256i before_;
  __m256i stop_;
};

template <bool kSeesAll>
inline float highest_score(const RowScores<kSeesAll>& row) {
  __m256 top = row.vector(0);
#pragma GCC unroll 8
  for (int v = 1; v < kPageVectors; ++v) top = _mm256_max_ps(top, row.vector(v));
  return highest_lane(top);
}

// Scores of a row to weights; returns their sum.
template <bool kSeesAll>
inline float weigh(const RowScores<kSeesAll>& row, float highest, float* weights) {
  __m256 lanes[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
#pragma GCC unroll 8
  for (int v = 0; v < kPageVectors; ++v) {
    const __m256 x = _mm256_sub_ps(row.vector(v), _mm256_set1_ps(highest));
    const __m256 p = row.keep_visible(exp_lanes<ExpRange::kNotPositive>(x), v);
    _mm256_storeu_ps(weights + v * kVector, p);
    lanes[v % 2] = _mm256_add_ps(lanes[v % 2], p);
  }
  return fold_lanes(lanes[0], lanes[1]);
}

// Two steps, each for all rows, so that a row does not wait for the one before.
template <bool kSeesAll>
inline void softmax_rows(float* scores, std::int64_t rows, float scale, const std::int32_t* first,
                         const std::int32_t* end, float* m, float* sum) {
  const auto row = [=](std::int64_t i) {
    return RowScores<kSeesAll>(scores + i * kPage, scale, first[i], end[i]);
  };
  for (std::int64_t i = 0; i < rows; ++i) {
    const float highest = highest_score(row(i));
    m[i] = highest > m[i] ? highest : m[i];
  }
  for (std::int64_t i = 0; i < rows; ++i) sum[i] = weigh(row(i), m[i], scores + i * kPage);
}

void softmax(float* scores, std::int64_t rows, float scale, const std::int32_t* first,
             const std::int32_t* end, float* m, float* l, float* correction) {
  for (std::int64_t base = 0; base < rows; base += kVector) {
    const std::int64_t n = rows - base < kVector ? rows - base : kVector;
    const __m256i mask = first_lanes(n);
    const __m256 old_m = _mm256_maskload_ps(m + base, mask);
    alignas(32) float sum[kVector] = {};
    bool sees_all = true;
    for (std::int64_t i = base; i < base + n; ++i) sees_all &= first[i] == 0 && end[i] == kPage;
    const auto rows_to_weights = sees_all ? softmax_rows<true> : softmax_rows<false>;
    rows_to_weights(scores + base * kPage, n, scale, first + base, end + base, m + base, sum);
    const __m256 new_m = _mm256_maskload_ps(m + base, mask);
    const __m256 c = exp_lanes<ExpRange::kNotPositive>(_mm256_sub_ps(old_m, new_m));
    const __m256 new_l =
        _mm256_fmadd_ps(_mm256_maskload_ps(l + base, mask), c, _mm256_load_ps(sum));
    _mm256_maskstore_ps(correction + base, mask, c);
    _mm256_maskstore_ps(l + base, mask, new_l);
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
  __m256 sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const __m256 c = _mm256_broadcast_ss(block.correction + r);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = _mm256_mul_ps(_mm256_loadu_ps(o + r * o_stride + v * kVector), c);
    }
  }
  const std::int64_t end = block.end;
#pragma GCC unroll 4
  for (std::int64_t j = block.first; j < end; ++j) {
    if (next != nullptr) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        if (begins_line<T>(v * kVector)) prefetch(next + j * stride + v * kVector);
      }
    }
    multiply_add(
        sum, [=](int r) { return _mm256_broadcast_ss(p + r * kPage + j); },
        [=](int v) {
          return by_scale<T>(load(values + j * stride + v * kVector), block.scales,
                             j * block.scale_stride + (column + v * kVector) / kCodesPerScale);
        });
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(o + r * o_stride + v * kVector, sum[r][v]);
    }
  }
}

// The last n columns, fewer than a vector.
template <typename T, int kRows>
inline void accumulate_tail(const ValueSum<T>& block, std::int64_t column, float* o) {
  const std::int64_t n = block.columns - column;
  const __m256i mask = first_lanes(n);
  __m256 sum[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    sum[r] = _mm256_mul_ps(_mm256_maskload_ps(o + r * block.o_stride, mask),
                           _mm256_broadcast_ss(block.correction + r));
  }
  for (std::int64_t j = block.first; j < block.end; ++j) {
    const __m256 value =
        by_scale<T>(load_some(block.values + j * block.value_stride + column, n), block.scales,
                    j * block.scale_stride + column / kCodesPerScale);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      sum[r] = _mm256_fmadd_ps(_mm256_broadcast_ss(block.p + r * kPage + j), value, sum[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) _mm256_maskstore_ps(o + r * block.o_stride, mask, sum[r]);
}

template <typename T, int kRows>
void accumulate_block(const ValueSum<T>& block) {
  constexpr int kVectors = kRows == 1 ? 8 : kRows <= 3 ? 4 : 2;
  float* const o = block.o;
  std::int64_t d = 0;
  for (; d + kVectors * kVector <= block.columns; d += kVectors * kVector) {
    accumulate_columns<T, kRows, kVectors>(block, d, o + d);
  }
  for (; d + kVector <= block.columns; d += kVector) {
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
    const __m256 sum = _mm256_broadcast_ss(l + row);
    std::int64_t d = 0;
    for (; d + kVector <= head_dim; d += kVector) {
      _mm256_storeu_ps(out + d, _mm256_div_ps(_mm256_loadu_ps(o + d), sum));
    }
    if (d == head_dim) continue;
    const __m256 quotient = _mm256_div_ps(load_some(o + d, head_dim - d), sum);
    _mm256_maskstore_ps(out + d, first_lanes(head_dim - d), quotient);
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

const AttentionTable& attention_table_avx2() { return kTable; }

}  // namespace sampan
