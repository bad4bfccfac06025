#include "models/load.h"

#include "models/dense.h"

namespace sampan {

std::unique_ptr<Model> load_model(const std::filesystem::path& path, ThreadPool& pool) {
  return std::make_unique<DenseModel>(Checkpoint(path), pool);
}

MemoryPlan plan_memory(const Checkpoint& checkpoint, DType kv_dtype, std::int64_t chunk) {
  const ModelConfig& c = checkpoint.config();
  MemoryPlan plan;
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) {
    const auto bytes = static_cast<std::int64_t>(tensor.bytes);
    plan.mapped_weight_bytes += bytes;
    if (is_block_type(tensor.dtype)) plan.packed_weight_bytes += bytes;
  }
  const KvLayout layout = {c.kv_heads, c.head_dim, kv_dtype};
  plan.kv_bytes_per_token = c.layers * layout.page_bytes() / kKvPagePositions;
  const std::int64_t floats_per_token =
      4 * c.hidden_size + c.head_dim + 2 * c.q_size() + 2 * c.kv_size() + 2 * c.intermediate_size;
  plan.workspace_bytes = chunk * floats_per_token * static_cast<std::int64_t>(sizeof(float));
  return plan;
}

DType default_kv_dtype(const Checkpoint& checkpoint) {
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) {
    if (is_block_type(tensor.dtype)) return DType::kF16;
  }
  return DType::kF32;
}

}  // namespace sampan
