#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/kv_pool.h"
#include "models/batch.h"

namespace sampan {

// The key-value cache of one sequence: a table of blocks, from a pool that it shares with others or
// has for itself. Not thread-safe.
class KvCache {
 public:
  KvCache(const Model& model, DType dtype);  // with a pool of its own, as large as memory allows
  explicit KvCache(KvPool& pool);            // the pool outlives the cache
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // Takes blocks for positions [0, length). False when the pool has none left; blocks taken until
  // then are kept. Throws Error kLimit when memory runs out.
  bool try_reserve(std::int64_t length);
  // The same for a pool of its own, which is never exhausted.
  void reserve(std::int64_t length);
  // Appends a full block that others computed: the next kKvPagePositions positions. Only on a
  // block's border.
  void share(KvPool::BlockId block);
  // Uses another block of the same content in place of block `index`.
  void replace(std::size_t index, KvPool::BlockId block);
  // Forgets positions [length, …); their blocks stay for reuse.
  void truncate(std::int64_t length);
  // Gives all blocks back.
  void clear();

  std::int64_t length() const { return length_; }
  void set_length(std::int64_t length) { length_ = length; }
  DType dtype() const { return pool_->dtype(); }
  const KvPages& pages() const { return pages_; }
  const std::vector<KvPool::BlockId>& blocks() const { return blocks_; }
  std::int64_t bytes() const {
    return static_cast<std::int64_t>(blocks_.size()) * pool_->block_bytes();
  }

 private:
  void append(KvPool::BlockId block);

  std::unique_ptr<KvPool> own_;
  KvPool* pool_;
  std::int64_t length_ = 0;  // positions that hold keys and values
  std::vector<KvPool::BlockId> blocks_;
  KvPages pages_;
};

// Blocks that a text of `length` tokens takes.
constexpr std::int64_t kv_block_count(std::int64_t length) {
  return (length + kKvPagePositions - 1) / kKvPagePositions;
}

// Bytes of cache that a text of `length` tokens takes.
std::int64_t kv_cache_bytes(const ModelConfig& config, DType dtype, std::int64_t length);

}  // namespace sampan
