#include "kernels/panels.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/ceil_div.h"
#include "base/error.h"
#include "base/memory.h"
#include "kernels/isa_tables.h"
#include "kernels/job_runs.h"
#include "kernels/pack_table.h"

namespace sampan {
namespace {

// Bytes of the source that one job turns into panels: enough that asking for its pages and taking
// the job cost little beside it, few enough that threads finish nearly together.
constexpr std::int64_t kJobBytes = 128 << 10;

// One matrix on its way into panels.
class Packing {
 public:
  Packing(const PackTable& table, const PackTask& task)
      : task_(task),
        kernel_(table.kernels[static_cast<int>(task.source.dtype)]),
        tiles_(task.source.columns() / panel_format(task.source.dtype).tile_columns),
        tile_header_bytes_(panel_format(task.source.dtype).header_bytes),
        header_bytes_(panel_header_bytes(task.source.dtype, task.source.columns())),
        panel_bytes_(panel_bytes(task.source.dtype, task.source.columns())),
        source_row_bytes_(row_bytes(task.source.dtype, task.source.columns())),
        source_rows_(task.source.rows()),
        rows_(task.row_order.empty() ? source_rows_
                                     : static_cast<std::int64_t>(task.row_order.size())) {
    SAMPAN_CHECK(kernel_ != nullptr);
  }

  std::int64_t jobs() const { return ceil_div(panels(), panels_a_job()); }

  void run_job(std::int64_t job) const {
    const std::int64_t begin = job * panels_a_job();
    const std::int64_t end = std::min(begin + panels_a_job(), panels());
    map_rows(begin * kPanelRows, std::min(end * kPanelRows, rows_));
    for (std::int64_t panel = begin; panel < end; ++panel) pack_panel(panel);
  }

 private:
  std::int64_t panels() const { return ceil_div(rows_, kPanelRows); }
  std::int64_t panels_a_job() const {
    return std::max<std::int64_t>(1, kJobBytes / (kPanelRows * source_row_bytes_));
  }

  // Where their order leaves rows near each other, as that of heads does.
  void map_rows(std::int64_t begin, std::int64_t end) const {
    const std::byte* first = row(begin);
    const std::byte* last = first;
    for (std::int64_t i = begin + 1; i < end; ++i) {
      first = std::min(first, row(i));
      last = std::max(last, row(i));
    }
    const std::int64_t bytes = last - first + source_row_bytes_;
    if (bytes > 2 * (end - begin) * source_row_bytes_) return;
    map_pages({first, static_cast<std::size_t>(bytes)});
  }

  void pack_panel(std::int64_t panel) const {
    PackJob job;
    job.count = static_cast<int>(std::min<std::int64_t>(kPanelRows, rows_ - panel * kPanelRows));
    for (int r = 0; r < job.count; ++r) job.rows[r] = row(panel * kPanelRows + r);
    job.tiles = tiles_;
    job.header = task_.out + panel * panel_bytes_;
    job.codes = job.header + header_bytes_;
    if (job.count < kPanelRows) {
      std::memset(job.header, 0, static_cast<std::size_t>(panel_bytes_));
      return pack_table_reference().kernels[static_cast<int>(task_.source.dtype)](job);
    }
    const std::int64_t headers = tiles_ * tile_header_bytes_;
    std::memset(job.header + headers, 0, static_cast<std::size_t>(header_bytes_ - headers));
    kernel_(job);
  }

  const std::byte* row(std::int64_t index) const {
    if (!task_.row_order.empty()) {
      index = task_.row_order[static_cast<std::size_t>(index)];
      SAMPAN_CHECK(index >= 0 && index < source_rows_);
    }
    return task_.source.data + index * source_row_bytes_;
  }

  const PackTask& task_;
  PackKernel kernel_;
  std::int64_t tiles_;
  std::int64_t tile_header_bytes_;
  std::int64_t header_bytes_;
  std::int64_t panel_bytes_;
  std::int64_t source_row_bytes_;
  std::int64_t source_rows_;
  std::int64_t rows_;
};

const PackTable& active_pack_table() {
  static const PackTable& table = pack_table(active_isa());
  return table;
}

}  // namespace

const PackTable& pack_table(Isa isa) { return isa_tables(isa).pack(); }

const PanelFormat& panel_format(DType dtype) {
  const PanelFormat& format = kPanelFormats[static_cast<int>(dtype)];
  SAMPAN_CHECK(format.tile_columns != 0);
  return format;
}

std::int64_t panel_header_bytes(DType dtype, std::int64_t columns) {
  const PanelFormat& format = panel_format(dtype);
  return (columns / format.tile_columns * format.header_bytes + 63) / 64 * 64;
}

std::int64_t panel_bytes(DType dtype, std::int64_t columns) {
  const PanelFormat& format = panel_format(dtype);
  return panel_header_bytes(dtype, columns) + columns / format.tile_columns * format.code_bytes;
}

void pack_panels_with_table(const PackTable& table, std::span<const PackTask> tasks,
                            ThreadPool& pool) {
  std::vector<Packing> packings;
  std::vector<std::int64_t> ends;  // of the jobs of each task among those of all
  std::int64_t jobs = 0;
  for (const PackTask& task : tasks) {
    packings.emplace_back(table, task);
    jobs += packings.back().jobs();
    ends.push_back(jobs);
  }
  for_each_job(ends, pool, [&](std::int64_t job, int) {
    const auto task = std::upper_bound(ends.begin(), ends.end(), job) - ends.begin();
    const std::int64_t first = task == 0 ? 0 : ends[static_cast<std::size_t>(task) - 1];
    packings[static_cast<std::size_t>(task)].run_job(job - first);
  });
}

void pack_panels(std::span<const PackTask> tasks, ThreadPool& pool) {
  pack_panels_with_table(active_pack_table(), tasks, pool);
}

}  // namespace sampan
