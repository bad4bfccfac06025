#pragma once

#include <cstdint>

#include "kernels/attention_table.h"
#include "kernels/lanes.h"
#include "kernels/unroll.h"
#include "kernels/vectors/exp.h"
#include "kernels/vectors/sums.h"

// AttentionTable (kernels/attention_table.h) for any registers of floats.
namespace sampan {
namespace {

constexpr std::int64_t kPage = 64;
constexpr int kPageVectors = kPage / kVector;

// Codes times their scales: those of their lanes at scales[index …], or one for all lanes at
// scales[index]. Other numbers have none.
template <typename T>
inline Floats by_lane_scales(Floats x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return multiply(x, load(scales + index));
}
template <typename T>
inline Floats by_scale(Floats x, const float* scales, std::int64_t index) {
  if constexpr (sizeof(T) != 1) return x;
  return multiply(x, broadcast(scales[index]));
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

// --- score

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
  Sums<kRows, kCount * kLaneVectors> dots;
  for_sums<kRows, kCount * kLaneVectors>(
      dots, [](int, int, Floats& dot) SAMPAN_INLINE { dot = zeros(); });
  for (std::int64_t d = 0; d < head_dim; ++d) {
    if (page.next != nullptr && begins_line<T>(d * kLanes)) {
      unroll<kCount>([&](auto g) SAMPAN_INLINE {
        prefetch(page.next + (decltype(g)::value * head_dim + d) * kLanes);
      });
    }
    add_products<kRows, kCount * kLaneVectors>(
        dots, [=](int r) SAMPAN_INLINE { return broadcast(q[r * head_dim + d]); },
        [=](int v) SAMPAN_INLINE {
          const std::int64_t group = v / kLaneVectors, lane = v % kLaneVectors * kVector;
          return by_lane_scales<T>(
              load(page.keys + (group * head_dim + d) * kLanes + lane), page.scales,
              (group * page.scale_columns + d / kCodesPerScale) * kLanes + lane);
        });
  }
  for_sums<kRows, kCount * kLaneVectors>(dots, [=](int r, int v, Floats& dot) SAMPAN_INLINE {
    store(scores + r * kPage + v * kVector, dot);
  });
}

// Groups [first, end), kCount at a time and the rest fewer.
template <typename T, int kRows, int kCount>
inline void score_some(const float* q, std::int64_t head_dim, const PageKeys<T>& page,
                       std::int64_t first, std::int64_t end, float* scores) {
  std::int64_t g = first;
  for (; g + kCount <= end; g += kCount) {
    score_groups<T, kRows, kCount>(q, head_dim, from_group(page, head_dim, g), scores + g * kLanes);
  }
  if constexpr (kCount > 1) score_some<T, kRows, kCount / 2>(q, head_dim, page, g, end, scores);
}

template <typename T, int kRows>
void score_block(const float* q, std::int64_t head_dim, const PageKeys<T>& page, std::int64_t first,
                 std::int64_t end, float* scores) {
  constexpr int kCount = times_at_once<kRows * kLaneVectors, kPage / kLanes>();
  score_some<T, kRows, kCount>(q, head_dim, page, first, end, scores);
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

// --- dot

// Rows a block: by kDotPositions positions their sums, one register of lanes at a time, fit.
constexpr int kDotRows = kRegisters == 16 ? 3 : 4;

// sums[r][j] = register kLane of the lanes of the dots.
template <typename T, int kRows, int kLane>
SAMPAN_INLINE inline void dot_lanes(const float* q, std::int64_t width, const PageKeys<T>& page,
                                    Sums<kRows, kDotPositions>& sums) {
  for_sums<kRows, kDotPositions>(sums, [](int, int, Floats& sum) SAMPAN_INLINE { sum = zeros(); });
  for (std::int64_t d = kLane * kVector; d < width; d += kLanes) {
    add_products<kRows, kDotPositions>(
        sums, [=](int r) SAMPAN_INLINE { return load(q + r * width + d); },
        [=](int j) SAMPAN_INLINE {
          return by_scale<T>(load(page.keys + j * width + d), page.scales,
                             j * page.scale_columns + d / kCodesPerScale);
        });
  }
}

// kDotPositions positions.
template <typename T, int kRows>
inline void dot_group(const float* q, std::int64_t width, const PageKeys<T>& page, float* scores) {
  Sums<kRows, kDotPositions> sums[kLaneVectors];
  unroll<kLaneVectors>([&](auto v) SAMPAN_INLINE {
    dot_lanes<T, kRows, decltype(v)::value>(q, width, page, sums[decltype(v)::value]);
  });
  // The steps of the tree that add whole registers.
  const auto halve = [&](auto half) SAMPAN_INLINE {
    unroll<decltype(half)::value>([&](auto v) SAMPAN_INLINE {
      for_sums<kRows, kDotPositions>(
          sums[decltype(v)::value], [&](int r, int j, Floats& sum) SAMPAN_INLINE {
            sum = add(sum, sums[decltype(v)::value + decltype(half)::value][r][j]);
          });
    });
  };
  if constexpr (kLaneVectors == 4) halve(Index<2>{});
  if constexpr (kLaneVectors >= 2) halve(Index<1>{});
  unroll<kRows>([&](auto r) SAMPAN_INLINE {
    fold_four(sums[0][decltype(r)::value], scores + decltype(r)::value * kPage);
  });
}

// Which of kDotPositions positions a block prefetches: every `step`th from `first` on.
struct Share {
  std::int64_t first;
  std::int64_t step;
};

template <typename T>
inline void prefetch_row(const T* x, std::int64_t n) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < n; i += kLine) prefetch(x + i);
}

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
  static constexpr Block kBlocks[] = {dot_block<T, 1>, dot_block<T, 2>, dot_block<T, 3>,
                                      dot_block<T, kDotRows>};
  const std::int64_t blocks = (rows + kDotRows - 1) / kDotRows;
  for_blocks<kDotRows>(rows, [&](std::int64_t row, std::int64_t n) {
    kBlocks[n - 1](q + row * width, width, page, first_group, end_group,
                   {(row + n - 1) / kDotRows, blocks}, scores + row * kPage);
  });
}

