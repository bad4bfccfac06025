#include "tensor/tensor.h"

#include <sys/mman.h>

#include <utility>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::size_t kHugePage = 2u << 20;

std::size_t mapped_size(std::size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", shape[i]);
  }
  return text + "]";
}

std::int64_t TensorView::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

std::int64_t TensorView::bytes() const {
  const DTypeInfo& info = dtype_info(dtype);
  return elements() / info.block_elements * info.block_bytes;
}

Buffer::Buffer(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  void* memory = ::mmap(nullptr, mapped_size(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    fail(ErrorCode::kLimit, "out of memory: {} bytes could not be allocated", bytes);
  }
  if (bytes >= 2 * kHugePage) ::madvise(memory, mapped_size(bytes), MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(memory);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, mapped_size(size_));
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace sampan
