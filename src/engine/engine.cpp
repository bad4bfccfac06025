#include "engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "engine/compute_turns.h"
#include "engine/scheduler.h"
#include "engine/token_scores.h"
#include "models/rope.h"

namespace sampan {
namespace {

using Clock = Task::Clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// A request may not ask for more rows of logits at once than this many bytes hold.
constexpr std::int64_t kLogitBytes = std::int64_t{64} << 20;
// Without others that decode, a step may take this many times longer.
constexpr double kLonePrefillFactor = 4;

std::int64_t pool_blocks(const Model& model, const EngineOptions& options) {
  return std::max<std::int64_t>(1, options.kv_bytes / kv_block_bytes(model, options.kv_dtype));
}

Scheduler::Limits scheduler_limits(const ModelConfig& config, const EngineOptions& options) {
  Scheduler::Limits limits;
  limits.max_running = options.max_running;
  limits.max_logit_rows = std::max<std::int64_t>(1, kLogitBytes / (4 * config.vocab_size));
  limits.use_prefixes = options.prefix_cache;
  if (rope_depends_on_length(config.rope))
    limits.prefix_length_limit = config.rope.original_context;
  return limits;
}

void check_request(const GenerationRequest& request, std::int64_t vocab_size,
                   std::int64_t context) {
  if (request.prompt.empty())
    fail(ErrorCode::kInvalidArgument, "the prompt is empty: at least one token is needed");
  for (const std::vector<std::int32_t>* ids : {&request.prompt, &request.probe_ids}) {
    for (const std::int32_t id : *ids) {
      if (id < 0 || id >= vocab_size)
        fail(ErrorCode::kInvalidArgument, "token id {} is not in the vocabulary of {}", id,
             vocab_size);
    }
  }
  for (const auto& [id, bias] : request.sampling.logit_bias) {
    if (id < 0 || id >= vocab_size)
      fail(ErrorCode::kInvalidArgument, "logit_bias: token id {} is not in the vocabulary of {}", id,
           vocab_size);
  }
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  if (length + (request.max_tokens > 0 ? 1 : 0) > context) {
    fail(ErrorCode::kLimit, "the prompt has {} tokens, the context holds {}", length, context);
  }
}

bool wants_hidden(const Task& task, bool is_last) {
  if (task.prompt_is_reported) return false;
  return task.request.pooling == Pooling::kMean ||
         (is_last && task.request.pooling == Pooling::kLastToken);
}

// Seconds that a token of a prompt takes, as measured; decides how much of one fits into a step's
// time.
class PrefillPace {
 public:
  void measured(double seconds, std::int64_t prompt_tokens, std::int64_t decoded_tokens) {
    if (prompt_tokens == 0) {
      blend(decode_step_, seconds);
    } else if (prompt_tokens >= 16) {
      const double others = decoded_tokens > 0 ? std::min(decode_step_, seconds / 2) : 0.0;
      blend(per_token_, (seconds - others) / static_cast<double>(prompt_tokens));
    }
  }
  // Tokens for a step, a multiple of 16, at least 16.
  std::int64_t tokens_in(double seconds, std::int64_t most) const {
    if (per_token_ <= 0) return std::min<std::int64_t>(most, 128);
    const double tokens = std::min(seconds / per_token_, 1e6);
    return std::min(most, std::max<std::int64_t>(16, static_cast<std::int64_t>(tokens) / 16 * 16));
  }

 private:
  static void blend(double& mean, double value) {
    mean = mean == 0 ? value : 0.8 * mean + 0.2 * value;
  }

  double per_token_ = 0;
  double decode_step_ = 0;
};

}  // namespace

class Engine::Impl {
 public:
  Impl(const Model& model, ThreadPool& pool, std::shared_ptr<ComputeTurns> turns,
       const EngineOptions& options)
      : model_(model),
        pool_(pool),
        turns_(turns ? std::move(turns) : std::make_shared<ComputeTurns>()),
        options_(options),
        kv_pool_(model, options.kv_dtype, pool_blocks(model, options)),
        context_(std::min(model.config().context_length, kv_pool_.max_blocks() * kKvPagePositions)),
        scheduler_(kv_pool_, scheduler_limits(model.config(), options)),
        workspace_(model.make_workspace()),
        scratch_(static_cast<std::size_t>(pool.size())),
        thread_([this] { loop(); }) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::int64_t context_length() const { return context_; }

