#include "models/blocks/mlp.h"

#include "kernels/ops.h"

namespace sampan {

MlpBlock load_mlp(const Checkpoint& checkpoint, const std::string& prefix, std::int64_t intermediate, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  MlpBlock block;
  block.gate = checkpoint.matrix(prefix + "gate_proj.weight", intermediate, c.hidden_size, pool);
  block.up = checkpoint.matrix(prefix + "up_proj.weight", intermediate, c.hidden_size, pool);
  block.down = checkpoint.matrix(prefix + "down_proj.weight", c.hidden_size, intermediate, pool);
  if (c.mlp_bias) {
    block.gate_bias = checkpoint.vector(prefix + "gate_proj.bias", intermediate);
    block.up_bias = checkpoint.vector(prefix + "up_proj.bias", intermediate);
    block.down_bias = checkpoint.vector(prefix + "down_proj.bias", c.hidden_size);
  }
  return block;
}

void MlpScratch::resize(std::int64_t intermediate, std::int64_t tokens) {
  gate.resize(static_cast<std::size_t>(tokens * intermediate));
  up.resize(gate.size());
}

void mlp_forward(const MlpBlock& block, Activations& x, MlpScratch& scratch, float* y, ThreadPool& pool) {
  const std::int64_t tokens = x.rows();
  const std::int64_t intermediate = block.gate.rows();
  float* gate = scratch.gate.data();
  float* up = scratch.up.data();
  matmul(block.gate, x, gate, intermediate, pool);
  matmul(block.up, x, up, intermediate, pool);
  if (!block.gate_bias.empty()) {
    add_bias(gate, block.gate_bias.data(), tokens, intermediate, pool);
    add_bias(up, block.up_bias.data(), tokens, intermediate, pool);
  }
  silu_mul(gate, up, tokens * intermediate, gate, pool);
  scratch.activations.set(gate, tokens, intermediate);
  matmul(block.down, scratch.activations, y, block.down.rows(), pool);
  if (!block.down_bias.empty()) add_bias(y, block.down_bias.data(), tokens, block.down.rows(), pool);
}

}  // namespace sampan
