#pragma once

#include <variant>
#include <vector>

#include "models/blocks/attention.h"
#include "models/blocks/mla.h"
#include "models/blocks/mlp.h"
#include "models/blocks/moe.h"
#include "models/checkpoint.h"

namespace sampan {

// One layer of a decoder (Vaswani et al. 2017; Touvron et al. 2023):
//   x += attention(norm(x));  x += mlp(norm(x))
// Attention is of grouped heads or of latents, the MLP dense or a mixture of experts.
struct DecoderLayer {
  std::vector<float> attention_norm;  // (hidden)
  std::vector<float> mlp_norm;        // (hidden)
  std::variant<AttentionBlock, MlaBlock> attention;
  std::variant<MlpBlock, MoeBlock> mlp;

  // Where the MLP is a mixture, else null.
  const MoeBlock* mixture() const { return std::get_if<MoeBlock>(&mlp); }
};

// Layer `layer` of "model.layers."; experts are left to the ExpertStore.
DecoderLayer load_layer(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool);

struct LayerScratch {
  std::vector<float> h;  // (tokens, hidden) normed input of a block
  std::vector<float> y;  // (tokens, hidden) output of a block
  Activations activations;
  AttentionScratch attention;
  MlaScratch mla;
  MlpScratch mlp;
  MoeScratch moe;

  void resize(const ModelConfig& config, std::int64_t tokens);
};

// x (tokens, hidden), the residual stream of the context's batch, is changed in place; the layer's
// keys and values are written. experts: null where no layer has any. next: the mixture that
// follows, or null (see moe_forward).
void layer_forward(const DecoderLayer& layer, const AttentionContext& context, ExpertStore* experts,
                   const MoeBlock* next, LayerScratch& scratch, float* x, ThreadPool& pool);

// Weight bytes that one token reads, experts left out.
std::int64_t weight_bytes(const DecoderLayer& layer);

}  // namespace sampan
