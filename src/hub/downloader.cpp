#include "hub/downloader.h"

#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/mapped_file.h"
#include "hub/digest.h"

namespace sampan {
namespace fs = std::filesystem;
namespace {

constexpr auto kReportInterval = std::chrono::milliseconds(100);
constexpr auto kPollInterval = std::chrono::milliseconds(10);

// Another worker receives this file from its beginning; this span is not needed.
struct SpanAbandoned {};

// Puts the bytes of one reply into a partial file, piece by piece. A piece is kept in memory until
// it is complete.
class SpanWriter : public HttpSink {
 public:
  SpanWriter(DownloadQueue& queue, FileJob& job, Span& span)
      : queue_(queue), job_(job), span_(span) {
    enter_piece(span.begin);
  }
  // What an unfinished piece holds is kept for the next attempt.
  ~SpanWriter() override {
    if (!buffer_.empty()) queue_.put_leftover(job_, piece_, std::move(buffer_));
  }

  std::uint64_t request_begin() const {
    return partial().piece_offset(span_.begin) + buffer_.size();
  }
  std::uint64_t request_end() const {
    return partial().piece_offset(span_.end - 1) + partial().piece_size(span_.end - 1);
  }
  bool is_complete() const { return position_ == limit_ && began_; }
  std::uint64_t new_bytes() const { return new_bytes_; }

  void begin(const HttpHead& head) override {
    began_ = true;
    const std::string* encoding = head.find("content-encoding");
    if (encoding != nullptr && *encoding != "identity") {
      throw TransientError(fmt::format("{}: sent the content encoded ({})",
                                       head.url.host_and_port(), printable(*encoding)));
    }
    const std::string* range = head.find("content-range");
    if (range != nullptr) {
      begin_range(head, *range);
    } else if (head.status == 206) {
      throw TransientError(head.url.host_and_port() + ": HTTP status 206 without a range");
    } else {
      begin_whole_file(head);
    }
  }

  void accept(std::span<const std::byte> bytes) override {
    queue_.count_received(bytes.size());
    while (!bytes.empty()) {
      if (position_ == limit_) {
        queue_.count_dropped(bytes.size());
        throw TransientError(
            fmt::format("the server sent more than the {} bytes asked for", limit_ - begin_));
      }
      const std::uint64_t piece_end = partial().piece_offset(piece_) + partial().piece_size(piece_);
      const std::size_t n =
          static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), piece_end - position_));
      take(bytes.first(n));
      position_ += n;
      bytes = bytes.subspan(n);
      if (position_ == piece_end) end_piece();
    }
  }

 private:
  PartialFile& partial() const { return *job_.partial; }

  void begin_range(const HttpHead& head, const std::string& value) {
    const auto range = parse_content_range(value);
    const std::uint64_t size = partial().size();
    const bool fits = range && range->first == request_begin() && range->last < request_end() &&
                      range->total.value_or(size) == size;
    if (!fits) {
      throw TransientError(fmt::format("{}: asked for bytes {}-{} of {}, answers with \"{}\"",
                                       head.url.host_and_port(), request_begin(), request_end() - 1,
                                       size, printable(value)));
    }
    begin_ = position_ = request_begin();
    limit_ = request_end();
    queue_.ranges_work(job_);
  }

  void begin_whole_file(const HttpHead& head) {
    const std::string* length = head.find("content-length");
    const std::uint64_t size = partial().size();
    if (length != nullptr && parse_size(*length).value_or(size) != size) {
      throw TransientError(fmt::format("{}: announces {} bytes, the hub lists {}",
                                       head.url.host_and_port(), printable(*length), size));
    }
    const bool is_all = span_.begin == 0 && span_.end == partial().piece_count();
    if (!is_all && !queue_.become_sequential(job_, span_)) throw SpanAbandoned{};
    if (piece_ != 0) leave_piece();
    enter_piece(0);
    begin_ = position_ = 0;
    limit_ = size;
  }

  void leave_piece() {
    if (!buffer_.empty()) queue_.put_leftover(job_, piece_, std::move(buffer_));
    buffer_.clear();
  }

  void enter_piece(std::size_t piece) {
    piece_ = piece;
    is_wanted_ = !partial().is_done(piece);
    if (!buffer_.empty() || !is_wanted_) return;
    buffer_ = queue_.take_leftover(job_, piece);
    buffer_.reserve(partial().piece_size(piece));
  }

  // bytes lie within the current piece, at position_.
  void take(std::span<const std::byte> bytes) {
    const std::uint64_t held_to = partial().piece_offset(piece_) + buffer_.size();
    std::size_t skipped = bytes.size();
    if (is_wanted_) {
      skipped = static_cast<std::size_t>(
          std::min<std::uint64_t>(bytes.size(), held_to - std::min(held_to, position_)));
      buffer_.insert(buffer_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(skipped),
                     bytes.end());
      new_bytes_ += bytes.size() - skipped;
    }
    queue_.count_dropped(skipped);
  }

  void end_piece() {
    if (is_wanted_) {
      partial().store_piece(piece_, buffer_);
      buffer_.clear();
      queue_.piece_done(job_, piece_);
    }
    if (position_ < limit_) enter_piece(piece_ + 1);
  }

  DownloadQueue& queue_;
  FileJob& job_;
  Span& span_;
  std::size_t piece_ = 0;
  bool is_wanted_ = true;
  bool began_ = false;
  std::vector<std::byte> buffer_;  // the beginning of the current piece
  std::uint64_t begin_ = 0, position_ = 0, limit_ = 0;
  std::uint64_t new_bytes_ = 0;
};

