#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/kv_cache.h"
#include "models/model.h"

namespace sampan {

// A text being read and written by a model: its ids so far and their keys and values.
struct Sequence {
  Sequence(const Model& model, DType kv_dtype) : cache(model, kv_dtype) {}

  std::vector<std::int32_t> ids;  // those whose keys and values are in the cache
  KvCache cache;
};

// Forgets the ids from `length` on.
void truncate(Sequence& sequence, std::int64_t length);

// Runs sequences through a model on a thread pool. A call that throws leaves its sequences as they
// were before it, and the runner fit for the next. Not thread-safe.
class Runner {
 public:
  // Tokens of a prompt that one forward takes; bounds the workspace. Results do not depend on it.
  static constexpr std::int64_t kDefaultChunk = 512;

  Runner(const Model& model, ThreadPool& pool, std::int64_t chunk = kDefaultChunk);

  const Model& model() const { return model_; }

  // Appends a prompt to the sequence. Returns the logits (vocab) of its last token, valid until the
  // next call. ids must not be empty. Throws Error kInvalidArgument for an id outside the
  // vocabulary.
  // visit_hidden, where given, is told the hidden states of the tokens read, in order: (first
  // position, rows × hidden floats).
  using HiddenVisitor = std::function<void(std::int64_t first, std::span<const float> hidden)>;
  std::span<const float> prefill(Sequence& sequence, std::span<const std::int32_t> ids,
                                 const HiddenVisitor& visit_hidden = {});

  // As prefill, giving the logits of every token: visit(first row, rows × vocab floats) in order.
  using LogitsVisitor = std::function<void(std::int64_t first, std::span<const float> logits)>;
  void prefill_all_logits(Sequence& sequence, std::span<const std::int32_t> ids,
                          const LogitsVisitor& visit);

  // Appends one generated token and returns the logits that follow it, valid until the next call.
  std::span<const float> decode(Sequence& sequence, std::int32_t id);

  // One step of several sequences at once, each with its own token; logits (sequences, vocab).
  std::span<const float> decode(std::span<Sequence* const> sequences,
                                std::span<const std::int32_t> ids);

  // Results of several tokens: logits (rows, vocab) and hidden states (rows, hidden), each where
  // asked for.
  struct Rows {
    std::span<const float> logits;
    std::span<const float> hidden;
  };
  // Appends generated tokens in one forward: logits that follow each, bit for bit those of decode()
  // one after the other. Valid until the next call but of predict().
  Rows decode_run(Sequence& sequence, std::span<const std::int32_t> ids, bool with_hidden);

  // Runs the layer of multi-token prediction on positions [first, first + following.size()) of a
  // sequence, which writes its keys and values there: following[i] is the token after position
  // first + i, hidden (following.size(), hidden) what the trunk gave at these positions. Gives the
  // last position's results where wants_last says so, valid until the next predict(). The
  // sequence's ids and length stay as they are.
  Rows predict(Sequence& sequence, std::int64_t first, std::span<const std::int32_t> following,
               std::span<const float> hidden, bool wants_last);
  std::int64_t chunk() const { return chunk_; }

  // Asked between the chunks of a prompt; true stops it with Error kCancelled.
  void set_interrupt(std::function<bool()> interrupted) { interrupted_ = std::move(interrupted); }

 private:
  class Appended;

  void check_ids(std::span<const std::int32_t> ids) const;
  void append(Sequence& sequence, std::span<const std::int32_t> ids, std::int64_t rope_length);
  std::span<const float> run(DType kv_dtype);
  void prefill_chunks(Sequence& sequence, std::span<const std::int32_t> ids, std::int64_t chunk,
                      bool all_logits, const LogitsVisitor& visit,
                      const HiddenVisitor& visit_hidden);

  const Model& model_;
  ThreadPool& pool_;
  std::int64_t chunk_;
  std::unique_ptr<Workspace> workspace_;
  Batch batch_;
  std::vector<float> logits_, hidden_;
  std::vector<float> predicted_logits_, predicted_hidden_;
  std::function<bool()> interrupted_;
};

}  // namespace sampan
