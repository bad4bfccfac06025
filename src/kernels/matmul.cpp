#include "kernels/matmul.h"

#include <algorithm>
#include <vector>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/isa_tables.h"
#include "kernels/job_runs.h"
#include "kernels/lanes.h"
#include "kernels/matmul_cut.h"
#include "kernels/matmul_table.h"
#include "kernels/ops_table.h"
#include "kernels/panels.h"
#include "kernels/product_observer.h"

namespace sampan {

const MatmulTable& matmul_table(Isa isa) { return isa_tables(isa).matmul(); }

const MatmulTable& active_matmul_table() {
  static const MatmulTable& table = matmul_table(active_isa());
  return table;
}

namespace {

// Floats below which gathering columns is not worth waking other threads.
constexpr std::int64_t kSerialGatherFloats = 16 << 10;

// What a thread works with.
struct JobScratch {
  std::byte* kernel;  // kJobScratchBytes
  float* gate;        // kGatedFloats each
  float* up;
};

// Scratch of all threads of a pool, kept between products: those of one caller do not overlap.
class AllScratch {
 public:
  explicit AllScratch(int threads) {
    thread_local Buffer buffer;
    const auto bytes = static_cast<std::size_t>(threads * kBytes);
    if (buffer.size() < bytes) buffer = Buffer(bytes);
    data_ = buffer.data();
  }
  JobScratch of(int thread) const {
    std::byte* const own = data_ + thread * kBytes;
    auto* const gated = reinterpret_cast<float*>(own + kJobScratchBytes);
    return {own, gated, gated + kGatedFloats};
  }

