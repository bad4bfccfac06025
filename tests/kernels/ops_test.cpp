#include "kernels/ops.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "kernels/math.h"
#include "kernels/ops_table.h"
#include "tensor/half.h"

namespace sampan {
namespace {

// A value behind each array that no operation may change.
constexpr float kGuard = 12345.0f;

std::vector<float> random_floats(std::int64_t count, std::uint32_t seed, float spread = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> out(static_cast<std::size_t>(count) + 1, kGuard);
  for (std::int64_t i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = normal(engine);
  return out;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

class OpsTest : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam())) GTEST_SKIP() << "this machine lacks it";
  }
  const OpsTable& ops() const { return ops_table(GetParam()); }
};

constexpr std::int64_t kSizes[] = {1,  2,  7,  8,  9,  15, 16,  17,  24,  31,  32,
                                   33, 63, 64, 65, 80, 96, 127, 128, 129, 256, 1000};

TEST_P(OpsTest, RmsNormFollowsItsContract) {
  for (const std::int64_t dim : kSizes) {
    const std::int64_t rows = 3;
    const std::vector<float> x = random_floats(rows * dim, 1, 3.0f);
    const std::vector<float> weight = random_floats(dim, 2);
    std::vector<float> expected(x.size(), kGuard);
    for (std::int64_t row = 0; row < rows; ++row) {
      float lane[16] = {};
      double exact = 0;
      for (std::int64_t i = 0; i < dim; ++i) {
        const float v = x[static_cast<std::size_t>(row * dim + i)];
        lane[i % 16] = std::fma(v, v, lane[i % 16]);
        exact += double{v} * double{v};
      }
      for (int i = 0; i < 8; ++i) lane[i] += lane[i + 8];
      for (int i = 0; i < 4; ++i) lane[i] += lane[i + 4];
      for (int i = 0; i < 2; ++i) lane[i] += lane[i + 2];
      const float sum = lane[0] + lane[1];
      const float inv = 1.0f / std::sqrt(sum / static_cast<float>(dim) + 1e-6f);
      EXPECT_NEAR(inv, 1.0 / std::sqrt(exact / static_cast<double>(dim) + 1e-6), 1e-6 * inv);
      for (std::int64_t i = 0; i < dim; ++i) {
        const auto at = static_cast<std::size_t>(row * dim + i);
        expected[at] = (x[at] * inv) * weight[static_cast<std::size_t>(i)];
      }
    }
    std::vector<float> y(x.size(), kGuard);
    ops().rms_norm(x.data(), weight.data(), rows, dim, 1e-6f, y.data());
    EXPECT_TRUE(same_bits(y, expected)) << dim;
    std::vector<float> in_place = x;
    ops().rms_norm(in_place.data(), weight.data(), rows, dim, 1e-6f, in_place.data());
    EXPECT_TRUE(same_bits(in_place, expected)) << dim;
  }
}

TEST_P(OpsTest, AddAddsAndStopsAtTheEnd) {
  for (const std::int64_t n : kSizes) {
    const std::vector<float> x = random_floats(n, 3);
    const std::vector<float> y = random_floats(n, 4);
    std::vector<float> expected = x;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) expected[i] = x[i] + y[i];
    std::vector<float> sum = x;
    ops().add(sum.data(), y.data(), n);
    EXPECT_TRUE(same_bits(sum, expected)) << n;
  }
}

TEST_P(OpsTest, SiluMulFollowsItsContract) {
  for (const std::int64_t n : kSizes) {
    std::vector<float> gate = random_floats(n, 5, 40.0f);
    const std::vector<float> up = random_floats(n, 6);
    gate[0] = n % 2 == 0 ? -200.0f : 200.0f;
    std::vector<float> expected(gate.size(), kGuard);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      expected[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
      const double silu = double{gate[i]} / (1.0 + std::exp(-double{gate[i]}));
      EXPECT_NEAR(expected[i], silu * double{up[i]}, 3e-7 * std::abs(silu * double{up[i]}) + 1e-30);
    }
    std::vector<float> y(gate.size(), kGuard);
    ops().silu_mul(gate.data(), up.data(), n, y.data());
    EXPECT_TRUE(same_bits(y, expected)) << n;
    std::vector<float> over_gate = gate;
    ops().silu_mul(over_gate.data(), up.data(), n, over_gate.data());
    EXPECT_TRUE(same_bits(over_gate, expected)) << n;
    std::vector<float> over_up = up;
    ops().silu_mul(gate.data(), over_up.data(), n, over_up.data());
    EXPECT_TRUE(same_bits(over_up, expected)) << n;
  }
}

