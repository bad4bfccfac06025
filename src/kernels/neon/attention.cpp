#include "kernels/attention_table.h"
#include "kernels/lanes.h"
#include "kernels/neon/vector_math.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = 64;
constexpr int kPageVectors = 16;

// Two registers: the numbers that one load of 8-bit codes or of binary16 gives.
struct Eight {
  float32x4_t low;
  float32x4_t high;
};
constexpr std::int64_t kEight = 8;

inline Eight eight_of(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }

inline Eight load(const float* x) { return {vld1q_f32(x), vld1q_f32(x + kVector)}; }
inline Eight load(const std::uint16_t* x) {
  const float16x8_t halves = vreinterpretq_f16_u16(vld1q_u16(x));
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}
inline Eight load(const std::int8_t* x) {
  const int16x8_t codes = vmovl_s8(vld1_s8(x));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes))), vcvtq_f32_s32(vmovl_high_s16(codes))};
}
inline void store(float* x, const Eight& v) {
  vst1q_f32(x, v.low);
  vst1q_f32(x + kVector, v.high);
}

inline Eight add(const Eight& a, const Eight& b) {
  return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}
inline Eight multiply(const Eight& a, const Eight& b) {
  return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}
inline Eight multiply(const Eight& a, float b) {
  return {vmulq_n_f32(a.low, b), vmulq_n_f32(a.high, b)};
}
// sum = fma(a, b, sum).
inline void multiply_add(Eight& sum, const Eight& a, const Eight& b) {
  sum = {vfmaq_f32(sum.low, a.low, b.low), vfmaq_f32(sum.high, a.high, b.high)};
}
inline void multiply_add(Eight& sum, float a, const Eight& b) {
  sum = {vfmaq_n_f32(sum.low, b.low, a), vfmaq_n_f32(sum.high, b.high, a)};
}

// Codes times their scales: those of their lanes at scales[index …], or one for all lanes at
// scales[index]. Other numbers have none.
template <typename T>
inline Eight by_lane_scales(const Eight& x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return multiply(x, load(scales + index));
}
template <typename T>
inline Eight by_scale(const Eight& x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return multiply(x, scales[index]);
}

template <typename T>
inline void prefetch_row(const T* x, std::int64_t n) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < n; i += kLine) __builtin_prefetch(x + i);
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

// Rows a block: 6 rows of two Eights each take 24 of the 32 registers.
constexpr int kMaxBlockRows = 6;

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
  constexpr int kEights = 2 * kCount;
  Eight dot[kRows][kEights];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kEights; ++v) dot[r][v] = eight_of(0.0f);
  }
  for (std::int64_t d = 0; d < head_dim; ++d) {
    if (page.next != nullptr && begins_line<T>(d * kLanes)) {
#pragma GCC unroll 8
      for (int g = 0; g < kCount; ++g) {
        __builtin_prefetch(page.next + (g * head_dim + d) * kLanes);
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < kEights; ++v) {
      const std::int64_t lane = v % 2 * kEight;
      const std::int64_t group = v / 2;
      const Eight keys =
          by_lane_scales<T>(load(page.keys + (group * head_dim + d) * kLanes + lane), page.scales,
                            (group * page.scale_columns + d / kCodesPerScale) * kLanes + lane);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) multiply_add(dot[r][v], q[r * head_dim + d], keys);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kEights; ++v) store(scores + r * kPage + v * kEight, dot[r][v]);
  }
}

