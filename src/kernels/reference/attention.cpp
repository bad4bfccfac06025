#include <cmath>
#include <limits>

#include "kernels/attention_table.h"
#include "kernels/lanes.h"
#include "kernels/math.h"
#include "tensor/half.h"

namespace sampan {
namespace {

constexpr std::int64_t kPage = 64;

float widen(float value) { return value; }
float widen(std::uint16_t bits) { return f16_to_float(bits); }

template <typename T>
void score(const float* q, std::int64_t rows, std::int64_t head_dim, const T* keys,
           std::int64_t first_group, std::int64_t end_group, const T* /*next*/, float* scores) {
  for (std::int64_t row = 0; row < rows; ++row, q += head_dim, scores += kPage) {
    for (std::int64_t j = first_group * kLanes; j < end_group * kLanes; ++j) {
      const T* key = keys + j / kLanes * head_dim * kLanes + j % kLanes;
      float dot = 0.0f;
      for (std::int64_t d = 0; d < head_dim; ++d) {
        dot = std::fma(q[d], widen(key[d * kLanes]), dot);
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
void dot(const float* q, std::int64_t rows, std::int64_t width, const T* keys,
         std::int64_t first_group, std::int64_t end_group, const T* /*next*/, float* scores) {
  for (std::int64_t row = 0; row < rows; ++row, q += width, scores += kPage) {
    for (std::int64_t j = first_group * kDotPositions; j < end_group * kDotPositions; ++j) {
      float lane[kLanes] = {};
      for (std::int64_t d = 0; d < width; ++d) {
        lane[d % kLanes] = std::fma(q[d], widen(keys[j * width + d]), lane[d % kLanes]);
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
        total = std::fma(p[j], widen(sum.values[j * sum.value_stride + d]), total);
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
    score<float>,      score<std::uint16_t>,      dot<float>, dot<std::uint16_t>, softmax,
    accumulate<float>, accumulate<std::uint16_t>, divide};

}  // namespace

const AttentionTable& attention_table_reference() { return kTable; }

}  // namespace sampan
