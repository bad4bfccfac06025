#include "kernels/block_codes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/block_codec.h"
#include "matmul_test_data.h"

namespace sampan {
namespace {

using matmul_test::Codes;
using matmul_test::Scales;

std::string type_name(const ::testing::TestParamInfo<DType>& info) {
  return std::string(dtype_name(info.param));
}

class BlockCodes : public ::testing::TestWithParam<DType> {
 protected:
  std::int64_t elements() const { return dtype_info(GetParam()).block_elements; }

  // Blocks with scales and codes of all bit patterns.
  std::vector<std::byte> blocks(std::int64_t count, std::uint32_t seed) const {
    return matmul_test::random_blocks(GetParam(), 1, count * elements(), Codes::kRandom,
                                      Scales::kRandom, seed);
  }

  std::vector<float> values(const std::byte* block) const {
    std::vector<float> out(static_cast<std::size_t>(elements()));
    dequantize_row(GetParam(), block, elements(), out.data());
    return out;
  }
};

constexpr std::int64_t kBlocks = 64;

TEST_P(BlockCodes, GridAndCodesSayWhatDequantizeRowDoes) {
  const std::vector<std::byte> row = blocks(kBlocks, 3);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(elements()));
  for (std::int64_t b = 0; b < kBlocks; ++b) {
    const std::byte* const block = row.data() + b * dtype_info(GetParam()).block_bytes;
    const BlockGrid grid = read_grid(GetParam(), block);
    read_codes(GetParam(), block, codes.data());
    const std::vector<float> expected = values(block);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      // Q8_0's -128 is none of the levels.
      if (GetParam() == DType::kQ8_0 && block[2 + i] == std::byte{128}) continue;
      ASSERT_LT(codes[i], grid.levels.size());
      ASSERT_EQ(grid.value(static_cast<int>(i), codes[i]), expected[i]) << "element " << i;
    }
  }
}

TEST_P(BlockCodes, WrittenCodesAreReadAndScalesStay) {
  std::vector<std::byte> row = blocks(kBlocks, 5);
  std::mt19937 random(7);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(elements())), again = codes;
  for (std::int64_t b = 0; b < kBlocks; ++b) {
    std::byte* const block = row.data() + b * dtype_info(GetParam()).block_bytes;
    const BlockGrid before = read_grid(GetParam(), block);
    for (std::uint8_t& code : codes)
      code = static_cast<std::uint8_t>(random() % before.levels.size());
    write_codes(GetParam(), codes.data(), block);
    read_codes(GetParam(), block, again.data());
    EXPECT_EQ(again, codes);
    const std::vector<float> out = values(block);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      ASSERT_EQ(out[i], before.value(static_cast<int>(i), codes[i])) << "element " << i;
    }
  }
}

TEST_P(BlockCodes, NearestIsTheNearest) {
  const std::vector<std::byte> row = blocks(kBlocks, 11);
  std::mt19937 random(13);
  std::normal_distribution<float> normal;
  for (std::int64_t b = 0; b < kBlocks; ++b) {
    const BlockGrid grid =
        read_grid(GetParam(), row.data() + b * dtype_info(GetParam()).block_bytes);
    const auto last = static_cast<int>(grid.levels.size()) - 1;
    for (int i = 0; i < static_cast<int>(elements()); ++i) {
      const float spread = std::fabs(grid.value(i, last) - grid.value(i, 0));
      const float x = grid.value(i, last / 2) + spread * 0.5f * normal(random);
      float least = std::numeric_limits<float>::infinity();
      for (int c = 0; c <= last; ++c) least = std::min(least, std::fabs(grid.value(i, c) - x));
      const int nearest = grid.nearest(i, x);
      ASSERT_TRUE(nearest >= 0 && nearest <= last);
      EXPECT_LE(std::fabs(grid.value(i, nearest) - x), least + 1e-5f * spread);
    }
  }
}

TEST_P(BlockCodes, NearestOfAnythingIsACode) {
  BlockGrid grid = read_grid(GetParam(), blocks(1, 17).data());
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float scale : {1.0f, -1.0f, 1e-40f, 0.0f}) {
    grid.scales[0] = scale;
    grid.offsets[0] = 0;
    for (const float x : {std::nanf(""), infinity, -infinity, 3e38f, -3e38f, 0.0f}) {
      const int code = grid.nearest(0, x);
      EXPECT_TRUE(code >= 0 && code < static_cast<int>(grid.levels.size())) << scale << " " << x;
    }
  }
}

// What an encoder chose is what is nearest, but for elements that lie halfway.
TEST_P(BlockCodes, EncodersRoundToTheNearest) {
  std::mt19937 random(19);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(elements()));
  std::vector<std::byte> block(static_cast<std::size_t>(dtype_info(GetParam()).block_bytes));
  std::vector<std::uint8_t> codes(x.size());
  for (int round = 0; round < 16; ++round) {
    for (float& value : x) value = normal(random);
    quantize_row(GetParam(), x.data(), elements(), nullptr, block.data());
    read_codes(GetParam(), block.data(), codes.data());
    const BlockGrid grid = read_grid(GetParam(), block.data());
    for (int i = 0; i < static_cast<int>(elements()); ++i) {
      const float value = x[static_cast<std::size_t>(i)];
      EXPECT_NEAR(std::fabs(grid.value(i, grid.nearest(i, value)) - value),
                  std::fabs(grid.value(i, codes[static_cast<std::size_t>(i)]) - value),
                  2e-3);  // some know their scale before it is rounded to a half
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, BlockCodes, ::testing::ValuesIn(matmul_test::kBlockTypes),
                         type_name);

TEST(CodesOfTypes, FloatsHaveNone) {
  EXPECT_FALSE(has_codes(DType::kF32));
  EXPECT_FALSE(has_codes(DType::kBF16));
  EXPECT_FALSE(has_codes(DType::kI32));
  EXPECT_TRUE(has_codes(DType::kQ4_K));
  EXPECT_THROW(read_grid(DType::kF16, nullptr), InternalError);
}

}  // namespace
}  // namespace sampan
