#include "kernels/compensation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/block_codec.h"
#include "kernels/block_codes.h"
#include "kernels/matmul.h"

namespace sampan {
namespace {

// Cholesky of a panel's own columns, in place (width, width; the upper half is left as it is). No
// pivot of a damped matrix is below its damping, but by rounding errors.
void factor_diagonal(float* a, std::int64_t width, float least_pivot) {
  std::vector<double> l(static_cast<std::size_t>(width * width));
  for (std::int64_t i = 0; i < width; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      double sum = static_cast<double>(a[i * width + j]);
      for (std::int64_t k = 0; k < j; ++k) {
        sum -=
            l[static_cast<std::size_t>(i * width + k)] * l[static_cast<std::size_t>(j * width + k)];
      }
      const double value = i == j ? std::sqrt(std::max(sum, static_cast<double>(least_pivot)))
                                  : sum / l[static_cast<std::size_t>(j * width + j)];
      l[static_cast<std::size_t>(i * width + j)] = value;
      a[i * width + j] = static_cast<float>(value);
    }
  }
}

float as_encoded(float value) {
  if (std::isnan(value)) return 0.0f;
  constexpr float kMax = std::numeric_limits<float>::max();
  return std::clamp(value, -kMax, kMax);
}

// y += scale x
void add_scaled(float scale, const float* x, std::int64_t count, float* y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] += scale * x[i];
}

}  // namespace

Compensation::Compensation(SymmetricMatrix moments, ThreadPool& pool)
    : factor_(std::move(moments)), weights_(static_cast<std::size_t>(factor_.size())) {
  double trace = 0;
  for (std::int64_t j = 0; j < columns(); ++j) trace += static_cast<double>(factor_.at(j, j));
  SAMPAN_CHECK(std::isfinite(trace) && trace > 0);
  const auto damping = static_cast<float>(kDamping * trace / static_cast<double>(columns()));
  for (std::int64_t panel = 0; panel < factor_.panels(); ++panel) {
    const std::int64_t width = factor_.width(panel);
    for (std::int64_t j = 0; j < width; ++j) factor_.data(panel)[j * width + j] += damping;
  }
  for (std::int64_t panel = 0; panel < factor_.panels(); ++panel) {
    factor_panel(panel, damping, pool);
  }
  for (std::int64_t panel = 0; panel < factor_.panels(); ++panel) turn_panel(panel);
}

// Cholesky of a panel's columns, then what they mean for the panels behind.
void Compensation::factor_panel(std::int64_t panel, float least_pivot, ThreadPool& pool) {
  const std::int64_t width = factor_.width(panel);
  float* const own = factor_.data(panel);
  factor_diagonal(own, width, least_pivot);
  std::vector<float> turned(static_cast<std::size_t>(width * width));  // L_kj by j
  for (std::int64_t j = 0; j < width; ++j) {
    const float pivot = own[j * width + j];
    weights_[static_cast<std::size_t>(factor_.begin(panel) + j)] = pivot * pivot;
    for (std::int64_t k = j; k < width; ++k) {
      turned[static_cast<std::size_t>(j * width + k)] = own[k * width + j];
    }
  }
  float* const behind = own + width * width;
  pool.parallel_for(columns() - factor_.end(panel), [&](std::int64_t index, int) {
    float* const row = behind + index * width;
    for (std::int64_t j = 0; j < width; ++j) {
      const float* const l = turned.data() + j * width;
      row[j] /= l[j];
      const float value = row[j];
      for (std::int64_t k = j + 1; k < width; ++k) row[k] -= value * l[k];
    }
  });
  factor_.add_products(behind, width, -1.0f, panel + 1, pool);
}

void Compensation::turn_panel(std::int64_t panel) {
  const std::int64_t width = factor_.width(panel);
  const std::int64_t count = columns() - factor_.end(panel);
  float* const own = factor_.data(panel);
  float* const behind = own + width * width;
  const std::vector<float> rows(behind, behind + count * width);
  for (std::int64_t j = 0; j < width; ++j) {
    const float pivot = own[j * width + j];
    for (std::int64_t i = j + 1; i < width; ++i) own[i * width + j] /= pivot;
    for (std::int64_t i = 0; i < count; ++i) {
      behind[j * count + i] = rows[static_cast<std::size_t>(i * width + j)] / pivot;
    }
  }
}

