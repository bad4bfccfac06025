#pragma once

#include <vector>

#include "models/blocks/attention.h"
#include "models/blocks/mlp.h"
#include "models/checkpoint.h"
#include "models/model.h"

namespace sampan {

// The decoder that Llama, Qwen2, Qwen3 and Seed-OSS share (Vaswani et al. 2017; Touvron et al. 2023): per layer
//   x += attention(norm(x));  x += mlp(norm(x))
// and logits = head(norm(x)). Families differ by ModelConfig's numbers and flags.
class DenseModel : public Model {
 public:
  // Takes the checkpoint, whose mapped weights it goes on reading. Repacks block types on all threads of the pool.
  DenseModel(Checkpoint checkpoint, ThreadPool& pool);

  const ModelConfig& config() const override { return checkpoint_.config(); }
  KvLayout kv_layout(DType kv_dtype) const override;
  std::unique_ptr<Workspace> make_workspace() const override;
  std::int64_t bytes_per_token() const override;
  std::int64_t macs_per_token() const override;
  DType default_kv_dtype() const override;
  void forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool, float* logits) const override;

 private:
  struct Layer {
    std::vector<float> attention_norm;  // (hidden)
    std::vector<float> mlp_norm;        // (hidden)
    AttentionBlock attention;
    MlpBlock mlp;
  };
  struct Scratch;

  void embed(const Batch& batch, float* x) const;
  void rope_angles_of(const Batch& batch, Scratch& scratch) const;
  void head(const Batch& batch, Scratch& scratch, ThreadPool& pool, float* logits) const;

  Checkpoint checkpoint_;
  TensorView embedding_;  // (vocab, hidden), in the file
  std::vector<Layer> layers_;
  std::vector<float> final_norm_;  // (hidden)
  WeightMatrix head_;              // (vocab, hidden)
  std::vector<float> inverse_frequencies_;  // (head_dim / 2); unless the rope depends on the length
};

}  // namespace sampan