// --- softmax

// Scores of a row, scaled; those that it does not see are -infinity.
template <bool kSeesAll>
class RowScores {
 public:
  RowScores(const float* scores, float scale, std::int32_t first, std::int32_t end)
      : scores_(scores), scale_(broadcast(scale)), first_(first), end_(end) {}

  Floats vector(int v) const {
    const Floats scaled = multiply(load(scores_ + v * kVector), scale_);
    if constexpr (kSeesAll) return scaled;
    return choose(visible(v), scaled, broadcast(-__builtin_inff()));
  }
  // Zeros where the row sees nothing.
  Floats keep_visible(Floats p, int v) const {
    if constexpr (kSeesAll) return p;
    return keep_where(visible(v), p);
  }

 private:
  Mask visible(int v) const { return is_within(first_ - v * kVector, end_ - v * kVector); }

  const float* scores_;
  Floats scale_;
  std::int32_t first_;
  std::int32_t end_;
};

template <bool kSeesAll>
inline float highest_score(const RowScores<kSeesAll>& row) {
  Floats top = row.vector(0);
#pragma GCC unroll 8
  for (int v = 1; v < kPageVectors; ++v) top = maximum(top, row.vector(v));
  return highest_lane(top);
}

// Scores of a row to weights; returns their sum.
template <bool kSeesAll>
inline float weigh(const RowScores<kSeesAll>& row, float highest, float* weights) {
  Floats lanes[kLaneVectors];
  for (Floats& lane : lanes) lane = zeros();
#pragma GCC unroll 8
  for (int v = 0; v < kPageVectors; ++v) {
    const Floats x = subtract(row.vector(v), broadcast(highest));
    const Floats p = row.keep_visible(exp_lanes<ExpRange::kNotPositive>(x), v);
    store(weights + v * kVector, p);
    lanes[v % kLaneVectors] = add(lanes[v % kLaneVectors], p);
  }
  return fold_lanes(lanes);
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
    const Floats old_m = load_some(m + base, n);
    float sum[kVector] = {};
    bool sees_all = true;
    for (std::int64_t i = base; i < base + n; ++i) sees_all &= first[i] == 0 && end[i] == kPage;
    const auto rows_to_weights = sees_all ? softmax_rows<true> : softmax_rows<false>;
    rows_to_weights(scores + base * kPage, n, scale, first + base, end + base, m + base, sum);
    const Floats c = exp_lanes<ExpRange::kNotPositive>(subtract(old_m, load_some(m + base, n)));
    store_some(correction + base, c, n);
    store_some(l + base, add_product(load_some(l + base, n), c, load(sum)), n);
  }
}

