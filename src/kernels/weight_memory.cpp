#include "kernels/weight_memory.h"

#include <mutex>

#include "tensor/tensor.h"

namespace sampan {
namespace {

constexpr std::size_t kSlabBytes = std::size_t{64} << 20;
// From this size on a block has memory of its own.
constexpr std::size_t kOwnBytes = std::size_t{16} << 20;

struct Slab {
  explicit Slab(std::size_t bytes) : buffer(bytes) {}
  Buffer buffer;
  std::size_t used = 0;
};

}  // namespace

std::shared_ptr<std::byte> allocate_weights(std::size_t bytes) {
  if (bytes >= kOwnBytes) {
    const auto own = std::make_shared<Slab>(bytes);
    return {own, own->buffer.data()};
  }
  static std::mutex mutex;
  static std::weak_ptr<Slab> current;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<Slab> slab = current.lock();
  if (!slab || kSlabBytes - slab->used < bytes) {
    slab = std::make_shared<Slab>(kSlabBytes);
    current = slab;
  }
  std::byte* const data = slab->buffer.data() + slab->used;
  slab->used += (bytes + 63) / 64 * 64;
  return {slab, data};
}

}  // namespace sampan
