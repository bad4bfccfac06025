#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "base/error.h"

namespace sampan {
namespace {

using Ids = std::vector<std::int32_t>;

// How often each id is drawn over `draws` seeds.
std::map<std::int32_t, int> histogram(SamplingParams params, const std::vector<float>& logits, int draws,
                                      const Ids& prompt = {}, const Ids& generated = {}) {
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) {
    params.seed = static_cast<std::uint64_t>(i);
    counts[Sampler(params).sample(logits, prompt, generated)] += 1;
  }
  return counts;
}

TEST(Sampler, GreedyTakesTheLowestIdOfTheLikeliest) {
  const std::vector<float> logits = {1, 3, 3, NAN, 2};
  EXPECT_EQ(greedy(logits), 1);
  EXPECT_EQ(Sampler({}).sample(logits, {}, {}), 1);
}

TEST(Sampler, NoNumberIsAnError) {
  const std::vector<float> logits = {NAN, NAN};
  EXPECT_EQ(greedy(logits), -1);
  EXPECT_THROW(Sampler({}).sample(logits, {}, {}), Error);
}

TEST(Sampler, DrawsByProbability) {
  // Probabilities 0.5, 0.3, 0.2 at temperature 1; squared and renormalised at temperature 0.5.
  const std::vector<float> logits = {std::log(0.2f), std::log(0.5f), std::log(0.3f)};
  SamplingParams params;
  params.temperature = 1.0;
  auto counts = histogram(params, logits, 20000);
  EXPECT_NEAR(counts[1] / 20000.0, 0.5, 0.015);
  EXPECT_NEAR(counts[2] / 20000.0, 0.3, 0.015);
  params.temperature = 0.5;
  counts = histogram(params, logits, 20000);
  EXPECT_NEAR(counts[1] / 20000.0, 0.25 / 0.38, 0.015);
}

TEST(Sampler, TopKTopPAndMinPCutTheTail) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.5f), std::log(0.3f), std::log(0.1f)};
  SamplingParams params;
  params.temperature = 1.0;
  params.top_k = 2;
  EXPECT_EQ(histogram(params, logits, 3000).size(), 2u);
  params.top_k = 1;
  EXPECT_EQ(histogram(params, logits, 100).size(), 1u);
  params.top_k = 0;
  params.top_p = 0.6;  // the token that crosses 0.6 is kept
  EXPECT_EQ(histogram(params, logits, 3000).size(), 2u);
  params.top_p = 0.0;
  EXPECT_EQ(histogram(params, logits, 100).size(), 1u);
  params.top_p = 1.0;
  params.min_p = 0.3;  // of 0.5: 0.15
  EXPECT_EQ(histogram(params, logits, 3000).size(), 2u);
}

TEST(Sampler, MinusInfinityIsNeverDrawn) {
  const float never = -std::numeric_limits<float>::infinity();
  SamplingParams params;
  params.temperature = 1.0;
  EXPECT_EQ(histogram(params, {never, 0.0f, never}, 200), (std::map<std::int32_t, int>{{1, 200}}));
}

TEST(Sampler, RepetitionPenaltyCountsThePromptToo) {
  SamplingParams params;
  params.repetition_penalty = 2.0;
  Sampler sampler(params);
  EXPECT_EQ(sampler.sample(std::vector<float>{4, 3, 1}, Ids{0}, {}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-1, -3, -1.5f}, {}, Ids{0}), 2);
}

TEST(Sampler, PresenceAndFrequencyCountGeneratedTokensOnly) {
  SamplingParams params;
  params.presence_penalty = 1.5;
  EXPECT_EQ(Sampler(params).sample(std::vector<float>{3, 2, 0}, Ids{0}, {}), 0);
  EXPECT_EQ(Sampler(params).sample(std::vector<float>{3, 2, 0}, {}, Ids{0}), 1);
  params.presence_penalty = 0;
  params.frequency_penalty = 0.6;
  EXPECT_EQ(Sampler(params).sample(std::vector<float>{3, 2, 0}, {}, Ids{0}), 0);
  EXPECT_EQ(Sampler(params).sample(std::vector<float>{3, 2, 0}, {}, Ids{0, 0}), 1);
}

TEST(Sampler, ADrawDependsOnSeedAndStepAlone) {
  SamplingParams params;
  params.temperature = 1.0;
  params.seed = 42;
  const std::vector<float> logits(1000, 0.0f);
  Sampler first(params);
  const Ids generated = {1, 2, 3};
  const std::int32_t drawn = first.sample(logits, {}, generated);
  Sampler second(params);
  second.sample(logits, {}, Ids{5});
  EXPECT_EQ(second.sample(logits, {}, generated), drawn);
  EXPECT_NE(second.sample(logits, {}, Ids{1, 2, 3, 4}), drawn);
}

TEST(Sampler, RefusesWhatIsOutOfRange) {
  for (const auto& change : std::vector<std::function<void(SamplingParams&)>>{
           [](auto& p) { p.temperature = -0.1; }, [](auto& p) { p.temperature = NAN; }, [](auto& p) { p.top_p = 1.1; },
           [](auto& p) { p.min_p = -1; }, [](auto& p) { p.repetition_penalty = 0; }, [](auto& p) { p.top_k = -1; },
           [](auto& p) { p.presence_penalty = 1e9; }}) {
    SamplingParams params;
    change(params);
    EXPECT_THROW(Sampler{params}, Error);
  }
}

}  // namespace
}  // namespace sampan
