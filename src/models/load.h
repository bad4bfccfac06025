#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/thread_pool.h"
#include "models/checkpoint.h"
#include "models/model.h"

namespace sampan {

// Whether the layer of multi-token prediction is loaded (models/mtp.h).
enum class Prediction : std::uint8_t {
  kLeaveOut,
  kWherePossible,  // the files have it, and it does not take the memory of experts that fit otherwise
  kRequire,        // Error kUnsupported where the files have none
};

struct LoadOptions {
  // Bytes that weights, cache and workspace may take in memory; 0: what the system has available, less a tenth. Where the experts
  // of a mixture do not fit they stay in the file, and those that are used most are kept in memory.
  std::int64_t memory = 0;
  Prediction prediction = Prediction::kLeaveOut;
  MlaMode mla = MlaMode::kAbsorbed;  // no effect on models without latent attention
  Bf16Products bf16_products = Bf16Products::kExact;  // no effect on weights that are not BF16
};

// Opens a checkpoint (a folder with config.json and safetensors, or a .gguf) and makes the model of its family. Throws Error.
std::unique_ptr<Model> load_model(const std::filesystem::path& path, ThreadPool& pool, const LoadOptions& options = {});

// Bytes for experts that a memory of `memory` bytes (as above) leaves beside all else.
std::int64_t expert_budget(const Checkpoint& checkpoint, std::int64_t memory);

// Memory that load_model(checkpoint) will take, from descriptors alone; nothing is read. The workspace is that of a forward of
// `chunk` tokens. The checkpoint's MlaMode counts, and the layer of multi-token prediction counts unless it was left out of the checkpoint.
MemoryPlan plan_memory(const Checkpoint& checkpoint, DType kv_dtype, std::int64_t chunk);

// The cache type that keeps the precision of the weights: F32 for float weights, F16 for block types.
DType default_kv_dtype(const Checkpoint& checkpoint);

}  // namespace sampan
