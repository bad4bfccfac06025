#include "kernels/matmul.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/matmul_table.h"
#include "kernels/panels.h"
#include "kernels/quantized_activations.h"
#include "kernels/weight_memory.h"

namespace sampan {
namespace {

// A job's activations should stay in a core's second-level cache while all weights pass by.
constexpr std::int64_t kJobActivationBytes = 256 << 10;
// Weights a job at least, so that taking a job and starting its stream cost little beside it.
constexpr std::int64_t kJobWeightBytes = 64 << 10;
// Jobs a thread at least, where there is so much work: threads then finish nearly together.
constexpr std::int64_t kJobsPerThread = 8;
// Rows of plain floats that a kernel takes at a time.
constexpr std::int64_t kFloatUnitRows = 4;
// Floats below which quantising is not worth waking other threads.
constexpr std::int64_t kSerialQuantizeFloats = 16 << 10;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

const MatmulTable& active_table() {
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

// Hands out jobs 0 … count - 1 to threads, each once: every thread has a run of its own, so that
// what it reads lies in a row, and takes from the others' when it is through. Each call of take()
// must be for a job that is left.
class JobRuns {
 public:
  void reset(std::int64_t count, int threads) {
    if (runs_.size() < static_cast<std::size_t>(threads)) {
      runs_ = std::vector<Run>(static_cast<std::size_t>(threads));
    }
    threads_ = threads;
    for (int i = 0; i < threads; ++i) {
      runs_[static_cast<std::size_t>(i)].next = count * i / threads;
      runs_[static_cast<std::size_t>(i)].end = count * (i + 1) / threads;
    }
  }

  std::int64_t take(int thread) {
    for (int i = thread;; i = (i + 1) % threads_) {
      Run& run = runs_[static_cast<std::size_t>(i)];
      if (run.next.load(std::memory_order_relaxed) >= run.end) continue;
      const std::int64_t job = run.next.fetch_add(1, std::memory_order_relaxed);
      if (job < run.end) return job;
    }
  }

 private:
  struct alignas(64) Run {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };
  std::vector<Run> runs_;
  int threads_ = 0;
};

// Calls body(job, thread) for all jobs.
template <typename Body>
void for_each_job(std::int64_t count, ThreadPool& pool, Body&& body) {
  thread_local JobRuns callers_runs;
  JobRuns& runs = callers_runs;
  runs.reset(count, pool.size());
  pool.parallel_for(count, [&](std::int64_t, int thread) { body(runs.take(thread), thread); });
}

// How a product is cut: blocks of tokens times strips of rows. Every output is computed whole
// within one job, so the cut never shows in the result.
struct Cut {
  std::int64_t block_tokens;
  std::int64_t strip_units;  // panels or rows
  std::int64_t blocks;
  std::int64_t strips;
};

Cut cut_work(std::int64_t tokens, std::int64_t token_bytes, std::int64_t units,
             std::int64_t unit_bytes, std::int64_t units_at_a_time, int threads) {
  Cut cut;
  const std::int64_t most =
      std::clamp(kJobActivationBytes / token_bytes, std::int64_t{24}, kMaxJobTokens);
  cut.blocks = ceil_div(tokens, most);
  cut.block_tokens = ceil_div(tokens, cut.blocks);
  const std::int64_t fair = ceil_div(units, kJobsPerThread * threads);
  const std::int64_t wanted =
      std::clamp<std::int64_t>(ceil_div(kJobWeightBytes, unit_bytes), 1, fair);
  cut.strip_units = std::min(ceil_div(wanted, units_at_a_time) * units_at_a_time, kMaxJobFloatRows);
  cut.strips = ceil_div(units, cut.strip_units);
  return cut;
}

void multiply_panels(const MatmulTable& table, const WeightMatrix& w, const QuantizedRows& x,
                     float* y, std::int64_t y_stride, ThreadPool& pool) {
  const PanelKernel kernel = table.panels[static_cast<int>(w.dtype())];
  const std::int64_t bytes = panel_bytes(w.dtype(), w.columns());
  const Cut cut = cut_work(x.rows, x.row_stride, ceil_div(w.rows(), kPanelRows), bytes,
                           table.strip_panels, pool.size());
  std::byte* scratch = job_scratch(pool.size());

  for_each_job(cut.blocks * cut.strips, pool, [&](std::int64_t index, int thread) {
    const std::int64_t token = index / cut.strips * cut.block_tokens;
    const std::int64_t panel = index % cut.strips * cut.strip_units;
    const std::int64_t row = panel * kPanelRows;
    PanelJob job;
    job.panels = w.data() + panel * bytes;
    job.panel_bytes = bytes;
    job.header_bytes = panel_header_bytes(w.dtype(), w.columns());
    job.tiles = x.blocks;
    job.rows = std::min(cut.strip_units * kPanelRows, w.rows() - row);
    job.x = x.data + token * x.row_stride;
    job.x_stride = x.row_stride;
    job.tokens = std::min(cut.block_tokens, x.rows - token);
    job.y = y + token * y_stride + row;
    job.y_stride = y_stride;
    job.scratch = scratch + thread * kJobScratchBytes;
    kernel(job);
  });
}

void multiply_floats(const MatmulTable& table, const WeightMatrix& w, const Activations& x,
                     float* y, std::int64_t y_stride, ThreadPool& pool) {
  const FloatKernel kernel = table.floats[static_cast<int>(w.dtype())];
  const std::int64_t bytes = row_bytes(w.dtype(), w.columns());
  const std::int64_t x_bytes = x.columns() * static_cast<std::int64_t>(sizeof(float));
  const Cut cut = cut_work(x.rows(), x_bytes, w.rows(), bytes, kFloatUnitRows, pool.size());
  std::byte* scratch = job_scratch(pool.size());

  for_each_job(cut.blocks * cut.strips, pool, [&](std::int64_t index, int thread) {
    const std::int64_t token = index / cut.strips * cut.block_tokens;
    const std::int64_t row = index % cut.strips * cut.strip_units;
    FloatJob job;
    job.w = w.data() + row * bytes;
    job.w_stride = bytes;
    job.rows = std::min(cut.strip_units, w.rows() - row);
    job.columns = w.columns();
    job.x = x.floats() + token * x.columns();
    job.x_stride = x.columns();
    job.tokens = std::min(cut.block_tokens, x.rows() - token);
    job.y = y + token * y_stride + row;
    job.y_stride = y_stride;
    job.scratch = scratch + thread * kJobScratchBytes;
    kernel(job);
  });
}

std::int64_t block_width(ActivationKind kind) {
  return kind == ActivationKind::kInt8Block32 ? 32 : 256;
}

std::int64_t block_bytes(ActivationKind kind) {
  return kind == ActivationKind::kInt8Block32 ? sizeof(ActivationBlock32)
                                              : sizeof(ActivationBlock256);
}

}  // namespace

const MatmulTable& matmul_table(Isa isa) {
  SAMPAN_CHECK(isa_supported(isa));
  switch (isa) {
    case Isa::kAvx512:
      return matmul_table_avx512();
    case Isa::kAvx2:
      return matmul_table_avx2();
    case Isa::kReference:
      break;
  }
  return matmul_table_reference();
}

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
                                ThreadPool& pool) {
  const ActivationKind kind = activation_kind(source.dtype);
  WeightMatrix w;
  w.dtype_ = source.dtype;
  w.columns_ = source.columns();
  w.rows_ = row_order.empty() ? source.rows() : static_cast<std::int64_t>(row_order.size());
  SAMPAN_CHECK(w.rows_ >= 1 && w.columns_ >= 1);
  const std::int64_t source_row_bytes = row_bytes(source.dtype, w.columns_);
  if (kind != ActivationKind::kFloat) {
    w.bytes_ = ceil_div(w.rows_, kPanelRows) * panel_bytes(source.dtype, w.columns_);
    const std::shared_ptr<std::byte> memory = allocate_weights(static_cast<std::size_t>(w.bytes_));
    pack_panels(source, row_order, memory.get(), pool);
    w.owned_ = memory;
    w.data_ = memory.get();
    return w;
  }
  w.bytes_ = w.rows_ * source_row_bytes;
  w.data_ = source.data;
  if (!row_order.empty()) {
    const std::shared_ptr<std::byte> memory = allocate_weights(static_cast<std::size_t>(w.bytes_));
    for (std::int64_t i = 0; i < w.rows_; ++i) {
      const std::int64_t from = row_order[static_cast<std::size_t>(i)];
      SAMPAN_CHECK(from >= 0 && from < source.rows());
      std::memcpy(memory.get() + i * source_row_bytes, source.data + from * source_row_bytes,
                  static_cast<std::size_t>(source_row_bytes));
    }
    w.owned_ = memory;
    w.data_ = memory.get();
  }
  return w;
}

struct Activations::Forms {
  struct Form {
    bool made = false;
    QuantizedRows rows;
    Buffer buffer;
  };
  Form block32;
  Form block256;

