#include "kernels/matmul.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/isa_tables.h"
#include "kernels/job_runs.h"
#include "kernels/lanes.h"
#include "kernels/matmul_table.h"
#include "kernels/panels.h"
#include "kernels/product_observer.h"
#include "kernels/quantized_activations.h"
#include "kernels/quantized_panels.h"
#include "kernels/weight_memory.h"

namespace sampan {
namespace {

// A job's activations should stay in a core's second-level cache while all weights pass by.
constexpr std::int64_t kJobActivationBytes = 256 << 10;
// Weights a job at least, so that taking a job and starting its stream cost little beside it.
constexpr std::int64_t kJobWeightBytes = 64 << 10;
// Jobs a thread at least, where there is so much work: threads then finish nearly together.
constexpr std::int64_t kJobsPerThread = 8;
// Rows of plain floats that a kernel takes at a time, with few tokens.
constexpr std::int64_t kFloatUnitRows = 4;
// Floats below which quantising is not worth waking other threads.
constexpr std::int64_t kSerialQuantizeFloats = 16 << 10;
// Likewise for copying rows.
constexpr std::int64_t kSerialCopyBytes = 256 << 10;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

const MatmulTable& active_matmul_table() {
  static const MatmulTable& table = matmul_table(active_isa());
  return table;
}

// Scratch of all threads of a pool, kept between products: those of one caller do not overlap.
std::byte* job_scratch(int threads) {
  thread_local Buffer buffer;
  const auto bytes = static_cast<std::size_t>(threads * kJobScratchBytes);
  if (buffer.size() < bytes) buffer = Buffer(bytes);
  return buffer.data();
}

// Columns of what a form of activations is made of, and its bytes.
std::int64_t block_width(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kInt8Block32:
      return 32;
    case ActivationKind::kInt8Block256:
      return 256;
    default:
      return 1;
  }
}

std::int64_t block_bytes(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kInt8Block32:
      return sizeof(ActivationBlock32);
    case ActivationKind::kInt8Block256:
      return sizeof(ActivationBlock256);
    case ActivationKind::kBf16:
      return sizeof(std::uint16_t);
    default:
      return sizeof(float);
  }
}

// Weights that lie in rows of plain floats, not in panels.
bool has_float_rows(const WeightMatrix& w) {
  return w.activations() == ActivationKind::kFloat || w.activations() == ActivationKind::kBf16;
}

// How a task is cut: blocks of tokens times strips of rows. Every output is computed whole within
// one job, so the cut never shows in the result.
struct Cut {
  std::int64_t block_tokens;
  std::int64_t strip_units;  // panels or rows
  std::int64_t strips;
  std::int64_t first_job;  // of the jobs of all tasks
};

// What a kernel takes at a time: a panel, or a row of plain floats.
struct Units {
  std::int64_t count;
  std::int64_t bytes;    // of weights, each
  std::int64_t at_once;  // that a kernel takes best
};

// Whether a product goes by the order of the lanes.
bool is_by_lane(const MatmulTable& table, const MatmulTask& task) {
  return task.w->activations() == ActivationKind::kFloat && task.rows >= kManyTokens &&
         task.first_column % kLanes == 0 && table.order_lanes != nullptr;
}

// fair_bytes: weights a job so that threads finish nearly together.
Units units_of(const MatmulTable& table, const MatmulTask& task, std::int64_t fair_bytes) {
  const WeightMatrix& w = *task.w;
  if (has_float_rows(w)) {
    Units units = {w.rows(), row_bytes(w.dtype(), w.columns()), kFloatUnitRows};
    if (is_by_lane(table, task)) {
      const bool is_wide =
          w.columns() > kWideLaneColumns && units.bytes * kWideLaneUnitRows <= fair_bytes;
      units.at_once = is_wide ? kWideLaneUnitRows : table.lane_unit_rows;
    }
    return units;
  }
  return {ceil_div(w.rows(), kPanelRows), panel_bytes(w.dtype(), w.columns()), table.strip_panels};
}

std::int64_t activation_row_bytes(const WeightMatrix& w) {
  const ActivationKind kind = w.activations();
  return w.columns() / block_width(kind) * block_bytes(kind);
}

