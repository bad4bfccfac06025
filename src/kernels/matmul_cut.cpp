#include "kernels/matmul_cut.h"

#include <algorithm>
#include <numeric>

#include "base/ceil_div.h"
#include "kernels/job_runs.h"
#include "kernels/lanes.h"

namespace sampan {

bool has_float_rows(const WeightMatrix& w) {
  return w.activations() == ActivationKind::kFloat || w.activations() == ActivationKind::kBf16;
}

std::int64_t lane_words(const WeightMatrix& w) {
  return w.activations() == ActivationKind::kBf16 ? w.columns() / 2 : w.columns();
}

bool is_by_lane(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w) {
  if (w.activations() == ActivationKind::kBf16) {
    return task.rows >= kManyPairTokens && table.bf16_pair_lanes != nullptr &&
           w.columns() % 2 == 0 && task.first_column % (2 * kLanes) == 0;
  }
  return task.rows >= kManyTokens && table.order_lanes != nullptr &&
         w.activations() == ActivationKind::kFloat && task.first_column % kLanes == 0;
}

namespace {

// A job's activations should stay in a core's second-level cache while all weights pass by.
constexpr std::int64_t kJobActivationBytes = 256 << 10;
// Weights a job, of one matrix, so that taking a job and starting its stream cost little beside it.
constexpr std::int64_t kJobWeightBytes = 64 << 10;
// With so many tokens a job is long enough with few weights, and threads finish more nearly
// together.
constexpr std::int64_t kLongJobTokens = 64;
constexpr std::int64_t kLongJobWeightBytes = 4 << 10;
// Rows of plain floats that a kernel takes at a time, with few tokens.
constexpr std::int64_t kFloatUnitRows = 4;

// Rows that a kernel takes at a time.
struct Units {
  std::int64_t rows;     // a unit
  std::int64_t bytes;    // of weights, a unit
  std::int64_t at_once;  // units that a kernel takes best
};

// fair_bytes: weights a job so that threads finish nearly together.
Units units_of(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w,
               std::int64_t fair_bytes) {
  if (has_float_rows(w)) {
    Units units = {1, row_bytes(w.dtype(), w.columns()), kFloatUnitRows};
    if (is_by_lane(table, task, w)) {
      const bool is_wide =
          lane_words(w) > kWideLaneWords && units.bytes * kWideLaneUnitRows <= fair_bytes;
      units.at_once = is_wide ? kWideLaneUnitRows : table.lane_unit_rows;
    }
    return units;
  }
  return {kPanelRows, panel_bytes(w.dtype(), w.columns()), table.strip_panels};
}

// Of both products of a gated task, whose jobs cover the same rows of both.
Units units_of(const MatmulTable& table, const MatmulTask& task, std::int64_t fair_bytes) {
  const Units units = units_of(table, task, *task.w, fair_bytes);
  if (task.up == nullptr) return units;
  const Units other = units_of(table, task, *task.up, fair_bytes);
  const std::int64_t rows = std::lcm(units.rows, other.rows);
  return {rows, units.bytes * (rows / units.rows) + other.bytes * (rows / other.rows),
          std::max(units.at_once * units.rows, other.at_once * other.rows) / rows};
}

// Tokens that a job takes at most.
std::int64_t most_tokens(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w) {
  if (is_by_lane(table, task, w)) return kLaneJobTokens;
  const ActivationKind kind = w.activations();
  const std::int64_t row_bytes = w.columns() / block_width(kind) * block_bytes(kind);
  return std::clamp(kJobActivationBytes / row_bytes, std::int64_t{24}, kMaxJobTokens);
}

std::int64_t most_tokens(const MatmulTable& table, const MatmulTask& task) {
  const std::int64_t most = most_tokens(table, task, *task.w);
  return task.up == nullptr ? most : std::min(most, most_tokens(table, task, *task.up));
}

}  // namespace

void cut_tasks(const MatmulTable& table, std::span<const MatmulTask> tasks, int threads,
               std::vector<Cut>& cuts, std::vector<std::int64_t>& ends) {
  std::int64_t weight_bytes = 0;
  for (const MatmulTask& task : tasks) {
    if (task.rows == 0) continue;
    weight_bytes += task.w->bytes();
    if (task.up != nullptr) weight_bytes += task.up->bytes();
  }
  const std::int64_t fair_bytes = weight_bytes / (kJobsPerThread * threads);
  cuts.clear();
  ends.clear();
  std::int64_t jobs = 0;
  for (const MatmulTask& task : tasks) {
    const std::int64_t rows = task.w->rows();
    const Units units = units_of(table, task, fair_bytes);
    const std::int64_t blocks = ceil_div(task.rows, most_tokens(table, task));
    Cut cut;
    cut.block_tokens = blocks == 0 ? 0 : ceil_div(task.rows, blocks);
    const std::int64_t least_bytes =
        cut.block_tokens < kLongJobTokens ? kJobWeightBytes : kLongJobWeightBytes;
    const std::int64_t wanted = std::clamp<std::int64_t>(
        std::min((task.up == nullptr ? 1 : 2) * least_bytes, fair_bytes) / units.bytes, 1,
        ceil_div(rows, units.rows));
    std::int64_t most_units = kMaxJobFloatRows;
    if (task.up != nullptr && blocks > 0) {
      most_units = std::min(most_units, kGatedFloats / (cut.block_tokens * units.rows));
    }
    cut.strip_rows =
        units.rows * std::min(ceil_div(wanted, units.at_once) * units.at_once, most_units);
    cut.strips = ceil_div(rows, cut.strip_rows);
    cut.first_job = jobs;
    jobs += blocks * cut.strips;
    cuts.push_back(cut);
    ends.push_back(jobs);
  }
}

}  // namespace sampan