template <typename T, int kRows>
void score_block(const float* q, std::int64_t head_dim, const PageKeys<T>& page, std::int64_t first,
                 std::int64_t end, float* scores) {
  constexpr int kCount = kRows <= 3 ? 2 : 1;
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

// Rows a block of dot: 3 rows by 4 positions are 12 sums, an Eight each, for half of the 16 virtual
// lanes at a time.
constexpr int kDotRows = 3;

// sum[r][j] = lanes [half, half + 8) of the dots.
template <typename T, int kRows>
[[gnu::always_inline]] inline void dot_lanes(const float* q, std::int64_t width,
                                             const PageKeys<T>& page, std::int64_t half,
                                             Eight (&sum)[kRows][kDotPositions]) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < kDotPositions; ++j) sum[r][j] = eight_of(0.0f);
  }
  for (std::int64_t d = half; d < width; d += kLanes) {
    Eight x[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) x[r] = load(q + r * width + d);
#pragma GCC unroll 8
    for (int j = 0; j < kDotPositions; ++j) {
      const Eight keys = by_scale<T>(load(page.keys + j * width + d), page.scales,
                                     j * page.scale_columns + d / kCodesPerScale);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) multiply_add(sum[r][j], x[r], keys);
    }
  }
}

// The four sums of lanes of v by the tree of kernels/lanes.h, from 8 lanes on.
inline float32x4_t fold_four(const Eight (&v)[kDotPositions]) {
  float32x2_t two[kDotPositions];
#pragma GCC unroll 8
  for (int j = 0; j < kDotPositions; ++j) {
    const float32x4_t four = vaddq_f32(v[j].low, v[j].high);
    two[j] = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  }
  return vpaddq_f32(vcombine_f32(two[0], two[1]), vcombine_f32(two[2], two[3]));
}

// kDotPositions positions.
template <typename T, int kRows>
inline void dot_group(const float* q, std::int64_t width, const PageKeys<T>& page, float* scores) {
  Eight first[kRows][kDotPositions];
  Eight second[kRows][kDotPositions];
  dot_lanes(q, width, page, 0, first);
  dot_lanes(q, width, page, kEight, second);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < kDotPositions; ++j) first[r][j] = add(first[r][j], second[r][j]);
    vst1q_f32(scores + r * kPage, fold_four(first[r]));
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

// All ones where positions first <= j < end of those of vector v are.
inline uint32x4_t visible_positions(int v, std::int32_t first, std::int32_t end) {
  static constexpr std::int32_t kNumbers[kVector] = {0, 1, 2, 3};
  const int32x4_t j = vaddq_s32(vld1q_s32(kNumbers), vdupq_n_s32(v * kVector));
  return vandq_u32(vcgeq_s32(j, vdupq_n_s32(first)), vcltq_s32(j, vdupq_n_s32(end)));
}

// Scores of one row to weights; returns their sum and moves m on.
inline float softmax_row(float* scores, float scale, std::int32_t first, std::int32_t end,
                         float* m) {
  const float32x4_t lowest = vdupq_n_f32(-__builtin_inff());
  float32x4_t s[kPageVectors];
  float32x4_t top = lowest;
  for (int v = 0; v < kPageVectors; ++v) {
    const float32x4_t scaled = vmulq_n_f32(vld1q_f32(scores + v * kVector), scale);
    s[v] = vbslq_f32(visible_positions(v, first, end), scaled, lowest);
    top = vmaxnmq_f32(top, s[v]);  // a NaN is not the highest
  }
  const float highest_here = vmaxnmvq_f32(top);
  const float highest = highest_here > *m ? highest_here : *m;
  *m = highest;
  float32x4_t lanes[4];
  for (float32x4_t& four : lanes) four = vdupq_n_f32(0.0f);
#pragma GCC unroll 4
  for (int v = 0; v < kPageVectors; ++v) {
    const uint32x4_t p = vreinterpretq_u32_f32(exp_lanes(vsubq_f32(s[v], vdupq_n_f32(highest))));
    const float32x4_t weights =
        vreinterpretq_f32_u32(vandq_u32(p, visible_positions(v, first, end)));
    vst1q_f32(scores + v * kVector, weights);
    lanes[v % 4] = vaddq_f32(lanes[v % 4], weights);
  }
  return fold_lanes(lanes);
}