void Compensation::quantize_rows(DType dtype, float* values, std::int64_t count, std::byte* out,
                                 ThreadPool& pool) const {
  SAMPAN_CHECK(has_codes(dtype) && columns() % dtype_info(dtype).block_elements == 0);
  const std::int64_t out_bytes = row_bytes(dtype, columns());
  pool.parallel_for(count, [&](std::int64_t i, int) {
    float* const row = values + i * columns();
    std::transform(row, row + columns(), row, as_encoded);
  });
  Buffer made_good(static_cast<std::size_t>(count * SymmetricMatrix::kPanelColumns) *
                   sizeof(float));
  Activations errors;  // in the columns that are rounded
  for (std::int64_t panel = factor_.panels() - 1; panel >= 0; --panel) {
    const std::int64_t width = factor_.width(panel), end = factor_.end(panel);
    if (end < columns()) {
      errors.set(values, count, columns());
      const auto* const behind =
          reinterpret_cast<const std::byte*>(factor_.data(panel) + width * width);
      const WeightMatrix w =
          WeightMatrix::make({DType::kF32, {width, columns() - end}, behind}, pool);
      const MatmulTask task = {&w, 0, count, end, made_good.as<float>(), width};
      matmul_tasks({&task, 1}, errors, pool);
    }
    pool.parallel_for(count, [&](std::int64_t i, int) {
      quantize_panel(dtype, panel, values + i * columns(), made_good.as<float>() + i * width,
                     out + i * out_bytes);
    });
  }
}

// row: the values, which become errors.
void Compensation::quantize_panel(DType dtype, std::int64_t panel, float* row,
                                  const float* made_good, std::byte* out) const {
  const std::int64_t width = factor_.width(panel), first = factor_.begin(panel);
  const std::int64_t block = dtype_info(dtype).block_elements;
  float wanted[SymmetricMatrix::kPanelColumns];
  for (std::int64_t j = 0; j < width; ++j) wanted[j] = row[first + j] + made_good[j];
  for (std::int64_t begin = width - block; begin >= 0; begin -= block) {
    quantize_block(dtype, panel, begin, row + first, wanted, out + row_bytes(dtype, first + begin));
  }
}

// The block from column `begin` of a panel on. values (width): of the row, those behind the block
// are errors by now; wanted: what its columns make good so far.
void Compensation::quantize_block(DType dtype, std::int64_t panel, std::int64_t begin,
                                  float* values, float* wanted, std::byte* out) const {
  const std::int64_t width = factor_.width(panel);
  const std::int64_t block = dtype_info(dtype).block_elements;
  // L_ij / L_jj by j for column begin + i
  const auto shares = [&](std::int64_t i) { return factor_.data(panel) + (begin + i) * width; };

  // What the columns would be if none of the block were rounded: its scales are chosen for that.
  float whole[SymmetricMatrix::kPanelColumns];
  std::copy(wanted + begin, wanted + begin + block, whole);
  for (std::int64_t i = block - 1; i >= 0; --i) {
    add_scaled(values[begin + i] - whole[i], shares(i) + begin, i, whole);
  }
  const float* const weights = weights_.data() + factor_.begin(panel) + begin;
  quantize_row(dtype, whole, block, weights, out);

  std::uint8_t codes[SymmetricMatrix::kPanelColumns];
  read_codes(dtype, out, codes);
  const BlockGrid grid = read_grid(dtype, out);
  for (std::int64_t i = block - 1; i >= 0; --i) {
    const auto element = static_cast<int>(i);
    const float target = wanted[begin + i];
    // A target that no rounding has moved keeps the encoder's code, ties and all.
    if (target != whole[i]) codes[i] = static_cast<std::uint8_t>(grid.nearest(element, target));
    values[begin + i] -= grid.value(element, codes[i]);
    add_scaled(values[begin + i], shares(i), begin + i, wanted);
  }
  write_codes(dtype, codes, out);
}

}  // namespace sampan
