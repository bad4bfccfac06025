#include "models/load.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/memory.h"
#include "models/decoder.h"

namespace sampan {
namespace {

// What is set aside for a text and for a step when the memory for experts is reckoned.
constexpr std::int64_t kPlannedContext = 8192;
constexpr std::int64_t kPlannedChunk = 512;

// Floats of scratch a token.
std::int64_t attention_floats(const ModelConfig& c) {
  if (!c.mla) return 2 * c.q_size() + 2 * c.kv_size();
  const MlaConfig& mla = *c.mla;
  const std::int64_t width = mla.kv_lora_rank + mla.rope_dim;
  const std::int64_t absorbed = mla.mode == MlaMode::kExpanded ? 0 : width + mla.kv_lora_rank;
  return mla.q_lora_rank + width + c.heads * (c.head_dim + absorbed + mla.value_dim);
}

// Types of which products keep a packed copy: GGUF's blocks, and those in which quantised safetensors store codes.
bool is_packed(DType dtype) {
  switch (dtype) {
    case DType::kF8E4M3: case DType::kI8: case DType::kU8: case DType::kI32: return true;
    default: return is_block_type(dtype);
  }
}

std::int64_t mixture_floats(const ModelConfig& c) {
  if (!c.moe) return 0;
  const MoeConfig& moe = *c.moe;
  const std::int64_t pair = 2 * moe.intermediate_size + c.hidden_size;
  return moe.experts + moe.experts_per_token * pair + 2 * moe.shared_intermediate_size + c.hidden_size;
}

// The layer that a tensor belongs to ("model.layers.3.mlp.…", "blk.3.…"), or -1.
std::int64_t layer_of(std::string_view name) {
  for (const std::string_view marker : {"layers.", "blk."}) {
    const std::size_t at = name.find(marker);
    if (at == std::string_view::npos) continue;
    std::int64_t layer = -1;
    std::from_chars(name.data() + at + marker.size(), name.data() + name.size(), layer);
    return layer;
  }
  return -1;
}

bool experts_fit(const Checkpoint& checkpoint, std::int64_t memory) {
  return packed_experts_bytes(checkpoint) <= expert_budget(checkpoint, memory);
}

void choose_prediction(const std::filesystem::path& path, const LoadOptions& options, Checkpoint& checkpoint) {
  const bool has_layer = checkpoint.config().mtp_layers > 0;
  if (options.prediction == Prediction::kRequire) {
    if (has_layer) return;
    fail(ErrorCode::kUnsupported, "{}: the files have no layer of multi-token prediction to draft tokens with", printable(path.string(), 300));
  }
  if (!has_layer) return;
  if (options.prediction == Prediction::kWherePossible) {
    if (!checkpoint.config().moe || experts_fit(checkpoint, options.memory)) return;
    Checkpoint trunk(path);
    trunk.set_mla_mode(options.mla);
    trunk.leave_out_prediction();
    if (!experts_fit(trunk, options.memory)) return;
  }
  checkpoint.leave_out_prediction();
}

}  // namespace

std::int64_t kv_page_bytes(const ModelConfig& config, DType kv_dtype) {
  if (config.mla) return latent_layout(config, kv_dtype).page_bytes();
  return KvLayout{config.kv_heads, config.head_dim, kv_dtype}.page_bytes();
}

std::int64_t expert_budget(const Checkpoint& checkpoint, std::int64_t memory) {
  if (memory == 0) memory = available_memory() / 10 * 9;
  const MemoryPlan plan = plan_memory(checkpoint, default_kv_dtype(checkpoint), kPlannedChunk);
  const std::int64_t context = std::min(checkpoint.config().context_length, kPlannedContext);
  const std::int64_t others = plan.packed_weight_bytes - plan.packed_expert_bytes + plan.workspace_bytes +
                              context * plan.kv_bytes_per_token;
  return std::max<std::int64_t>(0, memory - others);
}

std::unique_ptr<Model> load_model(const std::filesystem::path& path, ThreadPool& pool, const LoadOptions& options) {
  Checkpoint checkpoint(path);
  checkpoint.set_mla_mode(options.mla);
  checkpoint.set_bf16_products(options.bf16_products);
  choose_prediction(path, options, checkpoint);
  const std::int64_t budget = checkpoint.config().moe ? expert_budget(checkpoint, options.memory) : 0;
  return std::make_unique<DecoderModel>(std::move(checkpoint), budget, pool);
}

MemoryPlan plan_memory(const Checkpoint& checkpoint, DType kv_dtype, std::int64_t chunk) {
  const ModelConfig& c = checkpoint.config();
  MemoryPlan plan;
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) {
    if (layer_of(tensor.name) >= c.cache_layers()) continue;
    const auto bytes = static_cast<std::int64_t>(tensor.bytes);
    plan.mapped_weight_bytes += bytes;
    if (is_packed(tensor.dtype)) plan.packed_weight_bytes += bytes;
  }
  if (c.mla) {
    for (std::int64_t i = 0; i < c.cache_layers(); ++i) plan.packed_weight_bytes += transposed_mla_bytes(checkpoint, i);
  }
  plan.packed_expert_bytes = packed_experts_bytes(checkpoint);
  plan.kv_bytes_per_token = c.cache_layers() * kv_page_bytes(c, kv_dtype) / kKvPagePositions;
  // The last two are the inputs of products once more, as kernels read them (at most floats in another order).
  const std::int64_t floats_per_token = 4 * c.hidden_size + c.rotary_dim() + attention_floats(c) + 2 * c.intermediate_size +
                                        mixture_floats(c) + c.hidden_size + c.intermediate_size;
  plan.workspace_bytes = chunk * floats_per_token * static_cast<std::int64_t>(sizeof(float));
  if (c.mla && c.mla->mode != MlaMode::kAbsorbed) plan.workspace_bytes += expanded_scratch_bytes(c);
  return plan;
}

DType default_kv_dtype(const Checkpoint& checkpoint) {
  if (checkpoint.config().quantization.method != QuantizationMethod::kNone) return DType::kF16;
  for (const TensorDescriptor& tensor : checkpoint.files().tensors()) {
    if (is_block_type(tensor.dtype)) return DType::kF16;
  }
  return DType::kF32;
}

}  // namespace sampan
