#include "engine/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace sampan {
namespace {

TEST(Divergence, IsNothingBetweenTheSame) {
  const std::vector<float> logits = {1.0f, -3.0f, 7.5f, 0.0f};
  EXPECT_EQ(kl_divergence(logits, logits), 0.0);
}

TEST(Divergence, OfTwoCoinsIsTheirs) {
  const std::vector<float> even = {5.0f, 5.0f};
  const std::vector<float> biased = {std::log(3.0f), 0.0f};  // 3/4, 1/4
  EXPECT_NEAR(kl_divergence(even, biased), 0.5 * std::log(0.5 / 0.75) + 0.5 * std::log(0.5 / 0.25),
              1e-7);
  EXPECT_NEAR(kl_divergence(biased, even), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-7);
}

TEST(Divergence, TokensThatCannotComeCostNothing) {
  const float kNever = -std::numeric_limits<float>::infinity();
  EXPECT_NEAR(kl_divergence(std::vector<float>{0.0f, kNever}, std::vector<float>{0.0f, 0.0f}),
              std::log(2.0), 1e-12);
}

TEST(Divergence, OfLogitsThatAreNoNumbersIsNoNumber) {
  EXPECT_FALSE(std::isfinite(
      kl_divergence(std::vector<float>{0.0f, 1.0f}, std::vector<float>{0.0f, std::nanf("")})));
}

}  // namespace
}  // namespace sampan
