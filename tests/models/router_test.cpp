// The choice of experts: ties, groups, bias, normalisation, odd numbers. Agreement with transformers on whole models is in
// transformers_golden_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "models/blocks/router.h"

namespace sampan {
namespace {

MoeConfig config_of(std::int64_t experts, std::int64_t chosen) {
  MoeConfig config;
  config.experts = experts;
  config.experts_per_token = chosen;
  return config;
}

std::vector<Route> route_of(const MoeConfig& config, const std::vector<float>& logits, const float* bias = nullptr) {
  RouterScratch scratch;
  std::vector<Route> out(static_cast<std::size_t>(config.experts_per_token));
  route(config, logits.data(), bias, scratch, out.data());
  return out;
}

std::vector<std::int32_t> experts_of(const std::vector<Route>& routes) {
  std::vector<std::int32_t> experts;
  for (const Route& route : routes) experts.push_back(route.expert);
  return experts;
}

TEST(Router, SoftmaxWeightsOfTheBestByAscendingExpert) {
  const std::vector<Route> routes = route_of(config_of(4, 2), {0.0f, 2.0f, -1.0f, 1.0f});
  EXPECT_EQ(experts_of(routes), (std::vector<std::int32_t>{1, 3}));
  const double sum = 1.0 + std::exp(2.0) + std::exp(-1.0) + std::exp(1.0);
  EXPECT_NEAR(routes[0].weight, std::exp(2.0) / sum, 1e-6);
  EXPECT_NEAR(routes[1].weight, std::exp(1.0) / sum, 1e-6);
}

TEST(Router, EqualScoresGoToTheLowerExpert) {
  EXPECT_EQ(experts_of(route_of(config_of(6, 3), {1, 1, 1, 1, 1, 1})), (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(experts_of(route_of(config_of(5, 2), {0, 1, 0, 1, 1})), (std::vector<std::int32_t>{1, 3}));
}

TEST(Router, NormalisedAndScaled) {
  MoeConfig config = config_of(4, 2);
  config.normalize = true;
  config.scale = 2.5f;
  const std::vector<Route> routes = route_of(config, {0.0f, 2.0f, -1.0f, 1.0f});
  EXPECT_NEAR(routes[0].weight + routes[1].weight, 2.5, 1e-6);
}

TEST(Router, BiasChoosesButDoesNotWeigh) {
  MoeConfig config = config_of(4, 1);
  config.score = RouterScore::kSigmoid;
  const float bias[] = {0, 0, 10, 0};
  const std::vector<Route> routes = route_of(config, {3, 3, -1, 3}, bias);
  EXPECT_EQ(routes[0].expert, 2);
  EXPECT_NEAR(routes[0].weight, 1.0 / (1.0 + std::exp(1.0)), 1e-6);
}

// The best single expert is in group 0; the sum of two picks group 1.
TEST(Router, GroupsByBestOrByTwoBest) {
  MoeConfig config = config_of(6, 2);
  config.groups = 3;
  config.groups_kept = 1;
  const std::vector<float> logits = {3, -9, 2, 2, 1, 1};
  EXPECT_EQ(experts_of(route_of(config, logits)), (std::vector<std::int32_t>{0, 1}));
  config.score = RouterScore::kSigmoid;
  config.group_score = GroupScore::kTwoBest;
  EXPECT_EQ(experts_of(route_of(config, logits)), (std::vector<std::int32_t>{2, 3}));
}

TEST(Router, ANumberGoesBeforeNaN) {
  MoeConfig config = config_of(4, 2);
  config.score = RouterScore::kSigmoid;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(experts_of(route_of(config, {nan, -3, nan, 5})), (std::vector<std::int32_t>{1, 3}));
  const std::vector<Route> all = route_of(config, {nan, nan, nan, nan});
  EXPECT_EQ(experts_of(all), (std::vector<std::int32_t>{0, 1}));
}

}  // namespace
}  // namespace sampan
