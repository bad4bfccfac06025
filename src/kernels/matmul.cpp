#include "kernels/matmul.h"

#include <algorithm>
#include <vector>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/isa_tables.h"
#include "kernels/job_runs.h"
#include "kernels/lanes.h"
#include "kernels/matmul_table.h"
#include "kernels/panels.h"
#include "kernels/product_observer.h"

namespace sampan {

const MatmulTable& matmul_table(Isa isa) { return isa_tables(isa).matmul(); }

const MatmulTable& active_matmul_table() {
  static const MatmulTable& table = matmul_table(active_isa());
  return table;
}

namespace {

// A job's activations should stay in a core's second-level cache while all weights pass by.
constexpr std::int64_t kJobActivationBytes = 256 << 10;
// Weights a job at least, so that taking a job and starting its stream cost little beside it.
constexpr std::int64_t kJobWeightBytes = 64 << 10;
// Rows of plain floats that a kernel takes at a time, with few tokens.
constexpr std::int64_t kFloatUnitRows = 4;
// Floats below which gathering columns is not worth waking other threads.
constexpr std::int64_t kSerialGatherFloats = 16 << 10;

// Scratch of all threads of a pool, kept between products: those of one caller do not overlap.
std::byte* job_scratch(int threads) {
  thread_local Buffer buffer;
  const auto bytes = static_cast<std::size_t>(threads * kJobScratchBytes);
  if (buffer.size() < bytes) buffer = Buffer(bytes);
  return buffer.data();
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

// Cuts all tasks; ends: of the jobs of each among those of all.
void cut_tasks(const MatmulTable& table, std::span<const MatmulTask> tasks, std::int64_t fair_bytes,
               std::vector<Cut>& cuts, std::vector<std::int64_t>& ends) {
  cuts.clear();
  ends.clear();
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
    ends.push_back(jobs);
  }
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

// Products of tasks whose weights take the columns as they are.
void run_tasks(const MatmulTable& table, std::span<const MatmulTask> tasks, const Activations& x,
               ThreadPool& pool) {
  thread_local std::vector<Cut> callers_cuts;
  thread_local std::vector<std::int64_t> callers_ends;
  std::vector<Cut>& cuts = callers_cuts;
  std::vector<std::int64_t>& ends = callers_ends;
  std::int64_t weight_bytes = 0;
  for (const MatmulTask& task : tasks) {
    check_task(task, x);
    if (task.rows > 0) weight_bytes += task.w->bytes();
  }
  const std::int64_t fair_bytes = weight_bytes / (kJobsPerThread * pool.size());
  cut_tasks(table, tasks, fair_bytes, cuts, ends);
  if (ends.empty() || ends.back() == 0) return;
  std::byte* const scratch = job_scratch(pool.size());
  LaneRows lanes;
  const auto by_lane = [&](const MatmulTask& task) { return is_by_lane(table, task); };
  if (std::any_of(tasks.begin(), tasks.end(), by_lane)) lanes = order_lanes(table, x, pool);

  for_each_job(ends, pool, [&](std::int64_t index, int thread) {
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
  if (task.rows * columns <= kSerialGatherFloats) {
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
