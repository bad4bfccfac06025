// Panels: the packers of all instruction sets give the bytes of the reference, and the reference
// gives those that kernels/panels.h describes (matmul_test.cpp compares products with dequantised
// weights).

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "kernels/matmul.h"
#include "kernels/matmul_test_data.h"
#include "kernels/pack_table.h"
#include "kernels/panels.h"
#include "tensor/blocks.h"
#include "tensor/tensor.h"

namespace sampan {
namespace {

using matmul_test::Codes;
using matmul_test::kBlockTypes;
using matmul_test::Scales;

constexpr std::byte kDirt{0xA5};

struct Source {
  DType dtype;
  std::int64_t rows;
  std::int64_t columns;
  std::vector<std::byte> bytes;
  std::size_t skip = 0;  // bytes before the first row, so that rows lie at any address

  TensorView view() const { return {dtype, {rows, columns}, bytes.data() + skip}; }
};

Source random_source(DType dtype, std::int64_t rows, std::int64_t columns, std::size_t skip) {
  std::vector<std::byte> blocks =
      matmul_test::random_blocks(dtype, rows, columns, Codes::kRandom, Scales::kRandom,
                                 static_cast<std::uint32_t>(rows * 31 + columns));
  blocks.insert(blocks.begin(), skip, std::byte{0});
  blocks.shrink_to_fit();  // so that AddressSanitizer sees a read behind the last row
  return {dtype, rows, columns, std::move(blocks), skip};
}

// The panels in memory full of dirt, with as much behind them; it must be whole afterwards.
std::vector<std::byte> packed(const PackTable& table, const Source& source,
                              std::span<const std::int64_t> row_order, ThreadPool& pool) {
  const auto rows = row_order.empty() ? source.rows : static_cast<std::int64_t>(row_order.size());
  const auto bytes = static_cast<std::size_t>((rows + kPanelRows - 1) / kPanelRows *
                                              panel_bytes(source.dtype, source.columns));
  Buffer memory(bytes + 64);
  std::memset(memory.data(), static_cast<int>(kDirt), memory.size());
  const PackTask task{source.view(), row_order, memory.data()};
  pack_panels_with_table(table, {&task, 1}, pool);
  for (std::size_t i = bytes; i < memory.size(); ++i) EXPECT_EQ(memory.data()[i], kDirt);
  return {memory.data(), memory.data() + bytes};
}

void expect_same(const Source& source, std::span<const std::int64_t> row_order) {
  ThreadPool pool(2);
  const std::vector<std::byte> expected = packed(pack_table_reference(), source, row_order, pool);
  for (const Isa isa : matmul_test::supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    SCOPED_TRACE(dtype_name(source.dtype));
    const std::vector<std::byte> actual = packed(pack_table(isa), source, row_order, pool);
    const auto differ = std::mismatch(expected.begin(), expected.end(), actual.begin());
    ASSERT_EQ(differ.first - expected.begin(), static_cast<std::ptrdiff_t>(expected.size()))
        << source.rows << "x" << source.columns << " from byte " << source.skip;
  }
}

TEST(Pack, AllInstructionSetsAgree) {
  for (const DType dtype : kBlockTypes) {
    const std::int64_t tile = panel_format(dtype).tile_columns;
    for (const std::int64_t rows : {1, 15, 16, 17, 40, 64}) {
      for (const std::int64_t tiles : {1, 2, 3, 7}) {
        for (const std::size_t skip : {0, 1, 2, 7}) {
          expect_same(random_source(dtype, rows, tiles * tile, skip), {});
        }
      }
    }
  }
}

TEST(Pack, RowsInAnotherOrder) {
  for (const DType dtype : kBlockTypes) {
    const Source source = random_source(dtype, 48, 512, 1);
    std::vector<std::int64_t> order(48);
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<std::int64_t>(i * 29 % 48);
    }
    expect_same(source, order);
    order.resize(21);  // a part, the last panel not full
    expect_same(source, order);
  }
}

// Rows in another order are those rows packed in order.
TEST(Pack, OrderTakesTheRowsThatItNames) {
  ThreadPool pool(1);
  const Source source = random_source(DType::kQ4_K, 40, 256, 0);
  const std::vector<std::int64_t> order = {39, 0, 7, 7, 16};
  Source chosen{DType::kQ4_K, 5, 256, {}, 0};
  const auto stride = static_cast<std::ptrdiff_t>(row_bytes(DType::kQ4_K, 256));
  for (const std::int64_t row : order) {
    const auto begin = source.bytes.begin() + row * stride;
    chosen.bytes.insert(chosen.bytes.end(), begin, begin + stride);
  }
  EXPECT_EQ(packed(pack_table_reference(), source, order, pool),
            packed(pack_table_reference(), chosen, {}, pool));
}

TEST(Pack, RowsThatAreNotThereAreBugs) {
  ThreadPool pool(1);
  const Source source = random_source(DType::kQ8_0, 16, 64, 0);
  const std::vector<std::int64_t> below = {-1}, above = {16};
  EXPECT_ANY_THROW(packed(pack_table_reference(), source, below, pool));
  EXPECT_ANY_THROW(packed(pack_table_reference(), source, above, pool));
}

// What the reference makes of one block, by the table in kernels/panels.h.
TEST(Pack, ReferenceFollowsTheLayout) {
  ThreadPool pool(1);
  BlockQ8_0 blocks[2] = {};
  blocks[0].d = 0x1111;
  blocks[1].d = 0x2222;
  for (int i = 0; i < 32; ++i) blocks[1].qs[i] = static_cast<std::int8_t>(i + 1);
  std::vector<std::byte> bytes(sizeof(blocks));
  std::memcpy(bytes.data(), blocks, sizeof(blocks));
  const std::vector<std::byte> panel =
      packed(pack_table_reference(), {DType::kQ8_0, 2, 32, bytes, 0}, {}, pool);
  ASSERT_EQ(panel.size(), 64u + 512u);
  std::uint16_t d[16];
  std::memcpy(d, panel.data(), sizeof(d));
  EXPECT_EQ(d[0], 0x1111);
  EXPECT_EQ(d[1], 0x2222);
  EXPECT_EQ(d[2], 0);
  for (int i = 0; i < 32; ++i) {
    const std::size_t row1 = 64 + static_cast<std::size_t>((i / 4 * 16 + 1) * 4 + i % 4);
    EXPECT_EQ(std::to_integer<int>(panel[row1]), i + 1);
    EXPECT_EQ(std::to_integer<int>(panel[row1 + 4]), 0);
  }
}

TEST(Pack, ManyMatricesAtOnceAreTheSameAsEach) {
  ThreadPool pool(2);
  std::vector<Source> sources;
  std::vector<TensorView> views;
  for (std::size_t i = 0; i < 2 * kBlockTypes.size(); ++i) {
    const auto rows = static_cast<std::int64_t>(1 + i * 13 % 50);
    sources.push_back(random_source(kBlockTypes[i % kBlockTypes.size()], rows, 512, i % 3));
  }
  for (const Source& source : sources) views.push_back(source.view());
  const std::vector<WeightMatrix> all = WeightMatrix::make_all(views, pool);
  ASSERT_EQ(all.size(), views.size());
  for (std::size_t i = 0; i < views.size(); ++i) {
    const WeightMatrix one = WeightMatrix::make(views[i], pool);
    ASSERT_EQ(all[i].bytes(), one.bytes());
    EXPECT_EQ(all[i].dtype(), one.dtype());
    EXPECT_EQ(all[i].rows(), one.rows());
    EXPECT_EQ(all[i].columns(), one.columns());
    EXPECT_EQ(all[i].owned_bytes(), one.owned_bytes());
    EXPECT_EQ(std::memcmp(all[i].data(), one.data(), static_cast<std::size_t>(one.bytes())), 0);
  }
  EXPECT_TRUE(WeightMatrix::make_all({}, pool).empty());
}

TEST(Pack, FloatsAmongManyAreBorrowed) {
  ThreadPool pool(1);
  const std::vector<float> floats(64, 1.0f);
  const Source blocks = random_source(DType::kQ4_0, 16, 64, 0);
  const TensorView views[] = {
      blocks.view(), {DType::kF32, {2, 32}, reinterpret_cast<const std::byte*>(floats.data())}};
  const std::vector<WeightMatrix> all = WeightMatrix::make_all(views, pool);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_GT(all[0].owned_bytes(), 0);
  EXPECT_EQ(all[1].owned_bytes(), 0);
  EXPECT_EQ(all[1].data(), views[1].data);
}

}  // namespace
}  // namespace sampan
