#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/matmul.h"
#include "kernels/matmul_table.h"
#include "kernels/panels.h"

namespace sampan {

// Weights that lie in rows of plain floats, not in panels.
bool has_float_rows(const WeightMatrix& w);

// Words (LaneJob) of a row of plain floats.
std::int64_t lane_words(const WeightMatrix& w);

// Whether the products of a task with w, one of its matrices, go by the order of the lanes.
bool is_by_lane(const MatmulTable& table, const MatmulTask& task, const WeightMatrix& w);

// Outputs of one of the two products of a gated job: a third of a second-level cache at most, since
// both are read again right away.
inline constexpr std::int64_t kGatedFloats = 32 << 10;
static_assert(kGatedFloats >= kPanelRows * kMaxJobTokens);  // a panel

// How a task is cut: blocks of tokens times strips of rows. Every output is computed whole within
// one job, so the cut never shows in the result.
struct Cut {
  std::int64_t block_tokens;
  std::int64_t strip_rows;
  std::int64_t strips;
  std::int64_t first_job;  // of the jobs of all tasks
};

// cuts: how each task is cut, so that so many threads finish nearly together; ends: of its jobs
// among those of all.
void cut_tasks(const MatmulTable& table, std::span<const MatmulTask> tasks, int threads,
               std::vector<Cut>& cuts, std::vector<std::int64_t>& ends);

}  // namespace sampan
