#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/model.h"
#include "tensor/tensor.h"

namespace sampan {

// The key-value cache of a model in blocks: one holds kKvPagePositions positions of every layer.
// Blocks are counted by their users, so that several texts share what they have in common. Memory
// is taken from the system when a block is first used and kept for the next. Not thread-safe.
class KvPool {
 public:
  using BlockId = std::int32_t;

  // max_blocks >= 1, or 0 for as many as memory allows. model outlives the pool.
  KvPool(const Model& model, DType dtype, std::int64_t max_blocks);
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  DType dtype() const { return dtype_; }
  std::int64_t layers() const { return layers_; }
  std::int64_t block_bytes() const { return layers_ * page_bytes_; }
  std::int64_t max_blocks() const { return max_blocks_; }
  std::int64_t used_blocks() const {
    return static_cast<std::int64_t>(blocks_.size() - free_.size());
  }
  // Blocks that could still be allocated; only where max_blocks is not 0.
  std::int64_t free_blocks() const { return max_blocks_ - used_blocks(); }

  // A block with one user, its content undefined; nothing when all are in use. Throws Error kLimit
  // when the system has no memory.
  std::optional<BlockId> try_allocate();
  void retain(BlockId id) { ++blocks_[static_cast<std::size_t>(id)].users; }
  void release(BlockId id);
  int users(BlockId id) const { return blocks_[static_cast<std::size_t>(id)].users; }
  std::byte* page(BlockId id, std::int64_t layer) {
    return blocks_[static_cast<std::size_t>(id)].memory.data() + layer * page_bytes_;
  }

 private:
  struct Block {
    Buffer memory;
    int users = 0;
  };

  DType dtype_;
  std::int64_t layers_;
  std::int64_t page_bytes_;  // of one layer
  std::int64_t max_blocks_;
  std::vector<Block> blocks_;
  std::vector<BlockId> free_;
};

// Bytes of one block, of a model and of one that is not loaded yet.
std::int64_t kv_block_bytes(const Model& model, DType dtype);
std::int64_t kv_block_bytes(const ModelConfig& config, DType dtype);

}  // namespace sampan
