#include "models/blocks/mlp.h"

#include "models/blocks/project.h"

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
  inner.resize(static_cast<std::size_t>(tokens * intermediate));
}

void mlp_forward(const MlpBlock& block, Activations& x, MlpScratch& scratch, float* y, ThreadPool& pool) {
  const std::int64_t tokens = x.rows();
  const std::int64_t intermediate = block.gate.rows();
  MatmulTask gated = project(block.gate, block.gate_bias, tokens, scratch.inner.data());
  gated.up = &block.up;
  gated.up_bias = block.up_bias.empty() ? nullptr : block.up_bias.data();
  matmul_tasks({&gated, 1}, x, pool);

  scratch.activations.set(scratch.inner.data(), tokens, intermediate);
  const MatmulTask down = project(block.down, block.down_bias, tokens, y);
  matmul_tasks({&down, 1}, scratch.activations, pool);
}

}  // namespace sampan
