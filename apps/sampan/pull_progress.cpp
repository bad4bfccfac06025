#include "pull_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/clock.h"
#include "base/error.h"
#include "hub/file_system.h"

namespace sampan {
namespace {

constexpr auto kPlainInterval = std::chrono::seconds(10);
constexpr double kSpeedWindowSeconds = 3;  // the speed shown is an average over about so long
constexpr double kMinSpeedShown =
    1000;  // bytes/s; below it no estimate of the time left means anything
constexpr std::size_t kBarWidth = 24;

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string bar(double fraction) {
  const auto filled = static_cast<std::size_t>(fraction * static_cast<double>(kBarWidth));
  return "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '-') + "] ";
}

// The beginning of a text of plain characters.
std::string cut(std::string text, std::size_t width) {
  if (text.size() <= width) return text;
  text.resize(width);
  return text;
}

// A name that may hold anything: shown only when it is plain ASCII, so that bytes are columns.
std::string plain_name(const std::string& name) {
  const bool plain =
      std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
  return plain ? name : std::string();
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 359'999) return "?";
  const auto total = static_cast<unsigned>(std::lround(seconds));
  const unsigned hours = total / 3600, minutes = total / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, total % 60);
  return fmt::format("{}:{:02}", minutes, total % 60);
}

std::string progress_text(const PullProgress& progress, double bytes_per_second,
                          std::size_t width) {
  if (progress.phase == PullProgress::Phase::kListing) return "asking the hub for the file list";
  if (progress.phase == PullProgress::Phase::kChecking)
    return cut("checking " + plain_name(progress.file), width);
  const double total = static_cast<double>(progress.total_bytes);
  const double done = static_cast<double>(std::min(progress.done_bytes, progress.total_bytes));
  const double fraction = total > 0 ? done / total : 1;
  std::string text =
      fmt::format("{:3.0f} %  {} of {}", std::floor(fraction * 100),
                  format_bytes(progress.done_bytes), format_bytes(progress.total_bytes));
  if (bytes_per_second >= kMinSpeedShown) {
    text +=
        fmt::format("  {}/s  {} left", format_bytes(static_cast<std::uint64_t>(bytes_per_second)),
                    format_duration((total - done) / bytes_per_second));
  }
  text += fmt::format("  {} of {} files", progress.done_files, progress.total_files);
  if (text.size() + kBarWidth + 3 <= width) text = bar(fraction) + text;
  const std::string name = plain_name(progress.file);
  if (!name.empty() && text.size() + name.size() + 2 <= width) text += "  " + name;
  return cut(text, width);
}

PullProgressDisplay::PullProgressDisplay() : is_terminal_(::isatty(STDERR_FILENO) == 1) {}

void PullProgressDisplay::show(const PullProgress& progress) {
  for (const std::string& note : progress.notes) {
    line_.clear();
    std::fprintf(stderr, "%s\n", note.c_str());
  }
  measure_speed(progress);
  if (is_terminal_) {
    line_.show("{}", progress_text(progress, bytes_per_second_, terminal_width() - 1));
  } else {
    print_plainly(progress);
  }
}

void PullProgressDisplay::measure_speed(const PullProgress& progress) {
  const auto now = Clock::now();
  if (progress.phase != PullProgress::Phase::kDownloading) return;
  if (measured_at_ == Clock::time_point{}) {
    measured_at_ = now;
    measured_bytes_ = progress.network_bytes;
    return;
  }
  const double seconds = std::chrono::duration<double>(now - measured_at_).count();
  if (seconds < 0.25) return;
  const double speed = static_cast<double>(progress.network_bytes - measured_bytes_) / seconds;
  const double weight = bytes_per_second_ == 0 ? 1 : 1 - std::exp(-seconds / kSpeedWindowSeconds);
  bytes_per_second_ += weight * (speed - bytes_per_second_);
  measured_at_ = now;
  measured_bytes_ = progress.network_bytes;
}

void PullProgressDisplay::print_plainly(const PullProgress& progress) {
  const auto now = Clock::now();
  if (progress.phase != PullProgress::Phase::kDownloading || now < next_plain_) return;
  next_plain_ = now + kPlainInterval;
  std::fprintf(stderr, "%s\n", progress_text(progress, bytes_per_second_, 200).c_str());
}

}  // namespace sampan