// Cuts all tasks; returns the number of jobs.
std::int64_t cut_tasks(const MatmulTable& table, std::span<const MatmulTask> tasks,
                       std::int64_t fair_bytes, std::vector<Cut>& cuts) {
  cuts.clear();
  std::int64_t jobs = 0;
  for (const MatmulTask& task : tasks) {
    const Units units = units_of(table, task, fair_bytes);
    const std::int64_t most = is_by_lane(table, task)
                                  ? kLaneJobTokens
                                  : std::clamp(kJobActivationBytes / activation_row_bytes(*task.w),
                                               std::int64_t{24}, kMaxJobTokens);
    const std::int64_t blocks = ceil_div(task.rows, most);
    Cut cut;
    cut.block_tokens = blocks == 0 ? 0 : ceil_div(task.rows, blocks);
    const std::int64_t wanted = std::clamp<std::int64_t>(
        std::min(kJobWeightBytes, fair_bytes) / units.bytes, 1, units.count);
    cut.strip_units = std::min(ceil_div(wanted, units.at_once) * units.at_once, kMaxJobFloatRows);
    cut.strips = ceil_div(units.count, cut.strip_units);
    cut.first_job = jobs;
    jobs += blocks * cut.strips;
    cuts.push_back(cut);
  }
  return jobs;
}

void run_panel_job(const MatmulTable& table, const MatmulTask& task, const Cut& cut,
                   const Activations& x, std::int64_t token, std::int64_t panel,
                   std::byte* scratch) {
  const WeightMatrix& w = *task.w;
  const ActivationKind kind = w.activations();
  const QuantizedRows& rows = x.quantized(kind);
  const std::int64_t row = panel * kPanelRows;
  PanelJob job;
  job.panel_bytes = panel_bytes(w.dtype(), w.columns());
  job.panels = w.data() + panel * job.panel_bytes;
  job.header_bytes = panel_header_bytes(w.dtype(), w.columns());
  job.tiles = w.columns() / block_width(kind);
  job.rows = std::min(cut.strip_units * kPanelRows, w.rows() - row);
  job.x = rows.data + (task.first_row + token) * rows.row_stride +
          task.first_column / block_width(kind) * block_bytes(kind);
  job.x_stride = rows.row_stride;
  job.tokens = std::min(cut.block_tokens, task.rows - token);
  job.y = task.y + token * task.y_stride + row;
  job.y_stride = task.y_stride;
  job.scratch = scratch;
  table.panels[static_cast<int>(w.dtype())](job);
}

void run_float_job(const MatmulTable& table, const MatmulTask& task, const Cut& cut,
                   const Activations& x, std::int64_t token, std::int64_t row, std::byte* scratch) {
  const WeightMatrix& w = *task.w;
  const bool is_bf16 = w.activations() == ActivationKind::kBf16;
  const std::byte* const rows = is_bf16 ? x.quantized(ActivationKind::kBf16).data
                                        : reinterpret_cast<const std::byte*>(x.floats());
  FloatJob job;
  job.w_stride = row_bytes(w.dtype(), w.columns());
  job.w = w.data() + row * job.w_stride;
  job.rows = std::min(cut.strip_units, w.rows() - row);
  job.columns = w.columns();
  job.x_stride = is_bf16 ? x.quantized(ActivationKind::kBf16).row_stride
                         : x.columns() * static_cast<std::int64_t>(sizeof(float));
  job.x = rows + (task.first_row + token) * job.x_stride +
          task.first_column * block_bytes(w.activations());
  job.tokens = std::min(cut.block_tokens, task.rows - token);
  job.y = task.y + token * task.y_stride + row;
  job.y_stride = task.y_stride;
  job.scratch = scratch;
  const FloatKernel kernel = is_bf16 ? table.bf16_pairs : table.floats[static_cast<int>(w.dtype())];
  kernel(job);
}

// Activations in the order of the lanes.
struct LaneRows {
  const float* data = nullptr;
  std::int64_t row_stride = 0;  // floats
  std::int64_t lane_stride = 0;
};