  std::vector<RequestId> submit(std::vector<Submission> together);

  void cancel(RequestId id) {
    {
      const std::lock_guard lock(mutex_);
      cancelled_.push_back(id);
    }
    changed_.notify_all();
  }

  EngineMetrics metrics() const {
    const std::lock_guard lock(mutex_);
    EngineMetrics metrics = metrics_;
    metrics.waiting += static_cast<std::int64_t>(inbox_.size());
    return metrics;
  }

 private:
  // A row of logits and what becomes of it.
  struct Job {
    Task* task = nullptr;
    std::int64_t row = 0;
    std::int64_t position = 0;  // of the token that gave the row
    bool is_last = false;       // the next token is drawn from it
    std::optional<ScoredToken> of_prompt, drawn;
    std::optional<Error> error;
  };

  void loop();
  bool take_mail();
  void expire();
  void step();
  void give_up_one();
  void forward(const std::vector<Scheduler::Share>& shares);
  void build_batch(const std::vector<Scheduler::Share>& shares);
  void compute(Job& job, int thread);
  void pool_hidden(Task& task, const Scheduler::Share& share, std::int64_t& row);
  void deliver(const std::vector<Scheduler::Share>& shares);
  void deliver_prompt(Task& task);
  void deliver_token(Task& task, const ScoredToken& token);
  void finish(Task& task, FinishReason reason);
  void fail_task(std::uint64_t id, const Error& error);
  void publish();
  std::span<const float> logits_of(const Job& job) const {
    const auto vocab = static_cast<std::size_t>(model_.config().vocab_size);
    return std::span(logits_).subspan(static_cast<std::size_t>(job.row) * vocab, vocab);
  }

  const Model& model_;
  ThreadPool& pool_;
  std::shared_ptr<ComputeTurns> turns_;
  EngineOptions options_;
  KvPool kv_pool_;
  std::int64_t context_;
  Scheduler scheduler_;
  std::unique_ptr<Workspace> workspace_;
  std::vector<SamplerScratch> scratch_;  // one a thread of the pool
  Batch batch_;
  std::vector<float> logits_;
  std::vector<float> hidden_;
  std::vector<Job> jobs_;
  PrefillPace pace_;
  std::int64_t prompt_tokens_ = 0, cached_tokens_ = 0, generated_tokens_ = 0, steps_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Task>> inbox_;
  std::vector<RequestId> cancelled_;
  EngineMetrics metrics_;
  RequestId last_id_ = 0;
  bool is_stopping_ = false;

  std::thread thread_;  // the last member: it uses all others
};

std::vector<Engine::RequestId> Engine::Impl::submit(std::vector<Submission> together) {
  std::vector<std::unique_ptr<Task>> tasks;
  for (auto& [request, sink] : together) {
    check_request(request, model_.config().vocab_size, context_);
    request.max_tokens =
        std::min(request.max_tokens, context_ - static_cast<std::int64_t>(request.prompt.size()));
    tasks.push_back(std::make_unique<Task>(0, std::move(request), std::move(sink), kv_pool_));
  }
  std::vector<RequestId> ids(tasks.size());
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) throw OverloadedError("the engine is shutting down");
    const std::int64_t free = std::max<std::int64_t>(0, options_.max_running - metrics_.running);
    const std::int64_t waiting = metrics_.waiting + static_cast<std::int64_t>(inbox_.size());
    if (waiting >= options_.max_waiting + free) {
      throw OverloadedError(
          fmt::format("{} requests are waiting already; try again later", waiting));
    }
    inbox_.reserve(inbox_.size() + tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      ids[i] = tasks[i]->id = ++last_id_;
      inbox_.push_back(std::move(tasks[i]));
    }
  }
  changed_.notify_all();
  return ids;
}

void Engine::Impl::loop() {
  while (take_mail()) {
    expire();
    step();
    publish();
  }
  for (auto& task : scheduler_.remove_all())
    task->sink->on_error(OverloadedError("the engine is shutting down"));
}

