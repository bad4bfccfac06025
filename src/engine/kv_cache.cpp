#include "engine/kv_cache.h"

#include "base/error.h"

namespace sampan {
namespace {

std::int64_t page_count(std::int64_t length) { return (length + kKvPagePositions - 1) / kKvPagePositions; }

}  // namespace

KvCache::KvCache(const Model& model, DType dtype) : dtype_(dtype), page_bytes_(model.kv_page_bytes(dtype)) {
  pages_.layers.resize(static_cast<std::size_t>(model.config().layers));
}

void KvCache::reserve(std::int64_t length) {
  while (static_cast<std::int64_t>(buffers_.size()) < page_count(length)) {
    Buffer buffer(pages_.layers.size() * static_cast<std::size_t>(page_bytes_));
    for (std::size_t layer = 0; layer < pages_.layers.size(); ++layer) {
      pages_.layers[layer].push_back(buffer.data() + static_cast<std::int64_t>(layer) * page_bytes_);
    }
    buffers_.push_back(std::move(buffer));
  }
}

void KvCache::truncate(std::int64_t length) {
  SAMPAN_CHECK(length >= 0 && length <= length_);
  length_ = length;
}

std::int64_t KvCache::bytes() const {
  std::int64_t bytes = 0;
  for (const Buffer& buffer : buffers_) bytes += static_cast<std::int64_t>(buffer.size());
  return bytes;
}

std::int64_t kv_cache_bytes(const ModelConfig& config, DType dtype, std::int64_t length) {
  return page_count(length) * config.layers * kv_page_bytes(config, dtype);
}

}  // namespace sampan
