#pragma once

#include <cstdint>
#include <vector>

#include "models/batch.h"
#include "models/model.h"
#include "tensor/tensor.h"

namespace sampan {

// The key-value cache of one sequence: pages of kKvPagePositions positions for each layer, made as the text grows. Not
// thread-safe.
class KvCache {
 public:
  KvCache(const Model& model, DType dtype);

  // Makes pages for positions [0, length). Throws Error kLimit when memory runs out.
  void reserve(std::int64_t length);
  // Forgets positions [length, …); their pages stay for reuse.
  void truncate(std::int64_t length);

  std::int64_t length() const { return length_; }
  void set_length(std::int64_t length) { length_ = length; }
  DType dtype() const { return dtype_; }
  const KvPages& pages() const { return pages_; }
  std::int64_t bytes() const;

 private:
  DType dtype_;
  std::int64_t page_bytes_;  // of one layer
  std::int64_t length_ = 0;  // positions that hold keys and values
  std::vector<Buffer> buffers_;  // one a page number: all layers' pages of it
  KvPages pages_;
};

// Bytes of cache that a text of `length` tokens takes.
std::int64_t kv_cache_bytes(const ModelConfig& config, DType dtype, std::int64_t length);

}  // namespace sampan