// Rows are an odd number of cache lines apart, so that they do not fall on the same sets. Valid
// until the caller's next product.
LaneRows order_lanes(const MatmulTable& table, const Activations& x, ThreadPool& pool) {
  thread_local Buffer buffer;
  LaneRows rows;
  rows.lane_stride = ceil_div(x.columns(), kLanes);
  rows.row_stride = (rows.lane_stride | 1) * kLanes;
  const auto bytes = static_cast<std::size_t>(x.rows() * rows.row_stride) * sizeof(float);
  if (buffer.size() < bytes) buffer = Buffer(bytes);
  float* const out = buffer.as<float>();
  const std::int64_t jobs = std::min<std::int64_t>(x.rows(), kJobsPerThread * pool.size());
  pool.parallel_for(jobs, [&](std::int64_t job, int) {
    for (std::int64_t t = job * x.rows() / jobs; t < (job + 1) * x.rows() / jobs; ++t) {
      table.order_lanes(x.floats() + t * x.columns(), x.columns(), rows.lane_stride,
                        out + t * rows.row_stride);
    }
  });
  rows.data = out;
  return rows;
}

void run_lane_job(const MatmulTable& table, const MatmulTask& task, const Cut& cut,
                  const LaneRows& x, std::int64_t token, std::int64_t row, std::byte* scratch) {
  const WeightMatrix& w = *task.w;
  LaneJob job;
  job.w_stride = row_bytes(w.dtype(), w.columns());
  job.w = w.data() + row * job.w_stride;
  job.rows = std::min(cut.strip_units, w.rows() - row);
  job.columns = w.columns();
  job.x = x.data + (task.first_row + token) * x.row_stride + task.first_column / kLanes;
  job.x_stride = x.row_stride;
  job.lane_stride = x.lane_stride;
  job.tokens = std::min(cut.block_tokens, task.rows - token);
  job.y = task.y + token * task.y_stride + row;
  job.y_stride = task.y_stride;
  job.scratch = scratch;
  table.lanes[static_cast<int>(w.dtype())](job);
}

void check_task(const MatmulTask& task, const Activations& x) {
  SAMPAN_CHECK(task.first_row >= 0 && task.rows >= 0 && task.first_row + task.rows <= x.rows());
  SAMPAN_CHECK(task.first_column >= 0 && task.first_column + task.w->columns() <= x.columns());
  SAMPAN_CHECK(task.y_stride >= task.w->rows());
  SAMPAN_CHECK(task.first_column % block_width(task.w->activations()) == 0);
}

}  // namespace

const MatmulTable& matmul_table(Isa isa) { return isa_tables(isa).matmul(); }

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

namespace {

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

struct Activations::Forms {
  struct Form {
    bool made = false;
    QuantizedRows rows;
    Buffer buffer;
  };
  Form bf16;
  Form block32;
  Form block256;
  Buffer floats;  // rows taken from another's

  Form& of(ActivationKind kind) {
    if (kind == ActivationKind::kBf16) return bf16;
    return kind == ActivationKind::kInt8Block32 ? block32 : block256;
  }
};

Activations::Activations() : forms_(std::make_unique<Forms>()) {}
Activations::~Activations() = default;
Activations::Activations(Activations&&) noexcept = default;
Activations& Activations::operator=(Activations&&) noexcept = default;

void Activations::set(const float* x, std::int64_t rows, std::int64_t columns) {
  static std::atomic<std::uint64_t> contents{0};
  content_ = 1 + contents.fetch_add(1, std::memory_order_relaxed);
  x_ = x;
  rows_ = rows;
  columns_ = columns;
  source_ = nullptr;
  forms_->bf16.made = false;
  forms_->block32.made = false;
  forms_->block256.made = false;
}

void Activations::set_rows_of(Activations& source, std::span<const std::int32_t> rows) {
  set(nullptr, static_cast<std::int64_t>(rows.size()), source.columns());
  source_ = &source;
  source_rows_ = rows;
}

void Activations::require(ActivationKind kind, ThreadPool& pool) {
  if (kind == ActivationKind::kFloat) {
    if (x_ == nullptr && source_ != nullptr) gather_floats(pool);
    return;
  }
  Forms::Form& form = forms_->of(kind);
  if (form.made) return;
  SAMPAN_CHECK(columns_ % block_width(kind) == 0);
  QuantizedRows& out = form.rows;
  out.rows = rows_;
  out.blocks = columns_ / block_width(kind);
  out.row_stride = (ceil_div(out.blocks * block_bytes(kind), 64) | 1) * 64;
  const auto bytes = static_cast<std::size_t>(out.row_stride * rows_);
  if (form.buffer.size() < bytes) form.buffer = Buffer(bytes);
  out.data = form.buffer.data();
  form.made = true;
  if (source_ != nullptr) {
    source_->require(kind, pool);
    const std::byte* const from = source_->quantized(kind).data;
    std::byte* const to = form.buffer.data();
    copy_rows(from, to, out.row_stride, pool);
    return;
  }

  const MatmulTable& table = active_matmul_table();
  const QuantizeKernel quantize = kind == ActivationKind::kBf16          ? table.narrow_bf16
                                  : kind == ActivationKind::kInt8Block32 ? table.quantize32
                                                                         : table.quantize256;
  const auto quantize_rows = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      quantize(x_ + t * columns_, out.blocks, form.buffer.data() + t * out.row_stride);
    }
  };
  if (rows_ * columns_ <= kSerialQuantizeFloats) {
    quantize_rows(0, rows_);
  } else {
    const std::int64_t jobs = std::min<std::int64_t>(rows_, kJobsPerThread * pool.size());
    pool.parallel_for(jobs, [&](std::int64_t job, int) {
      quantize_rows(job * rows_ / jobs, (job + 1) * rows_ / jobs);
    });
  }
}

