#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "hub/file_system.h"
#include "hub/http.h"
#include "hub/listing.h"
#include "hub/partial_file.h"

namespace sampan {

using DownloadClock = std::chrono::steady_clock;

// One file to download, as the queue and one or more workers see it. What the queue's lock guards
// is private to the queue; the rest is set before a worker can see it.
struct FileJob {
  FileJob(RepoFile repo_file, Url hub_url) : file(std::move(repo_file)), url(std::move(hub_url)) {}

  const RepoFile file;
  const Url url;
  std::optional<FileLock> lock;          // from opening to the end
  std::unique_ptr<PartialFile> partial;  // likewise
  std::string sha256;                    // once done
  int restarts = 0;                      // from scratch, after a wrong digest

 private:
  friend class DownloadQueue;
  enum class State { kWaiting, kOpening, kActive, kFinishing, kDone };
  enum class Piece : std::uint8_t { kMissing, kClaimed, kDone };
  State state = State::kWaiting;
  std::vector<Piece> pieces;
  std::size_t pieces_left = 0;
  std::size_t first_missing = 0;  // none before it
  // The beginnings of pieces that a cut connection left.
  std::map<std::size_t, std::vector<std::byte>> leftovers;
  int spans = 0;                       // workers at it
  bool is_sequential = false;          // its server sends whole files only: one worker at a time
  bool has_sequential_worker = false;  // which receives the whole file
  int failures = 0;                    // in a row
  DownloadClock::time_point last_failure{};
  DownloadClock::time_point not_before{};
  bool busy_noted = false;
  std::optional<Url> direct_url;  // where the hub redirected to
};

// A run of pieces that one worker fetches with one request.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct DownloadTask {
  enum class Kind { kStop, kOpen, kFetch, kFinish };
  Kind kind = Kind::kStop;
  FileJob* job = nullptr;
  Span span;
};

struct DownloadProgress {
  std::uint64_t done_bytes = 0;     // of all files, those from earlier runs included
  std::uint64_t network_bytes = 0;  // received in this run
  std::size_t files_done = 0;
  std::string current;  // a file under way
  // Events since the last call: retries, files begun by other processes.
  std::vector<std::string> notes;
};

// Hands out work to the workers of a download and decides on retries. Thread-safe.
class DownloadQueue {
 public:
  DownloadQueue(const NetworkTuning& tuning, int connections, const std::atomic<bool>* stop);

  void add(RepoFile file, Url url);
  const std::vector<std::unique_ptr<FileJob>>& jobs() const { return jobs_; }

  // Waits for something to do. kStop: everything is done, or the download has failed or was
  // stopped.
  DownloadTask next(int worker);

  // Ends of an kOpen task: the content turned out to be here already; the partial file is open;
  // another process has it.
  void opened_complete(FileJob& job);
  void opened(FileJob& job);
  void opened_busy(FileJob& job);

  // During a kFetch task.
  std::vector<std::byte> take_leftover(FileJob& job, std::size_t piece);
  void put_leftover(FileJob& job, std::size_t piece, std::vector<std::byte> bytes);
  void piece_done(FileJob& job, std::size_t piece);
  // The server sends the whole file from its beginning. True: this span is now all of it. False:
  // another worker has it.
  bool become_sequential(FileJob& job, Span& span);
  void ranges_work(FileJob& job);
  std::optional<Url> direct_url(FileJob& job);
  void set_direct_url(FileJob& job, std::optional<Url> url);
  void count_received(std::uint64_t bytes);
  void count_dropped(std::uint64_t bytes);  // received, but not part of what was missing
  // Ends it; the pieces of the span that are not done are up for others. began: when the request
  // was sent.
  void release(FileJob& job, const Span& span);
  // new_bytes: how much of what was missing arrived before the failure.
  void release_failed(FileJob& job, const Span& span, const TransientError& error,
                      DownloadClock::time_point began, std::uint64_t new_bytes);

  // Ends of a kFinish task: published, or to be fetched again from scratch (its partial file was
  // reset).
  void finished(FileJob& job);
  void restart(FileJob& job);

  // A failure that ends the download; the first one counts.
  void fail(std::exception_ptr error);
  void note(std::string text);

  DownloadProgress progress();
  // Whether all workers may stop. error: what ended the download, or null.
  bool is_over(std::exception_ptr* error);

 private:
  std::optional<DownloadTask> try_next(int worker, DownloadClock::time_point now);
  std::optional<Span> claim(FileJob& job);
  void free_pieces(FileJob& job, const Span& span);
  std::size_t span_pieces(const FileJob& job) const;

  const NetworkTuning& tuning_;
  const std::atomic<bool>* stop_;  // may be null
  const int connections_;
  std::vector<std::unique_ptr<FileJob>> jobs_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t jobs_done_ = 0;
  std::size_t first_unfinished_ = 0;       // all jobs before it are done
  int worker_limit_;                       // halved by each 429 and 503
  DownloadClock::time_point resume_at_{};  // all workers wait until then, after a 429 or 503
  std::exception_ptr error_;
  std::vector<std::string> notes_;
  std::atomic<std::int64_t> done_bytes_{0};
  std::atomic<std::uint64_t> network_bytes_{0};
};

}  // namespace sampan
