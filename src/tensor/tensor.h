#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace sampan {

// Outermost dimension first, row-major, as in safetensors; GGUF's reversed order is turned round when it is read.
using Shape = std::vector<std::int64_t>;

std::string shape_text(const Shape& shape);  // "[4096, 1024]"

// Borrowed bytes of a tensor: no ownership, no alignment promised (a mapped file gives what it has). `data` must outlive it.
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;

  std::int64_t elements() const;
  std::int64_t bytes() const;
  // Shape (rows, columns) with all dimensions but the last folded into rows.
  std::int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  std::int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }
};

// Owns 64-byte aligned memory; large ones ask for huge pages. Contents start as zeros.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);  // throws Error kLimit when the memory cannot be had
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  template <typename T>
  T* as() { return reinterpret_cast<T*>(data_); }
  template <typename T>
  const T* as() const { return reinterpret_cast<const T*>(data_); }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sampan
