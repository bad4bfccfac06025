#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "base/error.h"
#include "engine/likeliest.h"
#include "engine/token_scores.h"
#include "kernels/math.h"

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

// Sizes around those of the blocks that logits are taken in.
constexpr std::size_t kSizes[] = {1, 2, 63, 64, 65, 255, 256, 257, 1000, 2048, 5000};

// Logits of a made-up vocabulary: few values, so that many are equal, and some that are no numbers.
std::vector<float> coarse_logits(std::size_t count, std::mt19937& random) {
  std::vector<float> logits(count);
  for (float& logit : logits) {
    logit = static_cast<float>(static_cast<int>(random() % 41) - 20) * 0.25f;
    if (random() % 16 == 0) logit = random() % 2 == 0 ? NAN : -std::numeric_limits<float>::infinity();
  }
  logits[random() % count] = 5.0f;
  return logits;
}

// All ids whose logits are numbers, the likeliest first.
Ids ranked(const std::vector<float>& logits) {
  Ids ids;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isnan(logits[i])) ids.push_back(static_cast<std::int32_t>(i));
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::int32_t a, std::int32_t b) { return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)]; });
  return ids;
}

TEST(Sampler, TheLikeliestAreThoseOfAWholeSort) {
  std::mt19937 random(1);
  for (const std::size_t size : kSizes) {
    const std::vector<float> logits = coarse_logits(size, random);
    const Ids all = ranked(logits);
    EXPECT_EQ(greedy(logits), all.front()) << size;
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{20}, size, size + 1}) {
      Ids ids;
      likeliest(logits, count, ids);
      EXPECT_EQ(ids, Ids(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(count, all.size())))) << size << ", " << count;
    }
  }
  EXPECT_EQ(greedy(std::vector<float>(100, -std::numeric_limits<float>::infinity())), 0);
}

// Every cut by the plainest means: sort all, go through them one by one.
std::map<std::int32_t, float> plain_weights(const std::vector<float>& logits, const SamplingParams& params) {
  Ids ids = ranked(logits);
  const float top = logits[static_cast<std::size_t>(ids.front())];
  if (params.top_k != 0) ids.resize(std::min(ids.size(), static_cast<std::size_t>(params.top_k)));
  std::map<std::int32_t, float> all;
  double total = 0;
  for (const std::int32_t id : ids) {
    all[id] = exp_f32((logits[static_cast<std::size_t>(id)] - top) / static_cast<float>(params.temperature));
    total += static_cast<double>(all[id]);
  }
  std::map<std::int32_t, float> kept;
  double sum = 0;
  for (const std::int32_t id : ids) {
    if (params.top_p < 1.0 && !kept.empty() && sum >= params.top_p * total) break;
    sum += static_cast<double>(all[id]);
    if (all[id] > 0 && static_cast<double>(all[id]) >= params.min_p) kept[id] = all[id];
  }
  return kept;
}

TEST(Sampler, WeightsAreThoseOfThePlainestMeans) {
  std::mt19937 random(2);
  int cases = 0;
  for (const std::size_t size : kSizes) {
    for (const double temperature : {0.1, 0.7, 3.0}) {
      for (const std::int64_t top_k : {0, 7, 300}) {
        for (const double top_p : {0.0, 0.3, 0.9, 0.999, 1.0}) {
          for (const double min_p : {0.0, 0.05, 1.0}) {
            SamplingParams params;
            params.temperature = temperature;
            params.top_k = top_k;
            params.top_p = top_p;
            params.min_p = min_p;
            const std::vector<float> logits = coarse_logits(size, random);
            TokenWeights weights;
            weights.set(logits, 5.0f, params);
            std::map<std::int32_t, float> kept;
            for (std::size_t i = 0; i < weights.weights().size(); ++i) {
              if (weights.weights()[i] != 0) kept[weights.ids().empty() ? static_cast<std::int32_t>(i) : weights.ids()[i]] = weights.weights()[i];
            }
            EXPECT_EQ(kept, plain_weights(logits, params)) << size << " " << temperature << " " << top_k << " " << top_p << " " << min_p;
            ++cases;
            double total = 0;
            for (const auto& [id, weight] : kept) total += static_cast<double>(weight);
            for (const double u : {0.0, 0.25, 0.5, 0.9, 1.0, 2.0}) {  // 1 and more: what rounding may do
              double rest = u * total;
              auto place = kept.begin();
              for (; std::next(place) != kept.end() && rest >= static_cast<double>(place->second); ++place) rest -= static_cast<double>(place->second);
              const std::int32_t drawn = weights.draw(u);
              // Sums of blocks round otherwise: at the border of two tokens it may be the next.
              const bool is_border = rest < 1e-9 * total || std::abs(rest - static_cast<double>(place->second)) < 1e-9 * total;
              EXPECT_TRUE(is_border || drawn == place->first) << size << " " << u << ": " << drawn << ", not " << place->first;
              EXPECT_TRUE(kept.contains(drawn));
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(cases, 11 * 3 * 3 * 5 * 3);
}

TEST(Sampler, ScoresAreThoseOfASoftmax) {
  std::mt19937 random(3);
  for (const std::size_t size : kSizes) {
    std::vector<float> logits(size);
    for (float& logit : logits) logit = static_cast<float>(static_cast<int>(random() % 2001) - 1000) * 0.01f;
    const auto id = static_cast<std::int32_t>(random() % size);
    double sum = 0;
    int rank = 1;
    for (const float logit : logits) {
      sum += std::exp(static_cast<double>(logit));
      rank += logit > logits[static_cast<std::size_t>(id)] ? 1 : 0;
    }
    const ScoredToken token = score_token(logits, id, 3);
    EXPECT_NEAR(token.logprob, static_cast<double>(logits[static_cast<std::size_t>(id)]) - std::log(sum), 2e-6 * 20) << size;
    EXPECT_EQ(token.rank, rank);
    const Ids all = ranked(logits);
    ASSERT_EQ(token.top.size(), std::min<std::size_t>(3, size));
    for (std::size_t i = 0; i < token.top.size(); ++i) EXPECT_EQ(token.top[i].id, all[i]);
  }
  EXPECT_THROW(score_token(std::vector<float>(100, NAN), 3, 2), Error);
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
