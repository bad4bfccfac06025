#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "models/blocks/layer.h"
#include "models/checkpoint.h"
#include "models/model.h"
#include "models/mtp.h"

namespace sampan {

// The decoder that all families here share: layers one after the other (blocks/layer.h), and logits = head(norm(x)). Attention is of
// grouped heads or of latents, the MLP dense or a mixture of experts; for the rest families differ by ModelConfig's numbers and
// flags.
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
  void forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool, ForwardOutput output) const override;
  void forward_mtp(const Batch& batch, const float* hidden, DType kv_dtype, Workspace& workspace, ThreadPool& pool,
                   ForwardOutput output) const override;

 private:
  struct Scratch;

  AttentionContext begin(const Batch& batch, DType kv_dtype, Scratch& scratch) const;
  void rope_angles_of(const Batch& batch, Scratch& scratch) const;
  // The results of the batch from its residual stream.
  void finish(const Batch& batch, const std::vector<float>& norm, const WeightMatrix& head, Scratch& scratch, ThreadPool& pool,
              ForwardOutput output) const;

  Checkpoint checkpoint_;
  TensorView embedding_;  // (vocab, hidden), in the file
  std::vector<DecoderLayer> layers_;
  std::unique_ptr<ExpertStore> experts_;  // where there are any
  std::vector<float> final_norm_;  // (hidden)
  WeightMatrix head_;              // (vocab, hidden)
  std::optional<MtpModule> mtp_;
  std::vector<float> inverse_frequencies_;  // (rotary_dim / 2); unless the rope depends on the length
};

}  // namespace sampan
