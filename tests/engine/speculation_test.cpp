// Speculative decoding writes what plain decoding writes, whatever is drafted.
#include "engine/speculation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/likeliest.h"
#include "engine/mtp_drafter.h"
#include "models/changed_checkpoint.h"
#include "models/load.h"

namespace sampan {
namespace {

using testing::ChangedCheckpoint;
using Ids = std::vector<std::int32_t>;

std::filesystem::path data(const char* name) {
  return std::filesystem::path(SAMPAN_TEST_DATA) / "models" / name;
}

// A model whose layer of multi-token prediction foretells (nearly) what the trunk says: neither has
// attention or MLP left, so the trunk's next token follows from the last token alone, and the layer
// sees that token.
ChangedCheckpoint foreseeing_checkpoint() {
  return ChangedCheckpoint(
      data("deepseek_v3_mtp_bf16"), "foreseeing", [](nlohmann::json& header, std::string& bytes) {
        const auto fill = [&](const std::string& name, std::uint16_t value) {
          const std::size_t end = ChangedCheckpoint::end(header, name);
          for (std::size_t i = ChangedCheckpoint::begin(header, name); i < end; i += 2)
            std::memcpy(&bytes[i], &value, 2);
        };
        for (const auto& [name, tensor] : header.items()) {
          if (name.find("o_proj.") != std::string::npos ||
              name.find("down_proj.") != std::string::npos)
            fill(name, 0);
        }
        constexpr std::uint16_t kOne = 0x3F80;  // BF16
        const std::string layer = "model.layers.2.";
        fill(layer + "enorm.weight", kOne);
        fill(layer + "eh_proj.weight", 0);
        const std::size_t eh_proj = ChangedCheckpoint::begin(header, layer + "eh_proj.weight");
        for (std::size_t i = 0; i < 40; ++i)
          std::memcpy(&bytes[eh_proj + 2 * (80 * i + i)], &kOne, 2);
        const std::size_t norm = ChangedCheckpoint::begin(header, "model.norm.weight");
        bytes.replace(ChangedCheckpoint::begin(header, layer + "shared_head.norm.weight"), 80,
                      bytes, norm, 80);
      });
}

// Proposes what a function says.
class ScriptedDrafter : public Drafter {
 public:
  // (ids of the text so far, count) → tokens
  using Script = std::function<Ids(const Ids& text, std::int64_t count)>;
  explicit ScriptedDrafter(Script script) : script_(std::move(script)) {}

  bool wants_hidden() const override { return false; }
  void observe(Sequence& sequence, std::int64_t first, std::span<const float> hidden) override {
    EXPECT_TRUE(hidden.empty());
    EXPECT_LE(first, sequence.cache.length());
  }
  void propose(Sequence& sequence, std::int32_t next, std::int64_t count, const DraftChoice&,
               Ids& drafted) override {
    Ids text = sequence.ids;
    text.push_back(next);
    drafted = script_(text, count);
  }

 private:
  Script script_;
};

struct Text {
  Ids ids;
  SpeculationStats stats;
};

class Fixture {
 public:
  explicit Fixture(const std::filesystem::path& path, DType kv_dtype = DType::kF32)
      : model(load_model(path, pool, {0, Prediction::kWherePossible})), kv_dtype_(kv_dtype) {}

  Ids plain(const Ids& prompt, const SamplingParams& params, std::size_t count) {
    Runner runner(*model, pool);
    Sequence sequence(*model, kv_dtype_);
    const Sampler sampler(params);
    std::span<const float> logits = runner.prefill(sequence, prompt);
    Ids ids;
    while (true) {
      ids.push_back(sampler.sample(logits, prompt, ids));
      if (ids.size() == count) return ids;
      logits = runner.decode(sequence, ids.back());
    }
  }

  Text speculative(const Ids& prompt, const SamplingParams& params, std::size_t count,
                   SpeculationOptions options, ScriptedDrafter::Script script = {}) {
    Runner runner(*model, pool, 8);
    Sequence sequence(*model, kv_dtype_);
    const Sampler sampler(params);
    std::unique_ptr<Drafter> drafter;
    if (script) {
      drafter = std::make_unique<ScriptedDrafter>(script);
    } else {
      drafter = std::make_unique<MtpDrafter>(runner);
    }
    SpeculativeDecoder decoder(runner, sequence, std::move(drafter), std::move(options));
    decoder.read(prompt, 0);
    decoder.begin(sampler, prompt, static_cast<std::int64_t>(count));
    Text text;
    while (text.ids.size() < count) text.ids.push_back(decoder.next());
    text.stats = decoder.stats();
    // The cache has the prompt and all but the last token, and goes on as if nothing had been
    // drafted.
    Ids read = prompt;
    read.insert(read.end(), text.ids.begin(), text.ids.end() - 1);
    EXPECT_EQ(sequence.ids, read);
    expect_continues(runner, sequence, read);
    return text;
  }