class Worker {
 public:
  Worker(int number, DownloadQueue& queue, const HubClient& hub, const RepoSnapshot& snapshot,
         const StoreLayout& layout, const NetworkTuning& tuning, const std::atomic<bool>* stop)
      : number_(number),
        queue_(queue),
        hub_(hub),
        snapshot_(snapshot),
        layout_(layout),
        client_(tuning, [stop] { return stop->load(); }) {}

  void run() {
    try {
      while (true) {
        DownloadTask task = queue_.next(number_);
        if (task.kind == DownloadTask::Kind::kStop) return;
        if (task.kind == DownloadTask::Kind::kOpen) open(*task.job);
        if (task.kind == DownloadTask::Kind::kFetch) fetch(*task.job, task.span);
        if (task.kind == DownloadTask::Kind::kFinish) finish(*task.job);
      }
    } catch (...) {
      queue_.fail(std::current_exception());
    }
  }

 private:
  void open(FileJob& job) {
    const std::string key = partial_key(job.file, hub_.name(), snapshot_.info.commit);
    job.lock = FileLock::try_lock(layout_.blob_lock(key), FileLock::Mode::kExclusive);
    if (!job.lock) return queue_.opened_busy(job);
    job.sha256 = sha256_if_here(job.file, hub_.name(), layout_);
    if (!job.sha256.empty()) {
      job.lock.reset();
      return queue_.opened_complete(job);
    }
    const bool with_git_oid = job.file.sha256.empty() && !job.file.git_oid.empty();
    job.partial =
        std::make_unique<PartialFile>(layout_.partials(), key, job.file.size, with_git_oid);
    queue_.opened(job);
  }

  void fetch(FileJob& job, Span& span) {
    const auto began = DownloadClock::now();
    std::uint64_t new_bytes = 0;
    try {
      fetch_span(job, span, new_bytes);
      // Before the release: afterwards another worker may finish the file and close it.
      job.partial->advance_digest();
      queue_.release(job, span);
    } catch (const SpanAbandoned&) {
      queue_.release(job, span);
    } catch (const TransientError& error) {
      queue_.release_failed(job, span, error, began, new_bytes);
    } catch (...) {
      queue_.release(job, span);
      throw;
    }
  }

  void fetch_span(FileJob& job, Span& span, std::uint64_t& new_bytes) {
    SpanWriter writer(queue_, job, span);
    const auto direct = queue_.direct_url(job);
    HubRequest request = hub_.request(direct.value_or(job.url));
    request.is_redirect_target = direct.has_value();
    const bool is_whole_file = writer.request_begin() == 0 && writer.request_end() == job.file.size;
    if (!is_whole_file) request.range = {writer.request_begin(), writer.request_end() - 1};
    try {
      const HttpReply reply = client_.get(request, writer);
      new_bytes = writer.new_bytes();
      judge(job, reply, direct.has_value(), writer);
    } catch (...) {
      new_bytes = writer.new_bytes();
      throw;
    }
  }

  void judge(FileJob& job, const HttpReply& reply, bool was_direct, const SpanWriter& writer) {
    const int status = reply.head.status;
    const bool elsewhere = !(reply.head.url.origin() == hub_.endpoint().origin());
    if (status != 200 && status != 206) {
      // A storage's address expires (403, 404, …); then the hub gives a new one. Only the hub's own
      // refusal is final.
      if (was_direct) queue_.set_direct_url(job, std::nullopt);
      if (elsewhere || status == 416) {
        throw TransientError(
            fmt::format("{}: HTTP status {}", reply.head.url.host_and_port(), status));
      }
      hub_.fail_for(reply, job.file.path);
    }
    hub_.check_reply(reply, job.file);
    if (elsewhere) queue_.set_direct_url(job, reply.head.url);
    if (!writer.is_complete()) {
      throw TransientError(reply.head.url.host_and_port() + ": the reply ended early");
    }
  }