// Waits until there is something to do. False when the engine ends.
bool Engine::Impl::take_mail() {
  std::vector<std::unique_ptr<Task>> arrived;
  std::vector<RequestId> cancelled;
  bool goes_on = true;
  {
    std::unique_lock lock(mutex_);
    const auto has_work = [&] {
      return is_stopping_ || !inbox_.empty() || !cancelled_.empty() ||
             metrics_.running + metrics_.waiting > 0;
    };
    changed_.wait(lock, has_work);
    arrived.swap(inbox_);
    cancelled.swap(cancelled_);
    metrics_.waiting += static_cast<std::int64_t>(arrived.size());
    goes_on = !is_stopping_;
  }
  for (auto& task : arrived) scheduler_.add(std::move(task));
  for (const RequestId id : cancelled) scheduler_.remove(id);
  return goes_on;
}

void Engine::Impl::expire() {
  const Clock::time_point now = Clock::now();
  while (const std::unique_ptr<Task> task = scheduler_.remove_expired(now)) {
    task->sink->on_error(DeadlineError(fmt::format("the request's deadline passed after {:.1f} s",
                                                   seconds_between(task->arrival, now))));
  }
}

void Engine::Impl::step() {
  const double slice = std::chrono::duration<double>(options_.prefill_slice).count();
  const std::vector<Scheduler::Share> shares =
      scheduler_.plan(pace_.tokens_in(slice, options_.max_step_tokens),
                      pace_.tokens_in(slice * kLonePrefillFactor, options_.max_step_tokens));
  if (shares.empty()) return give_up_one();
  publish();
  try {
    forward(shares);
  } catch (const std::exception& error) {
    // Weights that can no longer be read, or no memory: those who were computed hear of it, the
    // engine goes on.
    std::vector<std::uint64_t> ids;
    for (const Scheduler::Share& share : shares) ids.push_back(share.task->id);
    for (const std::uint64_t id : ids) fail_task(id, Error(ErrorCode::kIo, error.what()));
    return;
  }
  deliver(shares);
}

// A text that does not fit although it is alone: the system gave less memory than was planned.
void Engine::Impl::give_up_one() {
  if (scheduler_.running() > 0 || scheduler_.waiting() == 0) return;
  fail_task(scheduler_.first_waiting(),
            Error(ErrorCode::kLimit, "the key-value cache has no room for the text"));
}

void Engine::Impl::forward(const std::vector<Scheduler::Share>& shares) {
  const ComputeTurns::Turn turn(*turns_);
  const Clock::time_point begin = Clock::now();
  std::int64_t decoded = 0;
  for (const Scheduler::Share& share : shares) {
    if (share.task->first_step == Clock::time_point{}) share.task->first_step = begin;
    decoded += share.task->is_decoding() ? 1 : 0;
  }
  build_batch(shares);
  const ModelConfig& config = model_.config();
  logits_.resize(jobs_.size() * static_cast<std::size_t>(config.vocab_size));
  hidden_.resize(static_cast<std::size_t>(batch_.hidden_rows() * config.hidden_size));
  model_.forward(batch_, options_.kv_dtype, *workspace_, pool_, {logits_.data(), hidden_.data()});
  pool_.parallel_for(static_cast<std::int64_t>(jobs_.size()), [&](std::int64_t i, int thread) {
    compute(jobs_[static_cast<std::size_t>(i)], thread);
  });
  pace_.measured(seconds_between(begin, Clock::now()), batch_.size() - decoded, decoded);
  ++steps_;
}

void Engine::Impl::build_batch(const std::vector<Scheduler::Share>& shares) {
  batch_.tokens.clear();
  jobs_.clear();
  for (const Scheduler::Share& share : shares) {
    Task& task = *share.task;
    const std::int64_t first = task.cache.length();
    const bool scores_prompt = !task.prompt_is_reported && task.request.prompt_logprobs >= 0;
    for (std::int64_t position = first; position < first + share.count; ++position) {
      const bool is_last = position + 1 == task.length();
      Batch::Token token;
      token.id = task.ids[static_cast<std::size_t>(position)];
      token.position = static_cast<std::int32_t>(position);
      token.rope_length = static_cast<std::int32_t>(
          position < task.prompt_length() ? task.prompt_length() : position + 1);
      token.sequence = &task.cache.pages();
      token.wants_logits =
          is_last ? task.request.max_tokens > 0 || !task.request.probe_ids.empty() : scores_prompt;
      token.wants_hidden = wants_hidden(task, is_last);
      if (token.wants_logits) {
        const auto row = static_cast<std::int64_t>(jobs_.size());
        jobs_.push_back({&task, row, position, is_last, {}, {}, {}});
      }
      batch_.tokens.push_back(token);
    }
  }
}

