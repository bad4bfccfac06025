#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/thread_pool.h"
#include "kernels/attention.h"
#include "models/batch.h"
#include "models/config.h"

namespace sampan {

// Memory that one forward() works in; grows to the largest batch seen. One a thread of forwards; not shared.
class Workspace {
 public:
  virtual ~Workspace() = default;
};

// Where the results of a forward() go; null where no token of the batch wants them.
struct ForwardOutput {
  ForwardOutput(float* to_logits, float* to_hidden = nullptr) : logits(to_logits), hidden(to_hidden) {}

  float* logits;  // (batch.logit_rows(), vocab_size)
  float* hidden;  // (batch.hidden_rows(), hidden_size): what the head sees, after the last norm
};

// Bytes that running a model takes, known before its weights are read.
struct MemoryPlan {
  std::int64_t mapped_weight_bytes = 0;  // stay in the file, shared by all processes that map it
  std::int64_t packed_weight_bytes = 0;  // repacked copies in memory
  std::int64_t packed_expert_bytes = 0;  // of these, the experts of mixtures
  std::int64_t kv_bytes_per_token = 0;
  std::int64_t workspace_bytes = 0;
};

// Model::kv_page_bytes of a model that is not loaded yet.
std::int64_t kv_page_bytes(const ModelConfig& config, DType kv_dtype);

// A model with its weights: immutable after load, shared by any number of sequences. All that changes lives in KvPages and
// Workspace.
class Model {
 public:
  virtual ~Model() = default;
  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  virtual const ModelConfig& config() const = 0;
  // Bytes of one layer's cache for kKvPagePositions positions.
  virtual std::int64_t kv_page_bytes(DType kv_dtype) const = 0;
  virtual std::unique_ptr<Workspace> make_workspace() const = 0;
  // Weight bytes that one decode step reads.
  virtual std::int64_t bytes_per_token() const = 0;
  // Multiply-accumulates of one token in the weights' products, the head left out.
  virtual std::int64_t macs_per_token() const = 0;
  // The cache type that keeps the precision of the weights: F32 for float weights, F16 for block types.
  virtual DType default_kv_dtype() const = 0;

  // Layers that a sequence's pages are for: those of the trunk, then the one of multi-token prediction where it is loaded.
  std::int64_t cache_layers() const { return config().cache_layers(); }
  // Whether forward_mtp() can be called.
  bool predicts_tokens() const { return config().mtp_layers > 0; }

  // Runs the batch: writes keys and values into the sequences' pages, and the results of the tokens that want them, in batch
  // order. Ids must be in [0, vocab_size) (CHECK: callers validate). kv_dtype is what the pages were made for. Each row's bits
  // depend on its sequence alone.
  virtual void forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool, ForwardOutput output) const = 0;

  // The same of the layer of multi-token prediction (models/mtp.h), whose keys and values lie behind the trunk's. hidden
  // (batch.size(), hidden_size): what forward() gave at each token's position; Token::id is the one that follows there. Logits are
  // for the token after that; the hidden output may serve as `hidden` of the next position. Only where predicts_tokens() (CHECK).
  virtual void forward_mtp(const Batch& batch, const float* hidden, DType kv_dtype, Workspace& workspace, ThreadPool& pool,
                           ForwardOutput output) const = 0;
};

}  // namespace sampan