void softmax(float* scores, std::int64_t rows, float scale, const std::int32_t* first,
             const std::int32_t* end, float* m, float* l, float* correction) {
  for (std::int64_t base = 0; base < rows; base += kVector) {
    const std::int64_t n = rows - base < kVector ? rows - base : kVector;
    const float32x4_t old_m = load_some(m + base, n);
    float sum[kVector] = {};
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t row = base + i;
      sum[i] = softmax_row(scores + row * kPage, scale, first[row], end[row], m + row);
    }
    const float32x4_t c = exp_lanes(vsubq_f32(old_m, load_some(m + base, n)));
    store_some(correction + base, c, n);
    store_some(l + base, vfmaq_f32(vld1q_f32(sum), load_some(l + base, n), c), n);
  }
}

// kEights times 8 columns.
template <typename T, int kRows, int kEights>
inline void accumulate_columns(const ValueSum<T>& block, std::int64_t column, float* o) {
  const T* const values = block.values + column;
  const T* const next = at(block.next, column);
  Eight sum[kRows][kEights];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kEights; ++v) {
      sum[r][v] = multiply(load(o + r * block.o_stride + v * kEight), block.correction[r]);
    }
  }
  const float* const p = block.p;
  const std::int64_t stride = block.value_stride;
  for (std::int64_t j = block.first; j < block.end; ++j) {
#pragma GCC unroll 8
    for (int v = 0; v < kEights; ++v) {
      if (next != nullptr && begins_line<T>(v * kEight)) {
        __builtin_prefetch(next + j * stride + v * kEight);
      }
      const Eight value =
          by_scale<T>(load(values + j * stride + v * kEight), block.scales,
                      j * block.scale_stride + (column + v * kEight) / kCodesPerScale);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) multiply_add(sum[r][v], p[r * kPage + j], value);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kEights; ++v) store(o + r * block.o_stride + v * kEight, sum[r][v]);
  }
}

// The last columns, fewer than 8: as 8 of which those that are not there are zeros.
template <typename T, int kRows>
inline void accumulate_tail(const ValueSum<T>& block, std::int64_t column, float* o) {
  const auto n = static_cast<std::size_t>(block.columns - column);
  T values[kPage * kEight] = {};
  float sums[kRows * kEight] = {};
  for (std::int64_t j = block.first; j < block.end; ++j) {
    __builtin_memcpy(values + j * kEight, block.values + j * block.value_stride + column,
                     n * sizeof(T));
  }
  for (int r = 0; r < kRows; ++r) {
    __builtin_memcpy(sums + r * kEight, o + r * block.o_stride, n * sizeof(float));
  }
  ValueSum<T> padded = block;
  padded.values = values;
  padded.value_stride = kEight;
  padded.scales = at(block.scales, column / kCodesPerScale);
  padded.next = nullptr;
  padded.o_stride = kEight;
  accumulate_columns<T, kRows, 1>(padded, 0, sums);
  for (int r = 0; r < kRows; ++r) {
    __builtin_memcpy(o + r * block.o_stride, sums + r * kEight, n * sizeof(float));
  }
}

template <typename T, int kRows>
void accumulate_block(const ValueSum<T>& block) {
  constexpr int kEights = kRows == 1 ? 8 : kRows <= 3 ? 4 : 2;
  float* const o = block.o;
  std::int64_t d = 0;
  for (; d + kEights * kEight <= block.columns; d += kEights * kEight) {
    accumulate_columns<T, kRows, kEights>(block, d, o + d);
  }
  for (; d + kEight <= block.columns; d += kEight) {
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
    const float32x4_t sum = vdupq_n_f32(l[row]);
    std::int64_t d = 0;
    for (; d + kVector <= head_dim; d += kVector) {
      vst1q_f32(out + d, vdivq_f32(vld1q_f32(o + d), sum));
    }
    if (d == head_dim) continue;
    const std::int64_t n = head_dim - d;
    store_some(out + d, vdivq_f32(load_some(o + d, n), sum), n);
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

const AttentionTable& attention_table_neon() { return kTable; }

}  // namespace sampan