// --- accumulate

// kVectors whole registers of columns.
template <typename T, int kRows, int kVectors>
inline void accumulate_columns(const ValueSum<T>& block, std::int64_t column, float* o) {
  const T* const values = block.values + column;
  const T* const next = at(block.next, column);
  const std::int64_t stride = block.value_stride;
  const std::int64_t o_stride = block.o_stride;
  const float* const p = block.p;
  Sums<kRows, kVectors> sums;
  for_sums<kRows, kVectors>(sums, [&](int r, int v, Floats& sum) SAMPAN_INLINE {
    sum = multiply(load(o + r * o_stride + v * kVector), broadcast(block.correction[r]));
  });
  const std::int64_t end = block.end;
#pragma GCC unroll 4
  for (std::int64_t j = block.first; j < end; ++j) {
    if (next != nullptr) {
      unroll<kVectors>([&](auto v) SAMPAN_INLINE {
        constexpr int kColumn = decltype(v)::value * kVector;
        if (begins_line<T>(kColumn)) prefetch(next + j * stride + kColumn);
      });
    }
    add_products<kRows, kVectors>(
        sums, [=](int r) SAMPAN_INLINE { return broadcast(p[r * kPage + j]); },
        [=](int v) SAMPAN_INLINE {
          return by_scale<T>(load(values + j * stride + v * kVector), block.scales,
                             j * block.scale_stride + (column + v * kVector) / kCodesPerScale);
        });
  }
  for_sums<kRows, kVectors>(sums, [=](int r, int v, Floats& sum) SAMPAN_INLINE {
    store(o + r * o_stride + v * kVector, sum);
  });
}

// The last columns, fewer than a register's.
template <typename T, int kRows>
inline void accumulate_tail(const ValueSum<T>& block, std::int64_t column, float* o) {
  const std::int64_t n = block.columns - column;
  Sums<kRows, 1> sums;
  for_sums<kRows, 1>(sums, [&](int r, int, Floats& sum) SAMPAN_INLINE {
    sum = multiply(load_some(o + r * block.o_stride, n), broadcast(block.correction[r]));
  });
  for (std::int64_t j = block.first; j < block.end; ++j) {
    const Floats value =
        by_scale<T>(load_some(block.values + j * block.value_stride + column, n), block.scales,
                    j * block.scale_stride + column / kCodesPerScale);
    for_sums<kRows, 1>(sums, [&](int r, int, Floats& sum) SAMPAN_INLINE {
      sum = add_product(broadcast(block.p[r * kPage + j]), value, sum);
    });
  }
  for_sums<kRows, 1>(sums, [&](int r, int, Floats& sum)
                               SAMPAN_INLINE { store_some(o + r * block.o_stride, sum, n); });
}

// All columns from `column` on, kVectors registers at a time and the rest fewer.
template <typename T, int kRows, int kVectors>
inline void accumulate_from(const ValueSum<T>& block, std::int64_t column) {
  for (; column + kVectors * kVector <= block.columns; column += kVectors * kVector) {
    accumulate_columns<T, kRows, kVectors>(block, column, block.o + column);
  }
  if constexpr (kVectors > 1) {
    accumulate_from<T, kRows, kVectors / 2>(block, column);
  } else if (column < block.columns) {
    accumulate_tail<T, kRows>(block, column, block.o + column);
  }
}

template <typename T, int kRows>
void accumulate_block(const ValueSum<T>& block) {
  accumulate_from<T, kRows, times_at_once<kRows, 8>()>(block, 0);
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

void divide_rows(const float* o, const float* l, std::int64_t rows, std::int64_t head_dim,
                 float* out) {
  for (std::int64_t row = 0; row < rows; ++row, o += head_dim, out += head_dim) {
    const Floats sum = broadcast(l[row]);
    std::int64_t d = 0;
    for (; d + kVector <= head_dim; d += kVector) store(out + d, divide(load(o + d), sum));
    if (d == head_dim) continue;
    const std::int64_t n = head_dim - d;
    store_some(out + d, divide(load_some(o + d, n), sum), n);
  }
}

constexpr AttentionTable kAttentionTable = {
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
    .divide = divide_rows,
};

}  // namespace
}  // namespace sampan
