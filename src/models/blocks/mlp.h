#pragma once

#include <string>
#include <vector>

#include "kernels/matmul.h"
#include "models/checkpoint.h"

namespace sampan {

// SwiGLU feed-forward (Shazeer 2020): down(silu(gate(x)) * up(x)).
struct MlpBlock {
  WeightMatrix gate;  // (intermediate, hidden)
  WeightMatrix up;    // (intermediate, hidden)
  WeightMatrix down;  // (hidden, intermediate)
  std::vector<float> gate_bias, up_bias, down_bias;  // (rows of the matrix) or empty
};

// prefix: "model.layers.3.mlp."
MlpBlock load_mlp(const Checkpoint& checkpoint, const std::string& prefix, std::int64_t intermediate, ThreadPool& pool);

struct MlpScratch {
  std::vector<float> inner;  // (tokens, intermediate)
  Activations activations;

  void resize(std::int64_t intermediate, std::int64_t tokens);
};

// y (tokens, hidden); x is given as activations.
void mlp_forward(const MlpBlock& block, Activations& x, MlpScratch& scratch, float* y, ThreadPool& pool);

}  // namespace sampan
