#include "tensor/tensor.h"

#include <sys/mman.h>

#include <utility>

#include "base/error.h"

namespace sampan {
namespace {

constexpr std::size_t kHugePage = 2u << 20;

constexpr std::size_t kPage = 4096;

std::size_t mapped_size(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

std::byte* map_memory(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

// Begins where a huge page may, so that none of its pages has to be small.
std::byte* map_huge(std::size_t size) {
  std::byte* const memory = map_memory(size + kHugePage);
  if (memory == nullptr) return nullptr;
  const std::size_t before =
      (kHugePage - reinterpret_cast<std::uintptr_t>(memory) % kHugePage) % kHugePage;
  if (before > 0) ::munmap(memory, before);
  if (before < kHugePage) ::munmap(memory + before + size, kHugePage - before);
  ::madvise(memory + before, size, MADV_HUGEPAGE);  // a hint: where they are off, pages are small
  return memory + before;
}

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
  const std::size_t size = mapped_size(bytes);
  data_ = bytes >= 2 * kHugePage ? map_huge(size) : map_memory(size);
  if (data_ == nullptr) {
    fail(ErrorCode::kLimit, "out of memory: {} bytes could not be allocated", bytes);
  }
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
