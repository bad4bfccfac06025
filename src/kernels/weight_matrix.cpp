#include "kernels/weight_matrix.h"

#include <algorithm>
#include <cstring>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/job_runs.h"
#include "kernels/panels.h"
#include "kernels/quantized_panels.h"

namespace sampan {
namespace {

// Bytes below which copying rows is not worth waking other threads.
constexpr std::int64_t kSerialCopyBytes = 256 << 10;

// Rows of plain floats in the given order.
void copy_rows(const TensorView& source, std::span<const std::int64_t> row_order, std::byte* out,
               ThreadPool& pool) {
  const std::int64_t bytes = row_bytes(source.dtype, source.columns());
  const auto rows = static_cast<std::int64_t>(row_order.size());
  const std::int64_t rows_a_job = std::max<std::int64_t>(1, kSerialCopyBytes / bytes);
  for_each_job(ceil_div(rows, rows_a_job), pool, [&](std::int64_t job, int) {
    const std::int64_t end = std::min(rows, (job + 1) * rows_a_job);
    for (std::int64_t i = job * rows_a_job; i < end; ++i) {
      const std::int64_t from = row_order[static_cast<std::size_t>(i)];
      SAMPAN_CHECK(from >= 0 && from < source.rows());
      std::memcpy(out + i * bytes, source.data + from * bytes, static_cast<std::size_t>(bytes));
    }
  });
}

}  // namespace

ActivationKind activation_kind(DType weights) {
  switch (weights) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      return ActivationKind::kFloat;
    default:
      break;
  }
  switch (kPanelFormats[static_cast<int>(weights)].tile_columns) {
    case 32:
      return ActivationKind::kInt8Block32;
    case 256:
      return ActivationKind::kInt8Block256;
    default:
      fail(ErrorCode::kUnsupported, "no matrix product for weights of type {}",
           dtype_name(weights));
  }
}

WeightMatrix WeightMatrix::make(const TensorView& source, ThreadPool& pool) {
  return make(source, {}, pool);
}

WeightMatrix WeightMatrix::make(const TensorView& source, std::span<const std::int64_t> row_order,
                                ThreadPool& pool, const WeightAllocator& allocate) {
  const ActivationKind kind = activation_kind(source.dtype);
  WeightMatrix w;
  w.dtype_ = source.dtype;
  w.columns_ = source.columns();
  w.rows_ = row_order.empty() ? source.rows() : static_cast<std::int64_t>(row_order.size());
  SAMPAN_CHECK(w.rows_ >= 1 && w.columns_ >= 1);
  if (kind != ActivationKind::kFloat) {
    w.bytes_ = ceil_div(w.rows_, kPanelRows) * panel_bytes(source.dtype, w.columns_);
    const std::shared_ptr<std::byte> memory = allocate(static_cast<std::size_t>(w.bytes_));
    const PackTask task{source, row_order, memory.get()};
    pack_panels({&task, 1}, pool);
    w.owned_ = memory;
    w.data_ = memory.get();
    return w;
  }
  w.bytes_ = w.rows_ * row_bytes(source.dtype, w.columns_);
  w.data_ = source.data;
  if (!row_order.empty()) {
    const std::shared_ptr<std::byte> memory = allocate(static_cast<std::size_t>(w.bytes_));
    copy_rows(source, row_order, memory.get(), pool);
    w.owned_ = memory;
    w.data_ = memory.get();
  }
  return w;
}

std::vector<WeightMatrix> WeightMatrix::make_all(std::span<const TensorView> sources,
                                                 ThreadPool& pool,
                                                 const WeightAllocator& allocate) {
  std::vector<WeightMatrix> all;
  std::vector<PackTask> tasks;
  for (const TensorView& source : sources) {
    if (activation_kind(source.dtype) == ActivationKind::kFloat) {
      all.push_back(make(source, pool));
      continue;
    }
    WeightMatrix w;
    w.dtype_ = source.dtype;
    w.rows_ = source.rows();
    w.columns_ = source.columns();
    SAMPAN_CHECK(w.rows_ >= 1 && w.columns_ >= 1);
    w.bytes_ = owned_bytes_of(source);
    const std::shared_ptr<std::byte> memory = allocate(static_cast<std::size_t>(w.bytes_));
    tasks.push_back({source, {}, memory.get()});
    w.owned_ = memory;
    w.data_ = memory.get();
    all.push_back(std::move(w));
  }
  pack_panels(tasks, pool);
  return all;
}

WeightMatrix WeightMatrix::make(const QuantizedMatrix& source,
                                std::span<const std::int64_t> row_order, ThreadPool& pool,
                                const WeightAllocator& allocate) {
  WeightMatrix w;
  w.columns_ = source.columns();
  w.rows_ = row_order.empty() ? source.rows() : static_cast<std::int64_t>(row_order.size());
  w.column_order_.assign(source.column_order().begin(), source.column_order().end());
  const std::vector<DType> types = panel_types_for(source);
  auto type = std::find(types.begin(), types.end(), likely_panel_type(source, row_order));
  for (;; ++type) {
    SAMPAN_CHECK(type != types.end());
    w.dtype_ = *type;
    w.bytes_ = ceil_div(w.rows_, kPanelRows) * panel_bytes(*type, w.columns_);
    const std::shared_ptr<std::byte> memory = allocate(static_cast<std::size_t>(w.bytes_));
    if (!pack_panels(source, *type, row_order, memory.get(), pool)) continue;
    w.owned_ = memory;
    w.data_ = memory.get();
    return w;
  }
}

std::int64_t WeightMatrix::owned_bytes_of(const TensorView& source) {
  if (activation_kind(source.dtype) == ActivationKind::kFloat) return 0;
  return ceil_div(source.rows(), kPanelRows) * panel_bytes(source.dtype, source.columns());
}

std::int64_t WeightMatrix::owned_bytes_of(const QuantizedMatrix& source) {
  return ceil_div(source.rows(), kPanelRows) *
         panel_bytes(likely_panel_type(source, {}), source.columns());
}

}  // namespace sampan
