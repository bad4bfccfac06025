#pragma once

#include <string>
#include <vector>

#include "kernels/matmul.h"
#include "models/blocks/experts.h"
#include "models/blocks/mlp.h"
#include "models/blocks/router.h"
#include "models/checkpoint.h"

namespace sampan {

// Mixture of experts (Shazeer et al. 2017; Dai et al. 2024): y = Σ weight_e * expert_e(x) over the token's experts, by ascending e,
// + the shared expert's output (times the sigmoid of its gate where it has one). Experts are SwiGLU without biases.
struct MoeBlock {
  WeightMatrix router;      // (experts, hidden)
  std::vector<float> bias;  // (experts) or empty
  std::int64_t layer = 0;   // whose experts of the store they are
  MlpBlock shared;          // where the configuration has one
  WeightMatrix shared_gate;  // (1, hidden), likewise
};

MoeBlock load_moe(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool);

struct MoeScratch {
  std::vector<float> logits;         // (tokens, experts)
  std::vector<Route> routes;         // (tokens, experts_per_token)
  RouterScratch router;
  // A pair is a token with one of its experts; they are sorted by expert, then token.
  std::vector<std::int32_t> pair_tokens;     // (pairs)
  std::vector<std::int32_t> token_pairs;     // (tokens, experts_per_token) where a token's pairs are
  std::vector<std::int64_t> expert_begins;   // (experts + 1) an expert's pairs
  std::vector<ExpertUse> uses;               // of the experts that have pairs
  Activations pairs;
  std::vector<MatmulTask> tasks;
  std::vector<float> gated;  // (pairs, intermediate)
  std::vector<float> out;    // (pairs, hidden)
  Activations inner;
  MlpScratch shared;
  std::vector<float> shared_out;   // (tokens, hidden)
  std::vector<float> shared_gate;  // (tokens)

  void resize(const ModelConfig& config, std::int64_t tokens);
};

// y (tokens, hidden); x is given as activations. Every expert that a token of the batch needs is read once. next: the following
// mixture or null; where experts come from a file those that it will likely need are announced.
void moe_forward(const MoeBlock& block, const ModelConfig& config, ExpertStore& store, const MoeBlock* next, Activations& x,
                 MoeScratch& scratch, float* y, ThreadPool& pool);

}  // namespace sampan
