#pragma once

#include <variant>
#include <vector>

#include "models/blocks/attention.h"
#include "models/blocks/mla.h"
#include "models/blocks/mlp.h"
#include "models/blocks/moe.h"
#include "models/checkpoint.h"
#include "models/model.h"

namespace sampan {

// The decoder that all families here share (Vaswani et al. 2017; Touvron et al. 2023): per layer
//   x += attention(norm(x));  x += mlp(norm(x))
// and logits = head(norm(x)). Attention is of grouped heads or of latents, the MLP dense or a mixture of experts; for the rest
// families differ by ModelConfig's numbers and flags.
class DecoderModel : public Model {
 public:
  // Takes the checkpoint, whose mapped weights it goes on reading. Repacks block types on all threads of the pool; experts that
  // do not fit into expert_budget bytes stay in the file and are repacked when they are needed.
  DecoderModel(Checkpoint checkpoint, std::int64_t expert_budget, ThreadPool& pool);

  const ModelConfig& config() const override { return checkpoint_.config(); }
  std::int64_t kv_page_bytes(DType kv_dtype) const override;
  std::unique_ptr<Workspace> make_workspace() const override;
  std::int64_t bytes_per_token() const override;
  std::int64_t macs_per_token() const override;
  DType default_kv_dtype() const override;
  void forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool, float* logits) const override;

 private:
  struct Layer {
    std::vector<float> attention_norm;  // (hidden)
    std::vector<float> mlp_norm;        // (hidden)
    std::variant<AttentionBlock, MlaBlock> attention;
    std::variant<MlpBlock, MoeBlock> mlp;
  };
  struct Scratch;

  void attend(const Layer& layer, const AttentionContext& context, Scratch& scratch, ThreadPool& pool) const;
  void feed_forward(std::size_t layer, Scratch& scratch, ThreadPool& pool) const;
  const MoeBlock* mixture(std::size_t layer) const;
  void embed(const Batch& batch, float* x) const;
  void rope_angles_of(const Batch& batch, Scratch& scratch) const;
  void head(const Batch& batch, Scratch& scratch, ThreadPool& pool, float* logits) const;

  Checkpoint checkpoint_;
  TensorView embedding_;  // (vocab, hidden), in the file
  std::vector<Layer> layers_;
  std::unique_ptr<ExpertStore> experts_;  // where there are any
  std::vector<float> final_norm_;  // (hidden)
  WeightMatrix head_;              // (vocab, hidden)
  std::vector<float> inverse_frequencies_;  // (rotary_dim / 2); unless the rope depends on the length
};

}  // namespace sampan
