#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/sampler.h"

namespace sampan {

// The engine takes no more work now: its queue is full, or it is being shut down. The same request
// may succeed later.
class OverloadedError : public Error {
 public:
  explicit OverloadedError(const std::string& message) : Error(ErrorCode::kLimit, message) {}
};

// The request's deadline passed before it was done.
class DeadlineError : public Error {
 public:
  explicit DeadlineError(const std::string& message) : Error(ErrorCode::kCancelled, message) {}
};

// How the hidden states of a prompt become one vector.
enum class Pooling : std::uint8_t { kNone, kLastToken, kMean };

// A text to be continued, scored or embedded: ids in, ids out. Text and its parsing are the
// caller's business.
struct GenerationRequest {
  std::vector<std::int32_t> prompt;  // at least one id
  SamplingParams sampling;
  std::int64_t max_tokens = 0;  // generated at most; 0: the prompt is read and nothing is written
  std::int64_t min_tokens = 0;  // stop ids cannot be drawn before that many
  std::vector<std::int32_t> stop_ids;
  // Alternatives reported with each token: -1: no log-probabilities, 0: that of the token alone.
  int logprobs = -1;
  int prompt_logprobs = -1;
  std::vector<std::int32_t> probe_ids;  // ids whose logits after the prompt are reported
  Pooling pooling = Pooling::kNone;
  std::string tenant;  // who asks: cached prefixes are shared within a tenant, computing time
                       // fairly between them
  int priority = 0;    // lower goes first
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

struct TokenLogprob {
  std::int32_t id = 0;
  float logprob = 0;  // natural logarithm, of the model's own distribution: before bias, penalties
                      // and temperature
};

// A token of a text with what the model thought of it.
struct ScoredToken {
  std::int32_t id = 0;
  float logprob = std::numeric_limits<float>::quiet_NaN();  // NaN where none was asked for, and of
                                                            // a prompt's first token
  std::int32_t rank = 0;          // 1: the likeliest; 0 where none was asked for
  std::vector<TokenLogprob> top;  // likeliest first
};

// What is known once the prompt was read.
struct PromptReport {
  std::int64_t cached_tokens = 0;   // of the prompt, that were read before
  std::vector<ScoredToken> tokens;  // with prompt_logprobs, one a prompt token
  std::vector<float> probe_logits;  // one a probe id
  std::vector<float> embedding;     // (hidden) with pooling, not normalised
};

enum class FinishReason : std::uint8_t {
  kStopId,  // a stop id was drawn (it is the last token reported)
  kSink,    // on_token said that it was enough
  kLength,  // max_tokens, or the context is full
};

struct GenerationStats {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t generated_tokens = 0;
  std::int64_t preemptions = 0;
  double queue_seconds = 0;    // until its first computation
  double prefill_seconds = 0;  // from there until the first token
  double decode_seconds = 0;   // from the first token until the end
};

// Where a request's results go. All calls of one request come in order, from the engine's thread,
// and must be quick: others wait. Exactly one of on_finish and on_error is the last call; after a
// cancellation neither comes.
class GenerationSink {
 public:
  virtual ~GenerationSink() = default;
  virtual void on_prompt(const PromptReport& report) = 0;
  // Returns false when no more is wanted (a stop string was met).
  virtual bool on_token(const ScoredToken& token) = 0;
  virtual void on_finish(FinishReason reason, const GenerationStats& stats) = 0;
  virtual void on_error(const Error& error) = 0;
};

}  // namespace sampan
