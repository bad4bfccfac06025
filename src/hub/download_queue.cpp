#include "hub/download_queue.h"

#include <algorithm>

#include "base/error.h"
#include "hub/hub_client.h"

namespace sampan {
namespace {

constexpr std::uint64_t kMaxSpanBytes = 64ull << 20;
constexpr std::uint64_t kMinSpanBytes = 4ull << 20;
constexpr auto kBusyDelay = std::chrono::milliseconds(200);
constexpr auto kLongestWait = std::chrono::milliseconds(100);
constexpr std::size_t kMaxNotes = 100;
constexpr std::uint64_t kProgressBytes =
    64 << 10;  // a connection that brought so much was worth its attempt

}  // namespace

DownloadQueue::DownloadQueue(const NetworkTuning& tuning, int connections,
                             const std::atomic<bool>* stop)
    : tuning_(tuning), stop_(stop), connections_(connections), worker_limit_(connections) {}

void DownloadQueue::add(RepoFile file, Url url) {
  jobs_.push_back(std::make_unique<FileJob>(std::move(file), std::move(url)));
}

DownloadTask DownloadQueue::next(int worker) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (error_ || jobs_done_ == jobs_.size() || (stop_ != nullptr && stop_->load())) return {};
    if (auto task = try_next(worker, DownloadClock::now())) return *task;
    changed_.wait_for(lock, kLongestWait);  // a bounded wait: stop_ and the clock notify nobody
  }
}

std::optional<DownloadTask> DownloadQueue::try_next(int worker, DownloadClock::time_point now) {
  while (first_unfinished_ < jobs_.size() &&
         jobs_[first_unfinished_]->state == FileJob::State::kDone) {
    ++first_unfinished_;
  }
  for (std::size_t i = first_unfinished_; i < jobs_.size(); ++i) {
    FileJob& job = *jobs_[i];
    if (job.state == FileJob::State::kActive && job.pieces_left == 0 && job.spans == 0) {
      job.state = FileJob::State::kFinishing;
      return DownloadTask{DownloadTask::Kind::kFinish, &job, {}};
    }
    if (now < job.not_before || now < resume_at_ || worker >= worker_limit_) continue;
    if (job.state == FileJob::State::kActive) {
      if (auto span = claim(job)) return DownloadTask{DownloadTask::Kind::kFetch, &job, *span};
    } else if (job.state == FileJob::State::kWaiting) {
      job.state = FileJob::State::kOpening;
      return DownloadTask{DownloadTask::Kind::kOpen, &job, {}};
    }
  }
  return std::nullopt;
}

// Large requests while much is left, small ones towards the end, so that the workers end together.
std::size_t DownloadQueue::span_pieces(const FileJob& job) const {
  const std::uint64_t piece = job.partial->piece_size(0);
  const std::uint64_t left = job.pieces_left * piece;
  const std::uint64_t bytes = std::clamp(left / (2 * static_cast<std::uint64_t>(connections_)),
                                         kMinSpanBytes, kMaxSpanBytes);
  return static_cast<std::size_t>(std::max<std::uint64_t>(1, bytes / piece));
}

std::optional<Span> DownloadQueue::claim(FileJob& job) {
  if (job.is_sequential && job.spans > 0) return std::nullopt;
  while (job.first_missing < job.pieces.size() &&
         job.pieces[job.first_missing] == FileJob::Piece::kDone) {
    ++job.first_missing;
  }
  std::size_t begin = job.first_missing;
  while (begin < job.pieces.size() && job.pieces[begin] != FileJob::Piece::kMissing) ++begin;
  if (begin == job.pieces.size()) return std::nullopt;
  const std::size_t limit =
      job.is_sequential ? job.pieces.size() : std::min(job.pieces.size(), begin + span_pieces(job));
  Span span{begin, begin};
  while (span.end < limit && job.pieces[span.end] == FileJob::Piece::kMissing) {
    job.pieces[span.end++] = FileJob::Piece::kClaimed;
  }
  ++job.spans;
  return span;
}

void DownloadQueue::opened_complete(FileJob& job) {
  const std::lock_guard lock(mutex_);
  job.state = FileJob::State::kDone;
  ++jobs_done_;
  done_bytes_ += static_cast<std::int64_t>(job.file.size);
  changed_.notify_all();
}

void DownloadQueue::opened(FileJob& job) {
  const std::uint64_t done = job.partial->done_bytes();
  const std::lock_guard lock(mutex_);
  job.pieces.resize(job.partial->piece_count());
  job.pieces_left = 0;
  for (std::size_t piece = 0; piece < job.pieces.size(); ++piece) {
    const bool is_done = job.partial->is_done(piece);
    job.pieces[piece] = is_done ? FileJob::Piece::kDone : FileJob::Piece::kMissing;
    job.pieces_left += is_done ? 0 : 1;
  }
  job.state = FileJob::State::kActive;
  done_bytes_ += static_cast<std::int64_t>(done);
  changed_.notify_all();
}

void DownloadQueue::opened_busy(FileJob& job) {
  const std::lock_guard lock(mutex_);
  job.state = FileJob::State::kWaiting;
  job.not_before = DownloadClock::now() + kBusyDelay;
  if (job.busy_noted) return;
  job.busy_noted = true;
  if (notes_.size() < kMaxNotes)
    notes_.push_back(printable(job.file.path) + ": waiting for another download of it");
}

std::vector<std::byte> DownloadQueue::take_leftover(FileJob& job, std::size_t piece) {
  const std::lock_guard lock(mutex_);
  const auto it = job.leftovers.find(piece);
  if (it == job.leftovers.end()) return {};
  std::vector<std::byte> bytes = std::move(it->second);
  job.leftovers.erase(it);
  return bytes;
}

