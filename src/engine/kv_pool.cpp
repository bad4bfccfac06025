#include "engine/kv_pool.h"

#include "base/error.h"

namespace sampan {

KvPool::KvPool(const Model& model, DType dtype, std::int64_t max_blocks)
    : dtype_(dtype),
      layers_(model.cache_layers()),
      page_bytes_(model.kv_page_bytes(dtype)),
      max_blocks_(max_blocks) {
  SAMPAN_CHECK(max_blocks >= 0);
}

std::optional<KvPool::BlockId> KvPool::try_allocate() {
  if (free_.empty()) {
    if (max_blocks_ != 0 && static_cast<std::int64_t>(blocks_.size()) == max_blocks_)
      return std::nullopt;
    try {
      blocks_.push_back({Buffer(static_cast<std::size_t>(block_bytes())), 0});
    } catch (const Error&) {
      // The system has less memory than was planned: a bounded pool goes on with what it got.
      if (max_blocks_ == 0 || blocks_.empty()) throw;
      max_blocks_ = static_cast<std::int64_t>(blocks_.size());
      return std::nullopt;
    }
    free_.push_back(static_cast<BlockId>(blocks_.size() - 1));
  }
  const BlockId id = free_.back();
  free_.pop_back();
  blocks_[static_cast<std::size_t>(id)].users = 1;
  return id;
}

void KvPool::release(BlockId id) {
  Block& block = blocks_[static_cast<std::size_t>(id)];
  SAMPAN_CHECK(block.users > 0);
  if (--block.users == 0) free_.push_back(id);
}

std::int64_t kv_block_bytes(const Model& model, DType dtype) {
  return model.cache_layers() * model.kv_page_bytes(dtype);
}

std::int64_t kv_block_bytes(const ModelConfig& config, DType dtype) {
  return config.cache_layers() * kv_page_bytes(config, dtype);
}

}  // namespace sampan
