#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace sampan {

// `bytes`, 64-byte aligned, for weights; what they hold at first is not defined. Small blocks share
// slabs that are large enough for huge pages: a decode step streams through all matrices, and on
// pages of 4 KiB it waits for address translation (small matrices were read at half the speed). A
// slab is freed with the last of its blocks. Thread-safe. Throws Error kLimit when the memory
// cannot be had.
std::shared_ptr<std::byte> allocate_weights(std::size_t bytes);

// Another source of such memory.
using WeightAllocator = std::function<std::shared_ptr<std::byte>(std::size_t bytes)>;

}  // namespace sampan
