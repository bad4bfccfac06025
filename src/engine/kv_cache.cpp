#include "engine/kv_cache.h"

#include "base/error.h"

namespace sampan {

KvCache::KvCache(const Model& model, DType dtype)
    : own_(std::make_unique<KvPool>(model, dtype, 0)), pool_(own_.get()) {
  pages_.layers.resize(static_cast<std::size_t>(pool_->layers()));
}

KvCache::KvCache(KvPool& pool) : pool_(&pool) {
  pages_.layers.resize(static_cast<std::size_t>(pool.layers()));
}

KvCache::~KvCache() { clear(); }

void KvCache::append(KvPool::BlockId block) {
  blocks_.push_back(block);
  for (std::int64_t layer = 0; layer < pool_->layers(); ++layer) {
    pages_.layers[static_cast<std::size_t>(layer)].push_back(pool_->page(block, layer));
  }
}

bool KvCache::try_reserve(std::int64_t length) {
  while (static_cast<std::int64_t>(blocks_.size()) < kv_block_count(length)) {
    const std::optional<KvPool::BlockId> block = pool_->try_allocate();
    if (!block) return false;
    append(*block);
  }
  return true;
}

void KvCache::reserve(std::int64_t length) { SAMPAN_CHECK(try_reserve(length)); }

void KvCache::share(KvPool::BlockId block) {
  SAMPAN_CHECK(length_ == static_cast<std::int64_t>(blocks_.size()) * kKvPagePositions);
  pool_->retain(block);
  append(block);
  length_ += kKvPagePositions;
}

void KvCache::replace(std::size_t index, KvPool::BlockId block) {
  pool_->retain(block);
  pool_->release(blocks_[index]);
  blocks_[index] = block;
  for (std::int64_t layer = 0; layer < pool_->layers(); ++layer) {
    pages_.layers[static_cast<std::size_t>(layer)][index] = pool_->page(block, layer);
  }
}

void KvCache::truncate(std::int64_t length) {
  SAMPAN_CHECK(length >= 0 && length <= length_);
  length_ = length;
}

void KvCache::clear() {
  for (const KvPool::BlockId block : blocks_) pool_->release(block);
  blocks_.clear();
  for (auto& pages : pages_.layers) pages.clear();
  length_ = 0;
}

std::int64_t kv_cache_bytes(const ModelConfig& config, DType dtype, std::int64_t length) {
  return kv_block_count(length) * kv_block_bytes(config, dtype);
}

}  // namespace sampan
