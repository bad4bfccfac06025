#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "engine/generation.h"
#include "models/model.h"

namespace sampan {

// Lets several engines use one thread pool: one step at a time, in the order in which they asked.
class ComputeTurns;

struct EngineOptions {
  DType kv_dtype = DType::kF16;
  std::int64_t kv_bytes = std::int64_t{1} << 30;  // that keys and values may take
  std::int64_t max_running = 128;                 // sequences that are computed side by side
  std::int64_t max_waiting = 1024;                // requests beyond them, where new ones come in
  std::int64_t max_step_tokens = 512;             // of one forward; results do not depend on it
  // While others generate, a step takes no more of a prompt than about this long takes to read.
  std::chrono::milliseconds prefill_slice{80};
  bool prefix_cache = true;
};

// Counters since the start, and the state now. Seconds and tokens.
struct EngineMetrics {
  std::int64_t running = 0, waiting = 0;
  std::int64_t kv_blocks = 0, kv_blocks_in_use = 0,
               kv_blocks_cached = 0;  // capacity; held by running sequences; kept for reuse
  std::int64_t prompt_tokens = 0, cached_prompt_tokens = 0, generated_tokens = 0;
  std::int64_t prefix_queries = 0, prefix_hits = 0;  // tokens looked up, tokens found
  std::int64_t preemptions = 0, steps = 0;
};

// Runs many requests through one model side by side: continuous batching with chunked prompts, a
// paged cache whose full blocks are shared by prefix, preemption by recomputation. One thread of
// its own schedules and computes. A request's tokens and log-probabilities depend on the request
// alone, to the bit. Thread-safe.
class Engine {
 public:
  using RequestId = std::uint64_t;

  // model and pool outlive the engine; turns is shared by the engines of one pool (nullptr: the
  // pool is this engine's alone).
  Engine(const Model& model, ThreadPool& pool, std::shared_ptr<ComputeTurns> turns,
         const EngineOptions& options);
  ~Engine();  // cancels what is left, with OverloadedError

  // The longest text, prompt and generated tokens together: the model's context or what the cache
  // can hold.
  std::int64_t context_length() const;

  // Queues a request. max_tokens is cut to what the context leaves. Throws Error kInvalidArgument
  // for an id outside the vocabulary or an empty prompt, kLimit for a prompt that fills the
  // context, OverloadedError. The sink's calls may begin before submit returns.
  RequestId submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink);

  struct Submission {
    GenerationRequest request;
    std::shared_ptr<GenerationSink> sink;
  };
  // The same for requests that belong together, such as the choices of one answer: all of them are
  // queued, or none where it throws. They come in where one would, so that what belongs together
  // never meets the queue's limit by itself. Returns their ids in order.
  std::vector<RequestId> submit(std::vector<Submission> together);

  // Ends a request between two steps; its sink is not called any more once the step that is under
  // way is done, and is released then. Ids that are done or unknown are ignored.
  void cancel(RequestId id);

  EngineMetrics metrics() const;
  bool is_idle() const;  // nothing runs and nothing waits

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sampan