 private:
  static constexpr std::int64_t kBytes =
      kJobScratchBytes + 2 * kGatedFloats * static_cast<std::int64_t>(sizeof(float));
  std::byte* data_;
};

// A part of a task: some of its rows of activations times some rows of weights.
struct Part {
  std::int64_t token;
  std::int64_t tokens;
  std::int64_t row;
  std::int64_t rows;
};

// Where the products of a part go.
struct Outputs {
  float* y;
  std::int64_t stride;  // floats
};

void run_panel_job(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w,
                   const Part& part, const Activations& x, const Outputs& out, std::byte* scratch) {
  const ActivationKind kind = w.activations();
  const QuantizedRows& rows = x.quantized(kind);
  PanelJob job;
  job.panel_bytes = panel_bytes(w.dtype(), w.columns());
  job.panels = w.data() + part.row / kPanelRows * job.panel_bytes;
  job.header_bytes = panel_header_bytes(w.dtype(), w.columns());
  job.tiles = w.columns() / block_width(kind);
  job.rows = part.rows;
  job.x = rows.data + (task.first_row + part.token) * rows.row_stride +
          task.first_column / block_width(kind) * block_bytes(kind);
  job.x_stride = rows.row_stride;
  job.tokens = part.tokens;
  job.y = out.y;
  job.y_stride = out.stride;
  job.scratch = scratch;
  table.panels[static_cast<int>(w.dtype())](job);
}

void run_float_job(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w,
                   const Part& part, const Activations& x, const Outputs& out, std::byte* scratch) {
  const bool is_bf16 = w.activations() == ActivationKind::kBf16;
  const std::byte* const rows = is_bf16 ? x.quantized(ActivationKind::kBf16).data
                                        : reinterpret_cast<const std::byte*>(x.floats());
  FloatJob job;
  job.w_stride = row_bytes(w.dtype(), w.columns());
  job.w = w.data() + part.row * job.w_stride;
  job.rows = part.rows;
  job.columns = w.columns();
  job.x_stride = is_bf16 ? x.quantized(ActivationKind::kBf16).row_stride
                         : x.columns() * static_cast<std::int64_t>(sizeof(float));
  job.x = rows + (task.first_row + part.token) * job.x_stride +
          task.first_column * block_bytes(w.activations());
  job.tokens = part.tokens;
  job.y = out.y;
  job.y_stride = out.stride;
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

// Rows of words, `stride` floats apart, into the buffer. Rows are an odd number of cache lines
// apart there, so that they do not fall on the same sets.
LaneRows order_lanes(const MatmulTable& table, const float* words, std::int64_t stride,
                     std::int64_t rows, std::int64_t count, Buffer& buffer, ThreadPool& pool) {
  LaneRows ordered;
  ordered.lane_stride = ceil_div(count, kLanes);
  ordered.row_stride = (ordered.lane_stride | 1) * kLanes;
  const auto bytes = static_cast<std::size_t>(rows * ordered.row_stride) * sizeof(float);
  if (buffer.size() < bytes) buffer = Buffer(bytes);
  float* const out = buffer.as<float>();
  const std::int64_t jobs = std::min<std::int64_t>(rows, kJobsPerThread * pool.size());
  pool.parallel_for(jobs, [&](std::int64_t job, int) {
    for (std::int64_t t = job * rows / jobs; t < (job + 1) * rows / jobs; ++t) {
      table.order_lanes(words + t * stride, count, ordered.lane_stride,
                        out + t * ordered.row_stride);
    }
  });
  ordered.data = out;
  return ordered;
}

// What products read.
struct Inputs {
  const Activations& x;
  // In the order of the lanes, where a task takes them so: floats, pairs of BF16 numbers.
  LaneRows lanes;
  LaneRows pair_lanes;
};

// Valid until the caller's next product.
Inputs make_inputs(const MatmulTable& table, std::span<const MatmulTask> tasks,
                   const Activations& x, ThreadPool& pool) {
  bool needs_floats = false, needs_pairs = false;
  for (const MatmulTask& task : tasks) {
    for (const WeightMatrix* w : {task.w, task.up}) {
      if (w == nullptr || !is_by_lane(table, task, *w)) continue;
      (w->activations() == ActivationKind::kBf16 ? needs_pairs : needs_floats) = true;
    }
  }
  Inputs in = {x, {}, {}};
  if (needs_floats) {
    thread_local Buffer buffer;
    in.lanes = order_lanes(table, x.floats(), x.columns(), x.rows(), x.columns(), buffer, pool);
  }
  if (needs_pairs) {
    thread_local Buffer buffer;
    const QuantizedRows& rows = x.quantized(ActivationKind::kBf16);
    const auto stride = rows.row_stride / static_cast<std::int64_t>(sizeof(float));
    in.pair_lanes = order_lanes(table, reinterpret_cast<const float*>(rows.data), stride, x.rows(),
                                x.columns() / 2, buffer, pool);
  }
  return in;
}

void run_lane_job(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w,
                  const Part& part, const Inputs& in, const Outputs& out, std::byte* scratch) {
  const bool is_bf16 = w.activations() == ActivationKind::kBf16;
  const LaneRows& x = is_bf16 ? in.pair_lanes : in.lanes;
  const std::int64_t first_word = task.first_column / (is_bf16 ? 2 : 1);
  LaneJob job;
  job.w_stride = row_bytes(w.dtype(), w.columns());
  job.w = w.data() + part.row * job.w_stride;
  job.rows = part.rows;
  job.words = lane_words(w);
  job.x = x.data + (task.first_row + part.token) * x.row_stride + first_word / kLanes;
  job.x_stride = x.row_stride;
  job.lane_stride = x.lane_stride;
  job.tokens = part.tokens;
  job.y = out.y;
  job.y_stride = out.stride;
  job.scratch = scratch;
  (is_bf16 ? table.bf16_pair_lanes : table.lanes[static_cast<int>(w.dtype())])(job);
}

// The products of a part, and what is added to them.
void run_products(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w,
                  const float* bias, const Part& part, const Inputs& in, const Outputs& out,
                  std::byte* scratch) {
  if (is_by_lane(table, task, w)) {
    run_lane_job(table, task, w, part, in, out, scratch);
  } else if (has_float_rows(w)) {
    run_float_job(table, task, w, part, in.x, out, scratch);
  } else {
    run_panel_job(table, task, w, part, in.x, out, scratch);
  }
  if (bias == nullptr) return;
  const OpsTable& ops = active_ops_table();
  for (std::int64_t t = 0; t < part.tokens; ++t) {
    ops.add(out.y + t * out.stride, bias + part.row, part.rows);
  }
}

void run_part(const MatmulTable& table, const MatmulTask& task, const Part& part, const Inputs& in,
              const JobScratch& scratch) {
  const Outputs y = {task.y + part.token * task.y_stride + part.row, task.y_stride};
  if (task.up == nullptr) {
    return run_products(table, task, *task.w, task.bias, part, in, y, scratch.kernel);
  }
  run_products(table, task, *task.w, task.bias, part, in, {scratch.gate, part.rows},
               scratch.kernel);
  run_products(table, task, *task.up, task.up_bias, part, in, {scratch.up, part.rows},
               scratch.kernel);
  active_ops_table().silu_mul(scratch.gate, scratch.up, part.tokens * part.rows, scratch.gate);
  for (std::int64_t t = 0; t < part.tokens; ++t) {
    std::copy_n(scratch.gate + t * part.rows, part.rows, y.y + t * y.stride);
  }
}

void check_task(const MatmulTask& task, const Activations& x) {
  SAMPAN_CHECK(task.first_row >= 0 && task.rows >= 0 && task.first_row + task.rows <= x.rows());
  SAMPAN_CHECK(task.first_column >= 0 && task.first_column + task.w->columns() <= x.columns());
  SAMPAN_CHECK(task.y_stride >= task.w->rows());
  SAMPAN_CHECK(task.first_column % block_width(task.w->activations()) == 0);
  if (task.up == nullptr) return;
  SAMPAN_CHECK(task.up->rows() == task.w->rows() && task.up->columns() == task.w->columns());
  SAMPAN_CHECK(task.first_column % block_width(task.up->activations()) == 0);
}

// Products of tasks whose weights take the columns as they are.
void run_tasks(const MatmulTable& table, std::span<const MatmulTask> tasks, const Activations& x,
               ThreadPool& pool) {
  thread_local std::vector<Cut> callers_cuts;
  thread_local std::vector<std::int64_t> callers_ends;
  std::vector<Cut>& cuts = callers_cuts;
  std::vector<std::int64_t>& ends = callers_ends;
  for (const MatmulTask& task : tasks) check_task(task, x);
  cut_tasks(table, tasks, pool.size(), cuts, ends);
  if (ends.empty() || ends.back() == 0) return;
  const AllScratch scratch(pool.size());
  const Inputs in = make_inputs(table, tasks, x, pool);

  for_each_job(ends, pool, [&](std::int64_t index, int thread) {
    const auto after =
        std::upper_bound(cuts.begin(), cuts.end(), index,
                         [](std::int64_t job, const Cut& cut) { return job < cut.first_job; });
    const Cut& cut = *(after - 1);
    const MatmulTask& task = tasks[static_cast<std::size_t>(after - 1 - cuts.begin())];
    const std::int64_t job = index - cut.first_job;
    Part part;
    part.token = job / cut.strips * cut.block_tokens;
    part.tokens = std::min(cut.block_tokens, task.rows - part.token);
    part.row = job % cut.strips * cut.strip_rows;
    part.rows = std::min(cut.strip_rows, task.w->rows() - part.row);
    run_part(table, task, part, in, scratch.of(thread));
  });
}

// Products with weights whose columns lie in an order of their own.
void run_ordered_product(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w,
                         const float* bias, const Activations& x, const Outputs& out,
                         ThreadPool& pool) {
  SAMPAN_CHECK(x.floats() != nullptr && task.first_row + task.rows <= x.rows());
  SAMPAN_CHECK(task.first_column + w.columns() <= x.columns());
  thread_local Buffer buffer;
  thread_local Activations ordered;
  const std::int64_t columns = w.columns();
  const auto bytes = static_cast<std::size_t>(task.rows * columns) * sizeof(float);
  if (buffer.size() < bytes) buffer = Buffer(bytes);
  float* const gathered = buffer.as<float>();
  const auto gather = [&](std::int64_t begin, std::int64_t end) {
    float* to = gathered + begin * columns;
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = x.floats() + (task.first_row + t) * x.columns() + task.first_column;
      for (const std::int32_t column : w.column_order()) *to++ = row[column];
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
  ordered.require(w.activations(), pool);
  const MatmulTask plain = {&w, 0, task.rows, 0, out.y, out.stride, bias};
  run_tasks(table, {&plain, 1}, ordered, pool);
}

bool is_ordered(const WeightMatrix& w) { return !w.column_order().empty(); }

bool is_ordered(const MatmulTask& task) {
  return is_ordered(*task.w) || (task.up != nullptr && is_ordered(*task.up));
}

// One product after the other: the two of a gated task may have orders of their own.
void run_ordered_task(const MatmulTable& table, const MatmulTask& task, const Activations& x,
                      ThreadPool& pool) {
  if (task.rows == 0) return;
  const auto run = [&](const WeightMatrix& w, const float* bias, const Outputs& out) {
    if (is_ordered(w)) return run_ordered_product(table, task, w, bias, x, out, pool);
    const MatmulTask plain = {&w,    task.first_row, task.rows, task.first_column,
                              out.y, out.stride,     bias};
    run_tasks(table, {&plain, 1}, x, pool);
  };
  run(*task.w, task.bias, {task.y, task.y_stride});
  if (task.up == nullptr) return;
  thread_local Buffer buffer;
  const std::int64_t rows = task.up->rows();
  const auto bytes = static_cast<std::size_t>(task.rows * rows) * sizeof(float);
  if (buffer.size() < bytes) buffer = Buffer(bytes);
  float* const up = buffer.as<float>();
  run(*task.up, task.up_bias, {up, rows});
  const OpsTable& ops = active_ops_table();
  const std::int64_t jobs = std::min<std::int64_t>(task.rows, kJobsPerThread * pool.size());
  pool.parallel_for(jobs, [&](std::int64_t job, int) {
    for (std::int64_t t = job * task.rows / jobs; t < (job + 1) * task.rows / jobs; ++t) {
      float* const gate = task.y + t * task.y_stride;
      ops.silu_mul(gate, up + t * rows, rows, gate);
    }
  });
}

void require_form(const WeightMatrix& w, Activations& x, ThreadPool& pool) {
  x.require(is_ordered(w) ? ActivationKind::kFloat : w.activations(), pool);
}

}  // namespace

void matmul_tasks_with_table(const MatmulTable& table, std::span<const MatmulTask> tasks,
                             const Activations& x, ThreadPool& pool) {
  const auto ordered = [](const MatmulTask& task) { return is_ordered(task); };
  if (std::none_of(tasks.begin(), tasks.end(), ordered)) {
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
  for (const MatmulTask& task : tasks) {
    active_observer->on_product(task, x);
    if (task.up == nullptr) continue;
    MatmulTask up = task;
    up.w = task.up;
    up.bias = task.up_bias;
    up.up = nullptr;
    active_observer->on_product(up, x);
  }
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
  for (const MatmulTask& task : tasks) {
    require_form(*task.w, x, pool);
    if (task.up != nullptr) require_form(*task.up, x, pool);
  }
  matmul_tasks_with_table(active_matmul_table(), tasks, x, pool);
}

}  // namespace sampan