  void finish(FileJob& job) {
    const ContentIds ids = job.partial->finish();
    const RepoFile& file = job.file;
    const bool by_sha256 = !file.sha256.empty();
    const std::string& expected = by_sha256 ? file.sha256 : file.git_oid;
    const std::string& found = by_sha256 ? ids.sha256 : ids.git_oid;
    if (expected != found && !expected.empty()) return distrust(job, expected, found);
    job.sha256 = ids.sha256;
    job.partial->publish(layout_.blob(ids.sha256));
    if (!file.git_oid.empty() && !by_sha256) remember_git_id(file, ids.sha256);
    job.partial.reset();
    job.lock.reset();
    queue_.finished(job);
  }

  void remember_git_id(const RepoFile& file, const std::string& sha256) {
    const fs::path path =
        layout_.git_ids(hub_.name()) / fmt::format("{}-{}", file.git_oid, file.size);
    write_file_atomically(path, sha256);
  }

  // Once, the file is fetched again from its first byte: what a crash or a proxy spoilt may be
  // right this time.
  void distrust(FileJob& job, const std::string& expected, const std::string& found) {
    if (job.restarts == 0) {
      queue_.note(fmt::format("{}: the content does not have the listed digest; fetching it again",
                              printable(job.file.path)));
      job.partial->reset();
      return queue_.restart(job);
    }
    job.partial->discard();
    fail(ErrorCode::kInvalidData,
         "{}: {}: digest {} was received, {} is listed: the server's content is damaged or was "
         "tampered with; nothing of it is kept",
         hub_.name().to_string(), printable(job.file.path), found, expected);
  }

  const int number_;
  DownloadQueue& queue_;
  const HubClient& hub_;
  const RepoSnapshot& snapshot_;
  const StoreLayout& layout_;
  HttpClient client_;
};

// Lets the workers work until all is done, one of them has failed or the user cancels; then stop
// tells them.
void run_workers(DownloadQueue& queue, std::vector<std::unique_ptr<Worker>>& workers,
                 std::atomic<bool>& stop, const CancelCheck& cancel,
                 const std::function<void(const DownloadProgress&)>& report) {
  std::vector<std::thread> threads;
  std::exception_ptr error;
  try {
    for (auto& worker : workers) threads.emplace_back([&worker] { worker->run(); });
    auto last_report = DownloadClock::now();
    while (!queue.is_over(&error)) {
      std::this_thread::sleep_for(kPollInterval);
      if (cancel && cancel()) throw PullCancelled();
      if (DownloadClock::now() - last_report < kReportInterval) continue;
      last_report = DownloadClock::now();
      report(queue.progress());
    }
  } catch (...) {
    queue.fail(std::current_exception());
  }
  queue.is_over(&error);
  stop = error != nullptr;
  for (std::thread& thread : threads) thread.join();
  report(queue.progress());
  if (error) std::rethrow_exception(error);
}

}  // namespace

std::vector<DownloadedFile> download_files(
    const HubClient& hub, const RepoSnapshot& snapshot, const std::vector<RepoFile>& files,
    const StoreLayout& layout, const DownloadOptions& options,
    const std::function<void(const DownloadProgress&)>& report) {
  std::atomic<bool> stop{false};
  DownloadQueue queue(options.network, options.connections, &stop);
  for (const RepoFile& file : files) queue.add(file, hub.file_url(snapshot, file.path));
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < options.connections; ++i) {
    workers.push_back(
        std::make_unique<Worker>(i, queue, hub, snapshot, layout, options.network, &stop));
  }
  run_workers(queue, workers, stop, options.cancel, report);
  std::vector<DownloadedFile> out;
  for (const auto& job : queue.jobs()) out.push_back({job->file.path, job->sha256});
  return out;
}

std::string partial_key(const RepoFile& file, const ModelName& name, const std::string& commit) {
  if (!file.sha256.empty()) return "sha256-" + file.sha256;
  if (!file.git_oid.empty()) return fmt::format("git-{}-{}", file.git_oid, file.size);
  return "place-" +
         sha256_hex(fmt::format("{}\n{}\n{}\n{}", name.to_string(), commit, file.path, file.size));
}

std::string sha256_if_here(const RepoFile& file, const ModelName& name, const StoreLayout& layout) {
  std::string sha256 = file.sha256;
  if (sha256.empty() && !file.git_oid.empty()) {
    const fs::path known = layout.git_ids(name) / fmt::format("{}-{}", file.git_oid, file.size);
    if (!file_size_if_present(known)) return {};
    sha256 = read_file(known, 1024);
    if (sha256.size() != 64 || !is_commit_id(sha256)) return {};
  }
  if (sha256.empty()) return {};
  return file_size_if_present(layout.blob(sha256)) == file.size ? sha256 : std::string();
}

}  // namespace sampan