TEST_P(OpsTest, RopeRotatesPairsAndLeavesTheRest) {
  for (const std::int64_t half : {1, 4, 7, 8, 12, 16, 20, 32, 37, 64}) {
    for (const std::int64_t rest : {0, 3}) {
      const std::int64_t head_dim = 2 * half + rest;
      const std::int64_t heads = 3;
      const std::vector<float> x = random_floats(heads * head_dim, 7);
      const std::vector<float> cos = random_floats(half, 8);
      const std::vector<float> sin = random_floats(half, 9);
      std::vector<float> expected = x;
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t i = 0; i < half; ++i) {
          const auto at = static_cast<std::size_t>(h * head_dim + i);
          const auto pair = at + static_cast<std::size_t>(half);
          const auto angle = static_cast<std::size_t>(i);
          expected[at] = std::fma(-x[pair], sin[angle], x[at] * cos[angle]);
          expected[pair] = std::fma(x[at], sin[angle], x[pair] * cos[angle]);
        }
      }
      std::vector<float> rotated = x;
      ops().rope_half(rotated.data(), heads, head_dim, cos.data(), sin.data(), half);
      EXPECT_TRUE(same_bits(rotated, expected)) << half << " " << rest;
    }
  }
}

TEST_P(OpsTest, InterleavedRopeRotatesNeighbours) {
  for (const std::int64_t half : {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 20, 32, 37}) {
    for (const std::int64_t before : {0, 5}) {
      const std::int64_t stride = before + 2 * half + (before > 0 ? 3 : 0);
      const std::int64_t heads = 3;
      const std::vector<float> x = random_floats(heads * stride, 17);
      const std::vector<float> cos = random_floats(half, 18);
      const std::vector<float> sin = random_floats(half, 19);
      std::vector<float> expected = x;
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t i = 0; i < half; ++i) {
          const auto at = static_cast<std::size_t>(h * stride + before + 2 * i);
          const auto angle = static_cast<std::size_t>(i);
          expected[at] = std::fma(-x[at + 1], sin[angle], x[at] * cos[angle]);
          expected[at + 1] = std::fma(x[at], sin[angle], x[at + 1] * cos[angle]);
        }
      }
      std::vector<float> rotated = x;
      ops().rope_interleaved(rotated.data() + before, heads, stride, cos.data(), sin.data(), half);
      EXPECT_TRUE(same_bits(rotated, expected)) << half << " " << before;
    }
  }
}

TEST_P(OpsTest, HalvesAreTheScalarOnes) {
  for (const std::int64_t n : kSizes) {
    std::vector<float> x = random_floats(n, 10, 1e-4f);
    x[0] = 1e6f;
    std::vector<std::uint16_t> expected(x.size(), 0x1234);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) expected[i] = float_to_f16(x[i]);
    std::vector<std::uint16_t> halves(x.size(), 0x1234);
    ops().narrow_f16(x.data(), n, halves.data());
    EXPECT_TRUE(same_bits(halves, expected)) << n;
    std::vector<float> exact(x.size(), kGuard);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      exact[i] = f16_to_float(halves[i]);
    }
    std::vector<float> widened(x.size(), kGuard);
    ops().widen_f16(halves.data(), n, widened.data());
    EXPECT_TRUE(same_bits(widened, exact)) << n;
  }
}

// Every bit pattern of a half, as its own float and as those next to it and half way to its
// neighbour.
TEST_P(OpsTest, EveryHalfIsRoundedTo) {
  std::vector<float> x;
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const float exact = f16_to_float(static_cast<std::uint16_t>(half));
    const auto bits = std::bit_cast<std::uint32_t>(exact);
    for (const std::uint32_t step : {0u, 1u, 0xFFFu, 0x1000u, 0x1001u, 0xFFFFFFFFu}) {
      x.push_back(std::bit_cast<float>(bits + step));
    }
  }
  std::vector<std::uint16_t> narrowed(x.size());
  ops().narrow_f16(x.data(), static_cast<std::int64_t>(x.size()), narrowed.data());
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(narrowed[i], float_to_f16(x[i])) << x[i];
}