  Form& of(ActivationKind kind) {
    return kind == ActivationKind::kInt8Block32 ? block32 : block256;
  }
};

Activations::Activations() : forms_(std::make_unique<Forms>()) {}
Activations::~Activations() = default;
Activations::Activations(Activations&&) noexcept = default;
Activations& Activations::operator=(Activations&&) noexcept = default;

void Activations::set(const float* x, std::int64_t rows, std::int64_t columns) {
  x_ = x;
  rows_ = rows;
  columns_ = columns;
  forms_->block32.made = false;
  forms_->block256.made = false;
}

void Activations::require(ActivationKind kind, ThreadPool& pool) {
  if (kind == ActivationKind::kFloat) return;
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

  const MatmulTable& table = active_table();
  const QuantizeKernel quantize =
      kind == ActivationKind::kInt8Block32 ? table.quantize32 : table.quantize256;
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
  form.made = true;
}

const QuantizedRows& Activations::quantized(ActivationKind kind) const {
  const Forms::Form& form = forms_->of(kind);
  SAMPAN_CHECK(kind != ActivationKind::kFloat && form.made);
  return form.rows;
}

void matmul_with_table(const MatmulTable& table, const WeightMatrix& w, const Activations& x,
                       float* y, std::int64_t y_stride, ThreadPool& pool) {
  SAMPAN_CHECK(x.columns() == w.columns() && y_stride >= w.rows());
  if (x.rows() == 0) return;
  const ActivationKind kind = activation_kind(w.dtype());
  if (kind == ActivationKind::kFloat) {
    multiply_floats(table, w, x, y, y_stride, pool);
  } else {
    multiply_panels(table, w, x.quantized(kind), y, y_stride, pool);
  }
}

void matmul(const WeightMatrix& w, Activations& x, float* y, std::int64_t y_stride,
            ThreadPool& pool) {
  x.require(activation_kind(w.dtype()), pool);
  matmul_with_table(active_table(), w, x, y, y_stride, pool);
}

}  // namespace sampan
