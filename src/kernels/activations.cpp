#include "kernels/activations.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/ceil_div.h"
#include "base/error.h"
#include "kernels/job_runs.h"
#include "kernels/matmul_table.h"
#include "tensor/tensor.h"

namespace sampan {
namespace {

// Floats below which quantising is not worth waking other threads; bytes below which copying is
// not.
constexpr std::int64_t kSerialQuantizeFloats = 16 << 10;
constexpr std::int64_t kSerialCopyBytes = 256 << 10;

}  // namespace

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

}  // namespace sampan
