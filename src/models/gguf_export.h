#pragma once

#include <cstdint>
#include <functional>

#include "base/thread_pool.h"
#include "formats/gguf_writer.h"
#include "models/checkpoint.h"
#include "models/importance.h"

namespace sampan {

// Describes and writes a checkpoint's weights as GGUF, matrices encoded as `type`.
struct GgufExport {
  // Which type each tensor gets: matrices `type` (Q8_0 or F16 where their width does not fit its blocks; a head or an embedding
  // that serves as one at least Q6_K), vectors F32. Throws Error kUnsupported for what GGUF cannot say (sliding windows by
  // layer, dynamic NTK) and for a type that cannot be encoded.
  GgufExport(const Checkpoint& checkpoint, DType type);

  // Adds the metadata of the configuration ("qwen3.block_count" …) unless the checkpoint is GGUF itself, whose own metadata is
  // copied then.
  void write_metadata(GgufWriter& writer) const;
  // Adds all tensors' descriptions, then writes their data. progress(done bytes, all bytes) is called between pieces. importance,
  // where given, was measured on the same checkpoint.
  using Progress = std::function<void(std::int64_t done, std::int64_t total)>;
  void write_tensors(GgufWriter& writer, ThreadPool& pool, const Importance* importance, const Progress& progress) const;

 private:
  struct Item {
    std::string name;         // GGUF's
    std::string stored_name;  // in the checkpoint
    TensorView source;
    DType type = DType::kF32;
    std::int64_t permuted_heads = 0;  // rows to be put in GGUF's order
  };

  DType type_for(const std::string& name, const TensorView& view, DType type) const;
  void write_item(const Item& item, const Importance* importance, GgufWriter& writer, ThreadPool& pool) const;

  const Checkpoint& checkpoint_;
  DType type_;
  std::vector<Item> items_;
};

}  // namespace sampan