void Activations::gather_floats(ThreadPool& pool) {
  SAMPAN_CHECK(source_->floats() != nullptr);
  const std::int64_t bytes = columns_ * static_cast<std::int64_t>(sizeof(float));
  Buffer& buffer = forms_->floats;
  if (buffer.size() < static_cast<std::size_t>(rows_ * bytes)) {
    buffer = Buffer(static_cast<std::size_t>(rows_ * bytes));
  }
  copy_rows(reinterpret_cast<const std::byte*>(source_->floats()), buffer.data(), bytes, pool);
  x_ = reinterpret_cast<const float*>(buffer.data());
}

// Rows of `bytes` bytes: to[i] = from[source_rows_[i]].
void Activations::copy_rows(const std::byte* from, std::byte* to, std::int64_t bytes,
                            ThreadPool& pool) const {
  const auto copy = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = source_rows_[static_cast<std::size_t>(i)];
      std::memcpy(to + i * bytes, from + row * bytes, static_cast<std::size_t>(bytes));
    }
  };
  if (rows_ * bytes <= kSerialCopyBytes) return copy(0, rows_);
  const std::int64_t jobs = std::min<std::int64_t>(rows_, kJobsPerThread * pool.size());
  pool.parallel_for(
      jobs, [&](std::int64_t job, int) { copy(job * rows_ / jobs, (job + 1) * rows_ / jobs); });
}

const QuantizedRows& Activations::quantized(ActivationKind kind) const {
  const Forms::Form& form = forms_->of(kind);
  SAMPAN_CHECK(kind != ActivationKind::kFloat && form.made);
  return form.rows;
}

namespace {

// Products of tasks whose weights take the columns as they are.
void run_tasks(const MatmulTable& table, std::span<const MatmulTask> tasks, const Activations& x,
               ThreadPool& pool) {
  thread_local std::vector<Cut> callers_cuts;
  std::vector<Cut>& cuts = callers_cuts;
  std::int64_t weight_bytes = 0;
  for (const MatmulTask& task : tasks) {
    check_task(task, x);
    if (task.rows > 0) weight_bytes += task.w->bytes();
  }
  const std::int64_t fair_bytes = weight_bytes / (kJobsPerThread * pool.size());
  const std::int64_t jobs = cut_tasks(table, tasks, fair_bytes, cuts);
  if (jobs == 0) return;
  std::byte* const scratch = job_scratch(pool.size());
  LaneRows lanes;
  const auto by_lane = [&](const MatmulTask& task) { return is_by_lane(table, task); };
  if (std::any_of(tasks.begin(), tasks.end(), by_lane)) lanes = order_lanes(table, x, pool);

  for_each_job(jobs, pool, [&](std::int64_t index, int thread) {
    const auto after =
        std::upper_bound(cuts.begin(), cuts.end(), index,
                         [](std::int64_t job, const Cut& cut) { return job < cut.first_job; });
    const Cut& cut = *(after - 1);
    const MatmulTask& task = tasks[static_cast<std::size_t>(after - 1 - cuts.begin())];
    const std::int64_t job = index - cut.first_job;
    const std::int64_t token = job / cut.strips * cut.block_tokens;
    const std::int64_t unit = job % cut.strips * cut.strip_units;
    std::byte* const own = scratch + thread * kJobScratchBytes;
    if (by_lane(task)) {
      run_lane_job(table, task, cut, lanes, token, unit, own);
    } else if (has_float_rows(*task.w)) {
      run_float_job(table, task, cut, x, token, unit, own);
    } else {
      run_panel_job(table, task, cut, x, token, unit, own);
    }
  });
}

// A product with weights whose columns lie in an order of their own.
void run_ordered_task(const MatmulTable& table, const MatmulTask& task, const Activations& x,
                      ThreadPool& pool) {
  if (task.rows == 0) return;
  SAMPAN_CHECK(x.floats() != nullptr && task.first_row + task.rows <= x.rows());
  SAMPAN_CHECK(task.first_column + task.w->columns() <= x.columns());
  thread_local Buffer buffer;
  thread_local Activations ordered;
  const std::int64_t columns = task.w->columns();
  const auto bytes = static_cast<std::size_t>(task.rows * columns) * sizeof(float);
  if (buffer.size() < bytes) buffer = Buffer(bytes);
  float* const gathered = buffer.as<float>();
  const auto gather = [&](std::int64_t begin, std::int64_t end) {
    float* out = gathered + begin * columns;
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = x.floats() + (task.first_row + t) * x.columns() + task.first_column;
      for (const std::int32_t column : task.w->column_order()) *out++ = row[column];
    }
  };
  if (task.rows * columns <= kSerialQuantizeFloats) {
    gather(0, task.rows);
  } else {
    const std::int64_t jobs = std::min<std::int64_t>(task.rows, kJobsPerThread * pool.size());
    pool.parallel_for(jobs, [&](std::int64_t job, int) {
      gather(job * task.rows / jobs, (job + 1) * task.rows / jobs);
    });
  }
  ordered.set(gathered, task.rows, columns);
  ordered.require(task.w->activations(), pool);
  const MatmulTask plain = {task.w, 0, task.rows, 0, task.y, task.y_stride};
  run_tasks(table, {&plain, 1}, ordered, pool);
}