void DownloadQueue::put_leftover(FileJob& job, std::size_t piece, std::vector<std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  job.leftovers[piece] = std::move(bytes);
}

void DownloadQueue::piece_done(FileJob& job, std::size_t piece) {
  const std::lock_guard lock(mutex_);
  job.failures = 0;
  if (job.pieces[piece] == FileJob::Piece::kDone) return;
  job.pieces[piece] = FileJob::Piece::kDone;
  --job.pieces_left;
}

bool DownloadQueue::become_sequential(FileJob& job, Span& span) {
  const std::lock_guard lock(mutex_);
  job.is_sequential = true;
  if (job.has_sequential_worker) return false;
  // The worker that asked for the file's beginning is about to learn the same, without a request
  // more.
  if (span.begin != 0 && job.pieces[0] == FileJob::Piece::kClaimed) return false;
  job.has_sequential_worker = true;
  span = {0, job.pieces.size()};
  return true;
}

void DownloadQueue::ranges_work(FileJob& job) {
  const std::lock_guard lock(mutex_);
  if (!job.has_sequential_worker) job.is_sequential = false;
}

std::optional<Url> DownloadQueue::direct_url(FileJob& job) {
  const std::lock_guard lock(mutex_);
  return job.direct_url;
}

void DownloadQueue::set_direct_url(FileJob& job, std::optional<Url> url) {
  const std::lock_guard lock(mutex_);
  job.direct_url = std::move(url);
}

void DownloadQueue::count_received(std::uint64_t bytes) {
  network_bytes_ += bytes;
  done_bytes_ += static_cast<std::int64_t>(bytes);
}

void DownloadQueue::count_dropped(std::uint64_t bytes) {
  done_bytes_ -= static_cast<std::int64_t>(bytes);
}

void DownloadQueue::free_pieces(FileJob& job, const Span& span) {
  for (std::size_t piece = span.begin; piece < span.end; ++piece) {
    if (job.pieces[piece] == FileJob::Piece::kClaimed) job.pieces[piece] = FileJob::Piece::kMissing;
  }
  if (span.begin == 0 && span.end == job.pieces.size()) job.has_sequential_worker = false;
  --job.spans;
  changed_.notify_all();
}

void DownloadQueue::release(FileJob& job, const Span& span) {
  const std::lock_guard lock(mutex_);
  free_pieces(job, span);
}

void DownloadQueue::release_failed(FileJob& job, const Span& span, const TransientError& error,
                                   DownloadClock::time_point began, std::uint64_t new_bytes) {
  const std::lock_guard lock(mutex_);
  free_pieces(job, span);
  if (new_bytes >= kProgressBytes) job.failures = 0;
  // Connections that were open together and fail together have failed once.
  if (job.failures > 0 && began < job.last_failure) return;
  const auto now = DownloadClock::now();
  job.last_failure = now;
  if (++job.failures >= tuning_.max_attempts) {
    if (!error_) {
      error_ = std::make_exception_ptr(
          Error(error.code(),
                fmt::format("{}: {} (gave up after {} attempts; the same command continues)",
                            printable(job.file.path), error.what(), job.failures)));
    }
    return;
  }
  std::chrono::milliseconds delay{};
  try {
    delay = retry_delay(tuning_, job.failures, error, random_fraction());
  } catch (...) {  // the server asks for more patience than we have
    if (!error_) error_ = std::current_exception();
    return;
  }
  job.not_before = now + delay;
  if (error.is_overload()) {
    resume_at_ = now + delay;
    worker_limit_ = std::max(1, worker_limit_ / 2);
  }
  if (notes_.size() < kMaxNotes) {
    notes_.push_back(fmt::format("{}: {}; again in {:.1f} s", printable(job.file.path),
                                 error.what(), static_cast<double>(delay.count()) / 1000));
  }
}

void DownloadQueue::finished(FileJob& job) {
  const std::lock_guard lock(mutex_);
  job.state = FileJob::State::kDone;
  ++jobs_done_;
  changed_.notify_all();
}

void DownloadQueue::restart(FileJob& job) {
  const std::lock_guard lock(mutex_);
  std::fill(job.pieces.begin(), job.pieces.end(), FileJob::Piece::kMissing);
  job.pieces_left = job.pieces.size();
  job.first_missing = 0;
  job.leftovers.clear();
  job.direct_url.reset();
  ++job.restarts;
  job.state = FileJob::State::kActive;
  done_bytes_ -= static_cast<std::int64_t>(job.file.size);
  changed_.notify_all();
}

void DownloadQueue::fail(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
  changed_.notify_all();
}

void DownloadQueue::note(std::string text) {
  const std::lock_guard lock(mutex_);
  if (notes_.size() < kMaxNotes) notes_.push_back(std::move(text));
}

DownloadProgress DownloadQueue::progress() {
  DownloadProgress progress;
  progress.done_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, done_bytes_.load()));
  progress.network_bytes = network_bytes_.load();
  const std::lock_guard lock(mutex_);
  progress.files_done = jobs_done_;
  progress.notes.swap(notes_);
  for (std::size_t i = first_unfinished_; i < jobs_.size(); ++i) {
    if (jobs_[i]->state != FileJob::State::kActive && jobs_[i]->state != FileJob::State::kFinishing)
      continue;
    progress.current = jobs_[i]->file.path;
    break;
  }
  return progress;
}

bool DownloadQueue::is_over(std::exception_ptr* error) {
  const std::lock_guard lock(mutex_);
  *error = error_;
  return error_ != nullptr || jobs_done_ == jobs_.size();
}

}  // namespace sampan
