#include "models/mtp.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/ops.h"

namespace sampan {
namespace {

constexpr std::int64_t kComparedRows = 64;

// Whether `name` says what `trunk` says. Published files repeat tables of gigabytes, so some of the
// rows decide; drafts from a wrong table would be poor, never a text.
bool repeats(const Checkpoint& checkpoint, const std::string& name, const TensorView& trunk) {
  const TensorView own = checkpoint.tensor(name, trunk.shape);
  if (own.dtype != trunk.dtype) return false;
  const std::int64_t rows = trunk.rows();
  const std::int64_t stride = trunk.bytes() / rows;
  const std::int64_t compared = std::min(rows, kComparedRows);
  for (std::int64_t i = 0; i < compared; ++i) {
    const std::int64_t row = compared == 1 ? 0 : i * (rows - 1) / (compared - 1);
    const auto size = static_cast<std::size_t>(stride);
    if (std::memcmp(own.data + row * stride, trunk.data + row * stride, size) != 0) return false;
  }
  return true;
}

TensorView embedding_of(const Checkpoint& checkpoint, const std::string& prefix,
                        const TrunkTables& trunk) {
  const std::string name = prefix + "embed_tokens.weight";
  if (!checkpoint.has(name)) return trunk.embedding;
  return checkpoint.tensor(name, trunk.embedding.shape);
}

WeightMatrix head_of(const Checkpoint& checkpoint, const std::string& prefix,
                     const TrunkTables& trunk, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const std::string name = prefix + "shared_head.head.weight";
  if (!checkpoint.has(name)) return trunk.head;
  if (checkpoint.has(trunk.head_name)) {
    const TensorView view = checkpoint.tensor(trunk.head_name, {c.vocab_size, c.hidden_size});
    if (repeats(checkpoint, name, view)) return trunk.head;
  }
  return checkpoint.matrix(name, c.vocab_size, c.hidden_size, pool);
}

}  // namespace

MtpModule load_mtp(const Checkpoint& checkpoint, const TrunkTables& trunk, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const std::string prefix = fmt::format("model.layers.{}.", c.layers);
  MtpModule module;
  module.embedding = embedding_of(checkpoint, prefix, trunk);
  module.enorm = checkpoint.vector(prefix + "enorm.weight", c.hidden_size);
  module.hnorm = checkpoint.vector(prefix + "hnorm.weight", c.hidden_size);
  module.eh_proj =
      checkpoint.matrix(prefix + "eh_proj.weight", c.hidden_size, 2 * c.hidden_size, pool);
  module.layer = load_layer(checkpoint, c.layers, pool);
  module.norm = checkpoint.vector(prefix + "shared_head.norm.weight", c.hidden_size);
  module.head = head_of(checkpoint, prefix, trunk, pool);
  return module;
}

void mtp_input(const MtpModule& module, float eps, const float* hidden, const float* embedded,
               std::int64_t tokens, std::vector<float>& scratch, Activations& activations, float* z,
               ThreadPool& pool) {
  const auto width = static_cast<std::int64_t>(module.enorm.size());
  scratch.resize(static_cast<std::size_t>(tokens * 2 * width));
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* row = scratch.data() + t * 2 * width;
    rms_norm(embedded + t * width, module.enorm.data(), 1, width, eps, row, pool);
    rms_norm(hidden + t * width, module.hnorm.data(), 1, width, eps, row + width, pool);
  }
  activations.set(scratch.data(), tokens, 2 * width);
  matmul(module.eh_proj, activations, z, width, pool);
}

}  // namespace sampan