// Adds the hidden rows of a task's share to its vector; in order of positions, so that chunks
// change nothing.
void Engine::Impl::pool_hidden(Task& task, const Scheduler::Share& share, std::int64_t& row) {
  const std::int64_t width = model_.config().hidden_size;
  const std::int64_t end = task.cache.length();
  for (std::int64_t position = end - share.count; position < end; ++position) {
    if (!wants_hidden(task, position + 1 == task.length())) continue;
    const float* hidden = hidden_.data() + width * row++;
    std::vector<float>& sum = task.report.embedding;
    sum.resize(static_cast<std::size_t>(width));
    for (std::int64_t i = 0; i < width; ++i) sum[static_cast<std::size_t>(i)] += hidden[i];
  }
  if (task.pending() > 0 || task.request.pooling != Pooling::kMean) return;
  for (float& value : task.report.embedding) value /= static_cast<float>(task.prompt_length());
}

// Draws and scores one row, on a thread of the pool.
void Engine::Impl::compute(Job& job, int thread) {
  const Task& task = *job.task;
  const GenerationRequest& request = task.request;
  const std::span<const float> logits = logits_of(job);
  try {
    if (!job.is_last) {
      const std::int32_t next = task.ids[static_cast<std::size_t>(job.position + 1)];
      job.of_prompt = score_token(logits, next, request.prompt_logprobs);
      return;
    }
    if (request.max_tokens == 0) return;
    const std::span<const std::int32_t> generated = task.generated();
    const bool is_early = static_cast<std::int64_t>(generated.size()) < request.min_tokens;
    const std::span<const std::int32_t> banned =
        is_early ? std::span(request.stop_ids) : std::span<const std::int32_t>();
    ScoredToken token;
    token.id = task.sampler.sample(logits, request.prompt, generated, banned,
                                   scratch_[static_cast<std::size_t>(thread)]);
    job.drawn = request.logprobs < 0 ? token : score_token(logits, token.id, request.logprobs);
  } catch (const Error& error) {
    job.error = error;
  }
}

void Engine::Impl::deliver(const std::vector<Scheduler::Share>& shares) {
  auto job = jobs_.begin();
  std::int64_t hidden_row = 0;
  for (const Scheduler::Share& share : shares) {
    Task& task = *share.task;
    if (!task.prompt_is_reported) prompt_tokens_ += share.count;
    scheduler_.computed(share);
    if (!task.prompt_is_reported && task.request.pooling != Pooling::kNone)
      pool_hidden(task, share, hidden_row);
    std::optional<Error> error;
    const Job* last = nullptr;
    for (; job != jobs_.end() && job->task == &task; ++job) {
      if (job->error) error = job->error;
      if (job->of_prompt) {
        if (task.report.tokens.empty())
          task.report.tokens.push_back(
              {task.ids.front(), std::numeric_limits<float>::quiet_NaN(), 0, {}});
        task.report.tokens.push_back(std::move(*job->of_prompt));
      }
      if (job->is_last) last = &*job;
    }
    const std::uint64_t id = task.id;
    try {
      if (error) throw Error(*error);
      if (task.pending() > 0) continue;
      if (last != nullptr && !task.prompt_is_reported) {
        const std::span<const float> logits = logits_of(*last);
        for (const std::int32_t probe : task.request.probe_ids)
          task.report.probe_logits.push_back(logits[static_cast<std::size_t>(probe)]);
      }
      if (!task.prompt_is_reported) deliver_prompt(task);
      if (task.request.max_tokens == 0)
        finish(task, FinishReason::kLength);
      else
        deliver_token(task, *last->drawn);
    } catch (const Error& failure) {
      fail_task(id, failure);
    } catch (const std::exception& failure) {
      fail_task(id, Error(ErrorCode::kInvalidData, failure.what()));
    }
  }
}