INSTANTIATE_TEST_SUITE_P(Isas, OpsTest, ::testing::ValuesIn(kAllIsas),
                         [](const auto& param_info) {
                           return std::string(isa_name(param_info.param));
                         });

// Large enough that the pool takes part.
TEST(Ops, ThreadsLeaveTheBitsAlone) {
  const std::int64_t rows = 300;
  const std::int64_t dim = 1000;
  const std::vector<float> x = random_floats(rows * dim, 11);
  const std::vector<float> y = random_floats(rows * dim, 12);
  const std::vector<float> weight = random_floats(dim, 13);
  const std::vector<float> cos_sin = random_floats(rows * 2 * 50, 14);
  const auto run = [&](int threads) {
    ThreadPool pool(threads);
    std::vector<std::vector<float>> results(4, x);
    rms_norm(x.data(), weight.data(), rows, dim, 1e-5f, results[0].data(), pool);
    add_in_place(results[1].data(), y.data(), rows * dim, pool);
    rope_half(results[2].data(), rows, 10, 100, cos_sin.data(), 50, pool);
    rope_interleaved(results[3].data(), rows, 10, 100, cos_sin.data(), 50, pool);
    return results;
  };
  const auto alone = run(1);
  for (const int threads : {2, 5}) {
    const auto together = run(threads);
    for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(same_bits(together[i], alone[i]));
  }
}

TEST(Ops, RopeOfBothLayoutsTurnsEachTokenByItsAngles) {
  const std::vector<float> x = random_floats(2 * 2 * 6, 20);
  const std::vector<float> cos_sin = random_floats(2 * 2 * 2, 21);
  ThreadPool pool(1);
  std::vector<float> halves = x;
  std::vector<float> pairs = x;
  rope_half(halves.data() + 2, 2, 2, 6, cos_sin.data(), 2, pool);
  rope_interleaved(pairs.data() + 2, 2, 2, 6, cos_sin.data(), 2, pool);
  for (std::size_t head = 0; head < 4; ++head) {
    for (std::size_t i = 0; i < 2; ++i) {
      const float cos = cos_sin[head / 2 * 4 + i];
      const float sin = cos_sin[head / 2 * 4 + 2 + i];
      const auto turn = [&](const std::vector<float>& turned, std::size_t a, std::size_t b) {
        EXPECT_EQ(turned[a], std::fma(-x[b], sin, x[a] * cos));
        EXPECT_EQ(turned[b], std::fma(x[a], sin, x[b] * cos));
      };
      const std::size_t first = head * 6 + 2;
      turn(halves, first + i, first + i + 2);
      turn(pairs, first + 2 * i, first + 2 * i + 1);
    }
    EXPECT_EQ(pairs[head * 6], x[head * 6]);
    EXPECT_EQ(pairs[head * 6 + 1], x[head * 6 + 1]);
  }
}

TEST(Ops, NothingToDoIsDone) {
  ThreadPool pool(2);
  rms_norm(nullptr, nullptr, 0, 8, 1e-5f, nullptr, pool);
  add_in_place(nullptr, nullptr, 0, pool);
  rope_half(nullptr, 0, 4, 8, nullptr, 4, pool);
  rope_interleaved(nullptr, 0, 4, 8, nullptr, 4, pool);
}

TEST(Ops, RopeAnglesAreCosAndSinOfTheFloatAngle) {
  const std::vector<std::int32_t> positions = {0, 1, 17, 4095, 131071, 1048575};
  const std::vector<float> inv_freq = {1.0f, 0.1f, 0.00316f, 1e-6f, 0.7f};
  std::vector<float> cos_sin(positions.size() * 2 * inv_freq.size());
  rope_angles(positions.data(), 6, inv_freq.data(), 5, 1.5f, cos_sin.data());
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::size_t i = 0; i < inv_freq.size(); ++i) {
      const double angle = static_cast<float>(positions[t]) * inv_freq[i];
      EXPECT_EQ(cos_sin[t * 10 + i], static_cast<float>(std::cos(angle)) * 1.5f);
      EXPECT_EQ(cos_sin[t * 10 + 5 + i], static_cast<float>(std::sin(angle)) * 1.5f);
    }
  }
}

}  // namespace
}  // namespace sampan
