#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "tensor/tensor.h"

namespace sampan {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

bool is_zero(const Buffer& buffer) {
  return std::all_of(buffer.data(), buffer.data() + buffer.size(),
                     [](std::byte b) { return b == std::byte{0}; });
}

TEST(Buffer, IsZerosOfAnySize) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4096}, std::size_t{4097},
                                  2 * kHugePage - 1, 2 * kHugePage, 3 * kHugePage + 5}) {
    Buffer buffer(bytes);
    ASSERT_EQ(buffer.size(), bytes);
    EXPECT_TRUE(is_zero(buffer));
    buffer.data()[0] = buffer.data()[bytes - 1] = std::byte{1};  // both ends are there
  }
}

TEST(Buffer, LargeOnesBeginAtAHugePage) {
  for (int i = 0; i < 8; ++i) {
    const Buffer odd(4096 * (2 * static_cast<std::size_t>(i) + 1));  // shifts what comes next
    const Buffer large(2 * kHugePage + 4096);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % kHugePage, 0u);
  }
}

TEST(Buffer, EmptyOnesAndMoves) {
  Buffer empty(0);
  EXPECT_EQ(empty.data(), nullptr);
  Buffer full(3 * kHugePage);
  std::byte* const data = full.data();
  empty = std::move(full);
  EXPECT_EQ(empty.data(), data);
  const Buffer moved(std::move(empty));
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(moved.size(), 3 * kHugePage);
}

TEST(Buffer, MemoryThatCannotBeHadIsAnError) { EXPECT_THROW(Buffer(std::size_t{1} << 60), Error); }

}  // namespace
}  // namespace sampan