void Engine::Impl::deliver_prompt(Task& task) {
  task.prompt_is_reported = true;
  task.stats.prompt_tokens = task.prompt_length();
  cached_tokens_ += task.report.cached_tokens;
  if (task.request.prompt_logprobs >= 0 && task.report.tokens.empty()) {  // a prompt of one token
    task.report.tokens.push_back(
        {task.ids.front(), std::numeric_limits<float>::quiet_NaN(), 0, {}});
  }
  const PromptReport report = std::exchange(task.report, {});
  task.sink->on_prompt(report);
}

void Engine::Impl::deliver_token(Task& task, const ScoredToken& token) {
  const GenerationRequest& request = task.request;
  if (task.stats.generated_tokens == 0) task.first_token = Clock::now();
  task.ids.push_back(token.id);
  ++task.stats.generated_tokens;
  ++generated_tokens_;
  const bool goes_on = task.sink->on_token(token);
  if (std::find(request.stop_ids.begin(), request.stop_ids.end(), token.id) !=
      request.stop_ids.end()) {
    finish(task, FinishReason::kStopId);
  } else if (!goes_on) {
    finish(task, FinishReason::kSink);
  } else if (task.stats.generated_tokens >= request.max_tokens) {
    finish(task, FinishReason::kLength);
  }
}

void Engine::Impl::finish(Task& task, FinishReason reason) {
  const Clock::time_point now = Clock::now();
  const Clock::time_point first_token = task.stats.generated_tokens > 0 ? task.first_token : now;
  task.stats.queue_seconds = seconds_between(task.arrival, task.first_step);
  task.stats.prefill_seconds = seconds_between(task.first_step, first_token);
  task.stats.decode_seconds = seconds_between(first_token, now);
  const std::unique_ptr<Task> done = scheduler_.remove(task.id);
  done->sink->on_finish(reason, done->stats);
}

void Engine::Impl::fail_task(std::uint64_t id, const Error& error) {
  if (const std::unique_ptr<Task> task = scheduler_.remove(id)) task->sink->on_error(error);
}

void Engine::Impl::publish() {
  EngineMetrics metrics;
  metrics.running = scheduler_.running();
  metrics.waiting = scheduler_.waiting();
  metrics.kv_blocks = kv_pool_.max_blocks();
  metrics.kv_blocks_in_use = scheduler_.blocks_in_use();
  metrics.kv_blocks_cached = scheduler_.cached_blocks();
  metrics.prompt_tokens = prompt_tokens_ + cached_tokens_;
  metrics.cached_prompt_tokens = cached_tokens_;
  metrics.generated_tokens = generated_tokens_;
  metrics.prefix_queries = scheduler_.prefix_queries();
  metrics.prefix_hits = scheduler_.prefix_hits();
  metrics.preemptions = scheduler_.preemptions();
  metrics.steps = steps_;
  const std::lock_guard lock(mutex_);
  metrics_ = metrics;
}

Engine::Engine(const Model& model, ThreadPool& pool, std::shared_ptr<ComputeTurns> turns,
               const EngineOptions& options)
    : impl_(std::make_unique<Impl>(model, pool, std::move(turns), options)) {}

Engine::~Engine() = default;

std::int64_t Engine::context_length() const { return impl_->context_length(); }

Engine::RequestId Engine::submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink) {
  std::vector<Submission> one;
  one.push_back({std::move(request), std::move(sink)});
  return impl_->submit(std::move(one)).front();
}

std::vector<Engine::RequestId> Engine::submit(std::vector<Submission> together) {
  return impl_->submit(std::move(together));
}

void Engine::cancel(RequestId id) { impl_->cancel(id); }

EngineMetrics Engine::metrics() const { return impl_->metrics(); }

bool Engine::is_idle() const {
  const EngineMetrics metrics = impl_->metrics();
  return metrics.running == 0 && metrics.waiting == 0;
}

}  // namespace sampan
