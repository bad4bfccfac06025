#include "serve/trace/span_exporter.h"

#include <algorithm>
#include <new>

#include "base/error.h"
#include "serve/trace/otlp_json.h"

namespace sampan {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::minutes kReportEvery{1};

}  // namespace

SpanExporter::SpanExporter(SpanExporterOptions options, std::unique_ptr<SpanTransport> transport)
    : options_(std::move(options)), transport_(std::move(transport)) {
  SAMPAN_CHECK(options_.queue >= 1 && options_.batch >= 1 && options_.attempts >= 1);
  thread_ = std::thread([this] { work(); });
}

SpanExporter::~SpanExporter() {
  {
    const Lock lock(mutex_);
    end_ = Clock::now() + options_.last_flush;
    transport_->set_deadline(*end_);
  }
  changed_.notify_all();
  thread_.join();
}

void SpanExporter::add(Span span) {
  bool wakes = false;
  {
    const Lock lock(mutex_);
    if (queue_.size() >= options_.queue) {
      ++counts_.dropped;
      return;
    }
    if (queue_.empty()) oldest_ = Clock::now();
    queue_.push_back(std::move(span));
    ++added_;
    wakes = queue_.size() == 1 || queue_.size() == options_.batch;
  }
  if (wakes) changed_.notify_all();
}

bool SpanExporter::flush(milliseconds longest) {
  Lock lock(mutex_);
  ++flushing_;
  changed_.notify_all();
  const std::int64_t until = added_;
  const bool is_done = sent_.wait_for(lock, longest, [&] { return done_ >= until; });
  --flushing_;
  return is_done;
}

SpanCounts SpanExporter::counts() const {
  const Lock lock(mutex_);
  return counts_;
}

void SpanExporter::work() {
  Lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return end_ || !queue_.empty(); });
    if (queue_.empty()) return;
    changed_.wait_until(lock, oldest_ + options_.delay,
                        [&] { return end_ || flushing_ > 0 || queue_.size() >= options_.batch; });
    if (end_ && Clock::now() >= *end_) {
      counts_.dropped += static_cast<std::int64_t>(queue_.size());
      return;
    }
    const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), options_.batch));
    const std::vector<Span> batch(std::make_move_iterator(queue_.begin()),
                                  std::make_move_iterator(queue_.begin() + count));
    queue_.erase(queue_.begin(), queue_.begin() + count);
    oldest_ = Clock::now();  // of those that are left: near enough
    send(batch, lock);
    done_ += count;
    sent_.notify_all();
  }
}

// Sends a batch with as many tries as there are; the lock is open while it waits for the network.
void SpanExporter::send(const std::vector<Span>& batch, Lock& lock) {
  const auto size = static_cast<std::int64_t>(batch.size());
  std::string body;
  try {
    lock.unlock();
    body = otlp_json(options_.resource, options_.version, batch);
    lock.lock();
  } catch (const std::bad_alloc&) {
    lock.lock();
    counts_.dropped += size;
    return;
  }
  for (int failures = 0; true;) {
    lock.unlock();
    const SendResult result = transport_->send(body);
    lock.lock();
    if (result.kind == SendResult::Kind::kTaken) {
      const std::int64_t rejected = std::min(result.rejected, size);
      counts_.exported += size - rejected;
      counts_.failed += rejected;
      if (rejected > 0) report(result, static_cast<std::size_t>(rejected), lock);
      return;
    }
    ++failures;
    if (result.kind == SendResult::Kind::kRetry && wait_to_retry(result, failures, lock)) continue;
    counts_.failed += size;
    report(result, batch.size(), lock);
    return;
  }
}

// False where there is no further try. The end of the exporter leaves one last one at once.
bool SpanExporter::wait_to_retry(const SendResult& result, int failures, Lock& lock) {
  if (failures >= options_.attempts || end_) return false;
  milliseconds delay =
      std::min(options_.first_retry * (1 << std::min(failures - 1, 16)), options_.longest_retry);
  // Spread over ±25 %, so that many servers do not come back at the same moment.
  const double spread = std::uniform_real_distribution<double>(0.75, 1.25)(random_);
  delay = milliseconds(static_cast<std::int64_t>(static_cast<double>(delay.count()) * spread));
  if (result.retry_after) delay = *result.retry_after;
  if (delay > options_.longest_retry * 5 / 4) return false;
  changed_.wait_for(lock, delay, [&] { return end_.has_value(); });
  return true;
}

void SpanExporter::report(const SendResult& result, std::size_t spans, Lock& lock) {
  if (!options_.log) return;
  const Clock::time_point now = Clock::now();
  if (last_report_ && now < *last_report_ + kReportEvery) return;
  last_report_ = now;
  lock.unlock();
  options_.log(LogLevel::kWarning, "spans were not taken by the collector",
               {{"spans", static_cast<std::int64_t>(spans)}, {"detail", result.detail}});
  lock.lock();
}

}  // namespace sampan
