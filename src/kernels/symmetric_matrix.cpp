#include "kernels/symmetric_matrix.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/matmul.h"

namespace sampan {

SymmetricMatrix::SymmetricMatrix(std::int64_t size) : size_(size) {
  SAMPAN_CHECK(size >= 1);
  for (std::int64_t first = 0; first < size; first += kPanelColumns) {
    const std::int64_t columns = std::min(kPanelColumns, size - first);
    panels_.emplace_back(static_cast<std::size_t>((size - first) * columns) * sizeof(float));
  }
}

std::int64_t SymmetricMatrix::bytes(std::int64_t size) {
  std::int64_t floats = 0;
  for (std::int64_t first = 0; first < size; first += kPanelColumns) {
    floats += (size - first) * std::min(kPanelColumns, size - first);
  }
  return floats * static_cast<std::int64_t>(sizeof(float));
}

std::int64_t SymmetricMatrix::end(std::int64_t panel) const {
  return std::min(size_, (panel + 1) * kPanelColumns);
}

float SymmetricMatrix::at(std::int64_t row, std::int64_t column) const {
  SAMPAN_CHECK(0 <= column && column <= row && row < size_);
  const std::int64_t panel = column / kPanelColumns;
  return data(panel)[(row - begin(panel)) * width(panel) + column - begin(panel)];
}

void SymmetricMatrix::add_products(const float* x, std::int64_t count, ThreadPool& pool) {
  add_products(x, count, 1.0f, 0, pool);
}

void SymmetricMatrix::add_products(const float* x, std::int64_t count, float sign,
                                   std::int64_t first_panel, ThreadPool& pool) {
  if (first_panel == panels()) return;
  const std::int64_t first_row = begin(first_panel);
  Buffer products(static_cast<std::size_t>((size_ - first_row) * kPanelColumns) * sizeof(float));
  Activations rows;
  for (std::int64_t panel = first_panel; panel < panels(); ++panel) {
    const std::int64_t columns = width(panel), height = size_ - begin(panel);
    const float* const own = x + (begin(panel) - first_row) * count;
    rows.set(own, height, count);
    const TensorView view = {
        DType::kF32, {columns, count}, reinterpret_cast<const std::byte*>(own)};
    matmul(WeightMatrix::make(view, pool), rows, products.as<float>(), columns, pool);
    pool.parallel_for(height, [&](std::int64_t row, int) {
      float* const to = data(panel) + row * columns;
      const float* const from = products.as<float>() + row * columns;
      for (std::int64_t i = 0; i < columns; ++i) to[i] += sign * from[i];
    });
  }
}

}  // namespace sampan
