#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/matmul_table.h"
#include "kernels/matmul_test_data.h"
#include "kernels/quantized_activations.h"

namespace sampan {
namespace {

using namespace matmul_test;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// 8 super-blocks of every kind of trouble.
std::vector<float> difficult_floats() {
  std::vector<float> x = random_activations(8 * 256, 1);
  for (std::size_t i = 0; i < 256; ++i) {
    x[256 + i] = 0.0f;
    x[512 + i] *= 1e-38f;
    x[768 + i] *= 1e38f;
    x[1024 + i] = static_cast<float>(static_cast<int>(i) - 127) * 0.5f;  // many ties
    x[1280 + i] = i % 2 == 0 ? 0x1p-100f : -0x1p-101f;
  }
  x[1536 + 40] = kInfinity;
  x[1536 + 41] = std::nanf("");
  x[1792 + 3] = -std::nanf("");
  return x;
}

TEST(QuantizeActivations, AllInstructionSetsGiveTheSameBits) {
  const std::vector<float> x = difficult_floats();
  std::vector<ActivationBlock32> expected32(64), got32(64);
  std::vector<ActivationBlock256> expected256(8), got256(8);
  matmul_table_reference().quantize32(x.data(), 64,
                                      reinterpret_cast<std::byte*>(expected32.data()));
  matmul_table_reference().quantize256(x.data(), 8,
                                       reinterpret_cast<std::byte*>(expected256.data()));
  for (const Isa isa : supported_isas()) {
    matmul_table(isa).quantize32(x.data(), 64, reinterpret_cast<std::byte*>(got32.data()));
    matmul_table(isa).quantize256(x.data(), 8, reinterpret_cast<std::byte*>(got256.data()));
    for (std::size_t b = 0; b < 64; ++b) {
      EXPECT_EQ(std::memcmp(expected32[b].q, got32[b].q, 32), 0) << isa_name(isa) << " block " << b;
      EXPECT_TRUE(same_float(expected32[b].d, got32[b].d)) << isa_name(isa) << " block " << b;
      EXPECT_EQ(expected32[b].minus_sum, got32[b].minus_sum);
      EXPECT_TRUE(same_float(expected32[b].sum, got32[b].sum));
    }
    for (std::size_t b = 0; b < 8; ++b) {
      EXPECT_EQ(std::memcmp(expected256[b].q, got256[b].q, 256), 0)
          << isa_name(isa) << " block " << b;
      EXPECT_TRUE(same_float(expected256[b].d, got256[b].d));
      EXPECT_EQ(std::memcmp(expected256[b].sums16, got256[b].sums16, 32), 0);
      EXPECT_EQ(std::memcmp(expected256[b].sums32, got256[b].sums32, 16), 0);
    }
  }
}

TEST(QuantizeActivations, MeaningOfABlock) {
  const std::vector<float> x = difficult_floats();
  std::vector<ActivationBlock256> blocks(8);
  matmul_table_reference().quantize256(x.data(), 8, reinterpret_cast<std::byte*>(blocks.data()));
  for (const std::size_t b : {0u, 3u, 4u}) {
    float largest = 0;
    for (std::size_t i = 0; i < 256; ++i) largest = std::max(largest, std::abs(x[256 * b + i]));
    EXPECT_EQ(blocks[b].d, largest / 127.0f);
    int sum = 0;
    for (std::size_t i = 0; i < 256; ++i) {
      EXPECT_LE(std::abs(x[256 * b + i] / blocks[b].d - static_cast<float>(blocks[b].q[i])),
                0.5001f);
      EXPECT_LE(std::abs(blocks[b].q[i]), 127);
      if (i % 32 == 0) sum = 0;
      sum += blocks[b].q[i];
      if (i % 32 == 31) {
        EXPECT_EQ(blocks[b].sums32[i / 32], sum);
      }
    }
  }
  for (const std::size_t b : {1u, 2u}) EXPECT_EQ(blocks[b].d, 0.0f);
  EXPECT_GT(blocks[5].d, 0.0f);
  for (const std::size_t b : {6u, 7u}) EXPECT_TRUE(std::isnan(blocks[b].d));
  for (const std::size_t b : {1u, 2u, 6u, 7u}) {
    for (const std::int8_t q : blocks[b].q) EXPECT_EQ(q, 0);
  }
}

}  // namespace
}  // namespace sampan