  ThreadPool pool{2};
  std::unique_ptr<Model> model;

 private:
  void expect_continues(Runner& runner, Sequence& sequence, const Ids& read) {
    const std::span<const float> logits = runner.decode(sequence, 7);
    Runner fresh_runner(*model, pool);
    Sequence fresh(*model, kv_dtype_);
    fresh_runner.prefill(fresh, read);
    const std::span<const float> expected = fresh_runner.decode(fresh, 7);
    EXPECT_TRUE(std::equal(logits.begin(), logits.end(), expected.begin(), expected.end()));
  }

  DType kv_dtype_;
};

SamplingParams sampled(std::uint64_t seed) {
  SamplingParams params;
  params.temperature = 0.8;
  params.top_p = 0.95;
  params.seed = seed;
  return params;
}

SamplingParams penalised(std::uint64_t seed) {
  SamplingParams params = sampled(seed);
  params.repetition_penalty = 1.3;
  params.presence_penalty = 0.4;
  params.frequency_penalty = 0.2;
  params.top_k = 20;
  return params;
}

SpeculationOptions always(std::int64_t depth) {
  SpeculationOptions options;
  options.depth = depth;
  options.always = true;
  return options;
}

const Ids kPrompt = {40, 49, 29, 39, 61, 61, 75, 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9};

void expect_the_same_texts(Fixture& fixture) {
  std::vector<SamplingParams> all = {SamplingParams{}};
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    all.push_back(sampled(seed));
    all.push_back(penalised(seed));
  }
  for (const SamplingParams& params : all) {
    const Ids expected = fixture.plain(kPrompt, params, 60);
    for (const std::int64_t depth : {1, 2, 3}) {
      EXPECT_EQ(fixture.speculative(kPrompt, params, 60, always(depth)).ids, expected)
          << "seed " << params.seed << ", depth " << depth;
    }
    EXPECT_EQ(fixture.speculative(kPrompt, params, 60, {}).ids, expected)
        << "seed " << params.seed << ", by measurement";
  }
}

TEST(Speculation, TheSameTextWithALayerThatForetellsNothing) {
  for (const DType kv_dtype : {DType::kF32, DType::kF16}) {
    Fixture fixture(data("deepseek_v3_mtp_bf16"), kv_dtype);
    expect_the_same_texts(fixture);
  }
}

TEST(Speculation, TheSameTextWithALayerThatForetellsNearlyAll) {
  const ChangedCheckpoint checkpoint = foreseeing_checkpoint();
  Fixture fixture(checkpoint.folder());
  expect_the_same_texts(fixture);
}

// Keys shared by draft and draw make like distributions give like tokens, at any temperature and
// depth.
TEST(Speculation, AForeseeingLayerIsAccepted) {
  const ChangedCheckpoint checkpoint = foreseeing_checkpoint();
  Fixture fixture(checkpoint.folder());
  for (const std::int64_t depth : {1, 2, 3}) {
    for (const SamplingParams& params : {SamplingParams{}, sampled(1), penalised(2)}) {
      const SpeculationStats stats = fixture.speculative(kPrompt, params, 60, always(depth)).stats;
      EXPECT_GE(stats.accepted * 20, stats.proposed * 19) << "depth " << depth;
      EXPECT_LE(stats.plain_steps, 1) << "depth " << depth;
      EXPECT_LE(stats.drafted_steps, 60 / (depth + 1) + 3);
    }
  }
}

// Without the last kept token being read again, the layer would go on from what followed that token
// before.
TEST(Speculation, ATextTakenUpAgainIsDraftedAsIfItWereNew) {
  Fixture fixture(data("deepseek_v3_mtp_bf16"));
  const Sampler sampler(sampled(5));
  Runner runner(*fixture.model, fixture.pool, 8);
  const DraftChoice likeliest = [](std::span<const float> logits, std::span<const std::int32_t>) {
    return greedy(logits);
  };
  const auto drafts_after = [&](Sequence& sequence, MtpDrafter& drafter) {
    Ids drafted;
    drafter.propose(sequence, 11, 6, likeliest, drafted);
    return drafted;
  };
  Sequence sequence(*fixture.model, DType::kF32);
  auto owned = std::make_unique<MtpDrafter>(runner);
  MtpDrafter& drafter = *owned;
  SpeculativeDecoder decoder(runner, sequence, std::move(owned), always(3));
  decoder.read(kPrompt, 0);
  decoder.begin(sampler, kPrompt, 50);
  for (int i = 0; i < 40; ++i) decoder.next();
  Ids other(kPrompt.begin(), kPrompt.begin() + 12);
  other.insert(other.end(), {70, 71, 72, 73});
  EXPECT_EQ(decoder.read(other, 12), 5);
  EXPECT_EQ(sequence.ids, other);

  Runner fresh_runner(*fixture.model, fixture.pool, 8);
  Sequence fresh(*fixture.model, DType::kF32);
  MtpDrafter fresh_drafter(fresh_runner);
  fresh_runner.prefill(fresh, other, [&](std::int64_t first, std::span<const float> hidden) {
    fresh_drafter.observe(fresh, first, hidden);
  });
  EXPECT_EQ(drafts_after(sequence, drafter), drafts_after(fresh, fresh_drafter));
}

TEST(Speculation, HiddenStatesDoNotPileUp) {
  Fixture fixture(data("deepseek_v3_mtp_bf16"));
  Runner runner(*fixture.model, fixture.pool, 8);
  Sequence sequence(*fixture.model, DType::kF32);
  MtpDrafter drafter(runner);
  for (std::int64_t i = 0; i < 100; ++i) {
    const std::int32_t id = 3;
    drafter.observe(sequence, i, runner.decode_run(sequence, {&id, 1}, true).hidden);
    EXPECT_LE(drafter.waiting(), 8);
  }
}

// Any drafter of any model: here the drafts are right or wrong as a script has it.
TEST(Speculation, DraftsAreCutWhereTheyAreWrong) {
  Fixture fixture(data("qwen3"));
  const SamplingParams params = sampled(9);
  const Ids expected = fixture.plain(kPrompt, params, 61);
  std::mt19937 random(1);
  for (const int right_of_ten : {0, 5, 9, 10}) {
    const auto script = [&](const Ids& text, std::int64_t count) {
      const std::size_t done = text.size() - kPrompt.size();
      Ids drafted(static_cast<std::size_t>(
          random() % static_cast<unsigned>(count + 1)));  // sometimes fewer than asked for
      for (std::size_t i = 0; i < drafted.size(); ++i) {
        const bool right =
            static_cast<int>(random() % 10) < right_of_ten && done + i < expected.size();
        drafted[i] = right ? expected[done + i] : static_cast<std::int32_t>(random() % 50);
      }
      return drafted;
    };
    const Text text = fixture.speculative(kPrompt, params, 60, always(4), script);
    EXPECT_EQ(text.ids, Ids(expected.begin(), expected.begin() + 60)) << right_of_ten;
    if (right_of_ten == 10) {
      EXPECT_EQ(text.stats.accepted, text.stats.proposed);
    }
  }
}

TEST(Speculation, NeverPastTheEndOfTheContext) {
  Fixture fixture(data("deepseek_v3_mtp_bf16"));
  const auto context = static_cast<std::size_t>(fixture.model->config().context_length);
  const Ids prompt(context - 6, 5);
  const auto script = [&](const Ids& text, std::int64_t count) {
    EXPECT_LT(text.size() + static_cast<std::size_t>(count), context + 1);
    return Ids(static_cast<std::size_t>(count), 1);
  };
  const Text text = fixture.speculative(prompt, SamplingParams{}, 6, always(4), script);
  EXPECT_EQ(text.ids, fixture.plain(prompt, SamplingParams{}, 6));
}

TEST(Speculation, ALayerThatGivesNoNumbersDraftsNothing) {
  const ChangedCheckpoint checkpoint(
      data("deepseek_v3_mtp_bf16"), "nan", [](nlohmann::json& header, std::string& bytes) {
        const std::size_t begin =
            ChangedCheckpoint::begin(header, "model.layers.2.shared_head.norm.weight");
        bytes.replace(begin, 80, 80, '\xFF');
      });
  Fixture fixture(checkpoint.folder());
  const Text text = fixture.speculative(kPrompt, SamplingParams{}, 30, always(2));
  EXPECT_EQ(text.ids, fixture.plain(kPrompt, SamplingParams{}, 30));
  EXPECT_EQ(text.stats.proposed, 0);
}

TEST(Speculation, WithoutADrafterItIsPlainDecoding) {
  Fixture fixture(data("qwen3"));
  Runner runner(*fixture.model, fixture.pool);
  Sequence sequence(*fixture.model, DType::kF32);
  SpeculativeDecoder decoder(runner, sequence, nullptr);
  EXPECT_EQ(decoder.read(kPrompt, 0), static_cast<std::int64_t>(kPrompt.size()));
  const Sampler sampler(sampled(3));
  decoder.begin(sampler, kPrompt, 20);
  Ids ids;
  while (ids.size() < 20) ids.push_back(decoder.next());
  EXPECT_EQ(ids, fixture.plain(kPrompt, sampled(3), 20));
  EXPECT_FALSE(decoder.is_on());
  EXPECT_EQ(decoder.stats().plain_steps, 19);
}

// Steps of a made-up machine until `tokens` are written.
struct Machine {
  double plain = 1.0, drafted = 1.3;  // seconds a step
  double acceptance = 0.5;

