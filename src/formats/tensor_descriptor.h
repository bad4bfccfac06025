#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace sampan {

// Where a tensor lies in a file. The parsers that make descriptors guarantee that bytes agrees with
// dtype and shape, that [offset, offset + bytes) is inside the file, that it overlaps no other
// tensor, and that the last dimension is a multiple of the block size.
struct TensorDescriptor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;               // outermost first, for GGUF too
  std::uint64_t offset = 0;  // from the start of the file
  std::uint64_t bytes = 0;
  int file = 0;  // which of TensorFiles::files()
};

// The product of the dimensions and its bytes, or nullopt where one of the two passes 2^63 - 1. A
// dimension of 0 counts as 1 in that check, so that any partial product of the shape is safe to
// compute. Every dimension must be >= 0 and the last a multiple of the block size.
inline std::optional<std::uint64_t> checked_tensor_bytes(DType dtype, const Shape& shape) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const DTypeInfo& info = dtype_info(dtype);
  const std::int64_t limit = kMax / std::max<std::int64_t>(info.block_bytes, 8);
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t size : shape) {
    empty |= size == 0;
    const std::int64_t factor = size == 0 ? 1 : size;
    if (factor > limit / product) return std::nullopt;
    product *= factor;
  }
  if (empty) return 0;
  return static_cast<std::uint64_t>(product / info.block_elements * info.block_bytes);
}

// A name that two of the tensors have, or nullptr.
const std::string* find_twin_name(const std::vector<TensorDescriptor>& tensors);

}  // namespace sampan