bool is_ordered(const MatmulTask& task) { return !task.w->column_order().empty(); }

void require_form(const WeightMatrix& w, Activations& x, ThreadPool& pool) {
  x.require(w.column_order().empty() ? w.activations() : ActivationKind::kFloat, pool);
}

}  // namespace

void matmul_tasks_with_table(const MatmulTable& table, std::span<const MatmulTask> tasks,
                             const Activations& x, ThreadPool& pool) {
  if (std::none_of(tasks.begin(), tasks.end(), is_ordered)) {
    return run_tasks(table, tasks, x, pool);
  }
  std::vector<MatmulTask> plain;
  for (const MatmulTask& task : tasks) {
    if (is_ordered(task)) {
      run_ordered_task(table, task, x, pool);
    } else {
      plain.push_back(task);
    }
  }
  run_tasks(table, plain, x, pool);
}

void matmul_with_table(const MatmulTable& table, const WeightMatrix& w, const Activations& x,
                       float* y, std::int64_t y_stride, ThreadPool& pool) {
  SAMPAN_CHECK(x.columns() == w.columns());
  const MatmulTask task = {&w, 0, x.rows(), 0, y, y_stride};
  matmul_tasks_with_table(table, {&task, 1}, x, pool);
}

namespace {

thread_local ProductObserver* active_observer = nullptr;

void tell_observer(std::span<const MatmulTask> tasks, Activations& x, ThreadPool& pool) {
  if (active_observer == nullptr) return;
  x.require(ActivationKind::kFloat, pool);
  for (const MatmulTask& task : tasks) active_observer->on_product(task, x);
}

}  // namespace

ObservedProducts::ObservedProducts(ProductObserver& observer) {
  SAMPAN_CHECK(active_observer == nullptr);
  active_observer = &observer;
}

ObservedProducts::~ObservedProducts() { active_observer = nullptr; }

void matmul(const WeightMatrix& w, Activations& x, float* y, std::int64_t y_stride,
            ThreadPool& pool) {
  const MatmulTask task = {&w, 0, x.rows(), 0, y, y_stride};
  tell_observer({&task, 1}, x, pool);
  require_form(w, x, pool);
  matmul_with_table(active_matmul_table(), w, x, y, y_stride, pool);
}

void matmul_tasks(std::span<const MatmulTask> tasks, Activations& x, ThreadPool& pool) {
  tell_observer(tasks, x, pool);
  for (const MatmulTask& task : tasks) require_form(*task.w, x, pool);
  matmul_tasks_with_table(active_matmul_table(), tasks, x, pool);
}

}  // namespace sampan
