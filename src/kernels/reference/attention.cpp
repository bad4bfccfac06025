#include <cmath>
#include <limits>

#include "kernels/attention_table.h"
#include "kernels/lanes.h"
#include "kernels/math.h"
#include "tensor/half.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = 64;

float widen(float value, float /*scale*/) { return value; }
float widen(std::uint16_t bits, float /*scale*/) { return f16_to_float(bits); }
float widen(std::int8_t code, float scale) { return static_cast<float>(code) * scale; }

// The scale of a code; of other numbers none is read.
template <typename T>
float scale_at(const float* scales, std::int64_t index) {
  return sizeof(T) == 1 ? scales[index] : 1.0f;
}

template <typename T>
void score(const float* q, std::int64_t rows, std::int64_t head_dim, const PageKeys<T>& page,
           std::int64_t first_group, std::int64_t end_group, float* scores) {
  for (std::int64_t row = 0; row < rows; ++row, q += head_dim, scores += kPage) {
    for (std::int64_t j = first_group * kLanes; j < end_group * kLanes; ++j) {
      const std::int64_t group = j / kLanes;
      const std::int64_t lane = j % kLanes;
      const T* key = page.keys + group * head_dim * kLanes + lane;
      float dot = 0.0f;
      for (std::int64_t d = 0; d < head_dim; ++d) {
        const std::int64_t scale = group * page.scale_columns + d / kCodesPerScale;
        dot = std::fma(
            q[d], widen(key[d * kLanes], scale_at<T>(page.scales, scale * kLanes + lane)), dot);
      }
      scores[j] = dot;
    }
  }
}

float fold(float* lane) {
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}

template <typename T>
void dot(const float* q, std::int64_t rows, std::int64_t width, const PageKeys<T>& page,
         std::int64_t first_group, std::int64_t end_group, float* scores) {
  for (std::int64_t row = 0; row < rows; ++row, q += width, scores += kPage) {
    for (std::int64_t j = first_group * kDotPositions; j < end_group * kDotPositions; ++j) {
      float lane[kLanes] = {};
      for (std::int64_t d = 0; d < width; ++d) {
        const float scale = scale_at<T>(page.scales, j * page.scale_columns + d / kCodesPerScale);
        lane[d % kLanes] = std::fma(q[d], widen(page.keys[j * width + d], scale), lane[d % kLanes]);
      }
      scores[j] = fold(lane);
    }
  }
}

void softmax(float* scores, std::int64_t rows, float scale, const std::int32_t* first,
             const std::int32_t* end, float* m, float* l, float* correction) {
  for (std::int64_t row = 0; row < rows; ++row, scores += kPage) {
    float highest = m[row];
    for (std::int64_t j = first[row]; j < end[row]; ++j) {
      scores[j] *= scale;
      if (scores[j] > highest) highest = scores[j];
    }
    float lane[kLanes] = {};
    for (std::int64_t j = 0; j < kPage; ++j) {
      const bool visible = j >= first[row] && j < end[row];
      scores[j] = visible ? exp_f32(scores[j] - highest) : 0.0f;
      lane[j % kLanes] += scores[j];
    }
    correction[row] = exp_f32(m[row] - highest);
    l[row] = std::fma(l[row], correction[row], fold(lane));
    m[row] = highest;
  }
}

template <typename T>
void accumulate(const ValueSum<T>& sum) {
  for (std::int64_t row = 0; row < sum.rows; ++row) {
    const float* const p = sum.p + row * kPage;
    float* const o = sum.o + row * sum.o_stride;
    for (std::int64_t d = 0; d < sum.columns; ++d) {
      float total = o[d] * sum.correction[row];
      for (std::int64_t j = sum.first; j < sum.end; ++j) {
        const float scale = scale_at<T>(sum.scales, j * sum.scale_stride + d / kCodesPerScale);
        total = std::fma(p[j], widen(sum.values[j * sum.value_stride + d], scale), total);
      }
      o[d] = total;
    }
  }
}

void divide(const float* o, const float* l, std::int64_t rows, std::int64_t head_dim, float* out) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t d = 0; d < head_dim; ++d) {
      out[row * head_dim + d] = o[row * head_dim + d] / l[row];
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

const AttentionTable& attention_table_reference() { return kTable; }

}  // namespace sampan
