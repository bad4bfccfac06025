#pragma once

#include <chrono>
#include <string>

#include "hub/pull.h"
#include "progress_line.h"

namespace sampan {

// Shows a pull on standard error: one line with a bar on a terminal, elsewhere a plain line now and
// then.
class PullProgressDisplay {
 public:
  PullProgressDisplay();
  void show(const PullProgress& progress);
  void clear() { line_.clear(); }

 private:
  void measure_speed(const PullProgress& progress);
  void print_plainly(const PullProgress& progress);

  ProgressLine line_;
  bool is_terminal_;
  std::chrono::steady_clock::time_point measured_at_{};
  std::uint64_t measured_bytes_ = 0;
  double bytes_per_second_ = 0;
  std::chrono::steady_clock::time_point next_plain_{};
};

// "42 %  1.23 GB of 2.93 GB  84.3 MB/s  0:21 left  3 of 9 files  model.safetensors", with a bar
// where width columns have room.
std::string progress_text(const PullProgress& progress, double bytes_per_second, std::size_t width);

// "0:07", "12:34", "1:02:03".
std::string format_duration(double seconds);

}  // namespace sampan