  struct Result {
    double seconds = 0;
    std::int64_t drafted_steps = 0, steps = 0;
  };
  Result run(SpeculationGovernor& governor, std::int64_t tokens) {
    Result result;
    while (tokens > 0) {
      const bool drafts = governor.wants_draft();
      const bool held = drafts && std::bernoulli_distribution(acceptance)(random);
      const double noise = std::uniform_real_distribution<double>(0.97, 1.03)(random);
      const double hiccup = random() % 40 == 0 ? 20 : 1;
      const double seconds = (drafts ? drafted : plain) * noise * hiccup;
      governor.record(drafts, held ? 1 : 0, seconds);
      result.seconds += seconds / hiccup;
      result.drafted_steps += drafts ? 1 : 0;
      ++result.steps;
      tokens -= held ? 2 : 1;
    }
    return result;
  }
  std::mt19937 random{7};
};

TEST(SpeculationGovernor, GivesUpWhatNeverHolds) {
  SpeculationGovernor governor(false);
  Machine machine{.plain = 1.0, .drafted = 1.6, .acceptance = 0.0};
  const Machine::Result result = machine.run(governor, 2000);
  EXPECT_FALSE(governor.is_on());
  EXPECT_LT(result.drafted_steps, 50);
  EXPECT_GT(result.drafted_steps, 6);  // it goes on trying
  EXPECT_LT(result.seconds, 2000 * 1.03);
}

TEST(SpeculationGovernor, KeepsWhatPays) {
  SpeculationGovernor governor(false);
  Machine machine{.plain = 1.0, .drafted = 1.2, .acceptance = 0.8};
  const Machine::Result result = machine.run(governor, 4000);
  EXPECT_TRUE(governor.is_on());
  EXPECT_GT(result.drafted_steps, result.steps * 9 / 10);
  EXPECT_LT(result.seconds, 4000 / 1.5 * 1.05);
}

TEST(SpeculationGovernor, GivesUpWhatHoldsOftenButCostsMore) {
  SpeculationGovernor governor(false);
  Machine machine{.plain = 1.0, .drafted = 2.0, .acceptance = 0.6};
  const Machine::Result result = machine.run(governor, 4000);
  EXPECT_FALSE(governor.is_on());
  EXPECT_LT(result.seconds, 4000 * 1.04);
}

TEST(SpeculationGovernor, FollowsATextThatChanges) {
  SpeculationGovernor governor(false);
  Machine machine{.plain = 1.0, .drafted = 1.3, .acceptance = 0.9};
  machine.run(governor, 1000);
  EXPECT_TRUE(governor.is_on());
  machine.acceptance = 0.05;
  machine.run(governor, 200);
  EXPECT_FALSE(governor.is_on());
  machine.acceptance = 0.9;
  machine.run(governor, 1500);
  EXPECT_TRUE(governor.is_on());
}

TEST(SpeculationGovernor, AlwaysIsAlways) {
  SpeculationGovernor governor(true);
  Machine machine{.plain = 1.0, .drafted = 5.0, .acceptance = 0.0};
  const Machine::Result result = machine.run(governor, 100);
  EXPECT_EQ(result.drafted_steps, result.steps);
  EXPECT_TRUE(governor.is_on());
}

}  // namespace
}  // namespace sampan
