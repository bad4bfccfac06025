// The two forms of latent attention and the mode that switches between them: same results up to
// rounding, and the expanded form keeps what is promised of the absorbed one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/runner.h"
#include "models/blocks/mla.h"
#include "models/golden.h"
#include "models/load.h"

namespace sampan {
namespace {

constexpr double kFormsTolerance = 1e-4;          // of max|logit|, between forms
constexpr double kF16CacheTolerance = 1e-3;  // the same: last bits tip what the cache rounds
constexpr double kBlockFormsTolerance =
    0.1;  // of the root mean square, from transformers without rounding
constexpr double kGoldenTolerance = 2e-4;  // of max|logit|, from transformers

// Beyond the threshold of by-length, and beyond what the expanded form takes at a time.
constexpr std::size_t kLongPrompt = 700;
static_assert(kLongPrompt > kExpandedRows + 150);

bool is_float_type(const std::string& matrices) {
  return matrices == "F32" || matrices == "F16" || matrices == "BF16";
}

bool is_latent(const std::filesystem::path& path) {
  return Checkpoint(path).config().mla.has_value();
}

// All tiny checkpoints with latent attention whose weights are floats.
std::vector<std::string> float_models() {
  std::vector<std::string> models;
  for (const std::string& name : testing::tiny_checkpoints()) {
    if (is_latent(testing::model_data(name))) models.push_back(name);
  }
  for (const testing::TinyGguf& gguf : testing::tiny_ggufs()) {
    if (is_float_type(gguf.matrices) && is_latent(testing::model_data(gguf.file))) {
      models.push_back(gguf.file);
    }
  }
  return models;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& param_info) {
  std::string name = param_info.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

std::vector<std::int32_t> prompt_of(std::size_t length, const Model& model, std::size_t salt = 0) {
  std::vector<std::int32_t> ids(length);
  const auto vocab = static_cast<std::size_t>(model.config().vocab_size);
  for (std::size_t i = 0; i < length; ++i) {
    ids[i] = static_cast<std::int32_t>((i * 31 + i * i % 17 + salt * 7) % vocab);
  }
  return ids;
}

std::vector<float> logits_of(const Model& model, ThreadPool& pool, DType kv_dtype,
                             const std::vector<std::int32_t>& ids, std::int64_t chunk) {
  Sequence sequence(model, kv_dtype);
  Runner runner(model, pool, chunk);
  std::vector<float> all;
  runner.prefill_all_logits(sequence, ids, [&](std::int64_t, std::span<const float> rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  });
  return all;
}

// The largest difference in units of max|logit| of the first.
double difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    largest = std::isnan(d) ? INFINITY : std::max(largest, d);
    size = std::max(size, std::abs(static_cast<double>(a[i])));
  }
  return largest / size;
}

testing::Golden golden_of(const std::string& model) {
  for (const testing::TinyGguf& gguf : testing::tiny_ggufs()) {
    if (gguf.file == model) return testing::read_golden(testing::model_data(gguf.golden));
  }
  return testing::read_golden(testing::model_data(model) / "golden.json");
}

struct Distance {
  double largest = 0;  // in units of max|logit|
  double rms = 0;      // in units of the logits' root mean square
};

Distance distance_from(const testing::Golden& golden, const testing::GoldenPrompt& prompt,
                       const Model& model, ThreadPool& pool) {
  const std::vector<float> logits = logits_of(model, pool, DType::kF32, prompt.ids, 512);
  double largest = 0, squares = 0, size = 0;
  for (std::size_t i = 0; i < prompt.rows.size(); ++i) {
    const float* const expected = golden.row(prompt, i);
    const float* const actual = logits.data() + prompt.rows[i] * golden.vocab_size;
    for (std::int64_t j = 0; j < golden.vocab_size; ++j) {
      const double d = static_cast<double>(expected[j]) - static_cast<double>(actual[j]);
      largest = std::isnan(d) ? INFINITY : std::max(largest, std::abs(d));
      squares += d * d;
      size += static_cast<double>(expected[j]) * static_cast<double>(expected[j]);
    }
  }
  return {largest / golden.max_abs_logit, std::sqrt(squares / size)};
}

class MlaForms : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Model> load(MlaMode mode) {
    return load_model(testing::model_data(GetParam()), pool_, {.mla = mode});
  }

  ThreadPool pool_{2};
};

TEST_P(MlaForms, AgreeOnALongPrompt) {
  const auto absorbed = load(MlaMode::kAbsorbed);
  const auto expanded = load(MlaMode::kExpanded);
  const auto by_length = load(MlaMode::kByLength);
  const std::vector<std::int32_t> ids = prompt_of(kLongPrompt, *absorbed);
  for (const DType kv_dtype : {DType::kF32, DType::kF16}) {
    const double tolerance = kv_dtype == DType::kF32 ? kFormsTolerance : kF16CacheTolerance;
    const std::vector<float> expected = logits_of(*absorbed, pool_, kv_dtype, ids, 512);
    const std::vector<float> other = logits_of(*expanded, pool_, kv_dtype, ids, 512);
    EXPECT_LE(difference(expected, other), tolerance) << dtype_name(kv_dtype);
    EXPECT_FALSE(other == expected) << "the absorbed form ran twice";
    const std::vector<float> mixed = logits_of(*by_length, pool_, kv_dtype, ids, 512);
    EXPECT_LE(difference(expected, mixed), tolerance) << dtype_name(kv_dtype);
  }
}

// Pieces up to the threshold are absorbed, longer ones expanded.
TEST_P(MlaForms, ByLengthIsOneOfThemByTheLengthOfAPiece) {
  const auto absorbed = load(MlaMode::kAbsorbed);
  const auto expanded = load(MlaMode::kExpanded);
  const auto by_length = load(MlaMode::kByLength);
  const std::vector<std::int32_t> ids = prompt_of(kExpandedRows + 1, *absorbed);
  const auto last = [&](const Model& model, std::int64_t chunk) {
    Sequence sequence(model, DType::kF32);
    Runner runner(model, pool_, chunk);
    const std::span<const float> row = runner.prefill(sequence, ids);
    return std::vector<float>(row.begin(), row.end());
  };
  EXPECT_TRUE(last(*by_length, kExpandedRows + 1) == last(*expanded, 512));
  EXPECT_TRUE(last(*by_length, kExpandedRows) == last(*absorbed, 512));
}

TEST_P(MlaForms, ExpandedGivesTheSameBitsHoweverAPromptIsCut) {
  const auto model = load(MlaMode::kExpanded);
  const std::vector<std::int32_t> ids = prompt_of(kLongPrompt, *model);
  const std::vector<float> expected = logits_of(*model, pool_, DType::kF16, ids, 512);
  for (const std::int64_t chunk : {7, 64, 700}) {
    EXPECT_TRUE(logits_of(*model, pool_, DType::kF16, ids, chunk) == expected) << "chunk " << chunk;
  }
  for (const int threads : {1, 3}) {
    ThreadPool other(threads);
    EXPECT_TRUE(logits_of(*model, other, DType::kF16, ids, 512) == expected)
        << threads << " threads";
  }
  Sequence sequence(*model, DType::kF16);
  Runner runner(*model, pool_);
  const auto vocab = static_cast<std::size_t>(model->config().vocab_size);
  const std::size_t from = 500;
  runner.prefill(sequence, std::span(ids).first(from));
  for (std::size_t i = from; i < from + 30; ++i) {
    const std::span<const float> row = runner.decode(sequence, ids[i]);
    ASSERT_TRUE(std::equal(row.begin(), row.end(),
                           expected.begin() + static_cast<std::ptrdiff_t>(i * vocab)))
        << "position " << i;
  }
}

// Sequences of many lengths in one batch, each as it is alone. In every mode: rows of one token
// each are absorbed by length.
TEST_P(MlaForms, CompanyInTheBatch) {
  for (const MlaMode mode : {MlaMode::kExpanded, MlaMode::kByLength}) {
    const auto model = load(mode);
    const auto vocab = static_cast<std::size_t>(model->config().vocab_size);
    Runner runner(*model, pool_);
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<Sequence*> pointers;
    std::vector<std::int32_t> next;
    for (std::size_t i = 0; i < 7; ++i) {
      sequences.push_back(std::make_unique<Sequence>(*model, DType::kF32));
      runner.prefill(*sequences.back(), prompt_of(1 + 97 * i, *model, i));
      pointers.push_back(sequences.back().get());
      next.push_back(static_cast<std::int32_t>(i + 3));
    }
    const std::span<const float> batched = runner.decode(pointers, next);
    const std::vector<float> together(batched.begin(), batched.end());
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      truncate(*sequences[i], sequences[i]->cache.length() - 1);
      const std::span<const float> alone = runner.decode(*sequences[i], next[i]);
      EXPECT_TRUE(std::equal(alone.begin(), alone.end(),
                             together.begin() + static_cast<std::ptrdiff_t>(i * vocab)))
          << "sequence " << i;
    }
  }
}

// Prompt chunks and single tokens of several sequences in one forward, those that are expanded
// beside those that are not.
TEST_P(MlaForms, ChunksAndStepsInOneBatch) {
  const std::vector<std::size_t> before = {0, 40, 600, 5, 130};
  const std::vector<std::size_t> rows = {3, 1, kExpandedRows + 9, 1, kExpandedRows};
  for (const MlaMode mode : {MlaMode::kExpanded, MlaMode::kByLength}) {
    const auto model = load(mode);
    Runner runner(*model, pool_);
    const auto run = [&](std::size_t first, std::size_t end) {
      std::vector<std::unique_ptr<Sequence>> sequences;
      Batch batch;
      for (std::size_t i = first; i < end; ++i) {
        const std::vector<std::int32_t> ids = prompt_of(before[i] + rows[i], *model, i);
        sequences.push_back(std::make_unique<Sequence>(*model, DType::kF32));
        if (before[i] > 0) runner.prefill(*sequences.back(), std::span(ids).first(before[i]));
        sequences.back()->cache.reserve(static_cast<std::int64_t>(ids.size()));
        for (std::size_t t = before[i]; t < ids.size(); ++t) {
          const auto position = static_cast<std::int32_t>(t);
          batch.tokens.push_back(
              {ids[t], position, position + 1, &sequences.back()->cache.pages(), true});
        }
      }
      std::vector<float> logits(batch.tokens.size() *
                                static_cast<std::size_t>(model->config().vocab_size));
      const auto workspace = model->make_workspace();
      model->forward(batch, DType::kF32, *workspace, pool_, {logits.data()});
      return logits;
    };
    std::vector<float> apart;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::vector<float> alone = run(i, i + 1);
      apart.insert(apart.end(), alone.begin(), alone.end());
    }
    EXPECT_TRUE(run(0, rows.size()) == apart);
  }
}

TEST_P(MlaForms, GoldensHoldWhenExpanded) {
  const testing::Golden golden = golden_of(GetParam());
  const auto model = load(MlaMode::kExpanded);
  for (const testing::GoldenPrompt& prompt : golden.prompts) {
    const Distance distance = distance_from(golden, prompt, *model, pool_);
    EXPECT_LE(distance.largest, kGoldenTolerance) << prompt.ids.size() << " tokens";
  }
}

TEST_P(MlaForms, ThePlanCountsWhatAModeKeepsBeside) {
  const auto plan = [&](MlaMode mode) {
    Checkpoint checkpoint(testing::model_data(GetParam()));
    checkpoint.set_mla_mode(mode);
    return plan_memory(checkpoint, DType::kF32, 8);
  };
  const MemoryPlan absorbed = plan(MlaMode::kAbsorbed);
  const MemoryPlan expanded = plan(MlaMode::kExpanded);
  const MemoryPlan by_length = plan(MlaMode::kByLength);
  EXPECT_EQ(by_length.packed_weight_bytes,
            std::max(absorbed.packed_weight_bytes, expanded.packed_weight_bytes));
  EXPECT_NE(absorbed.packed_weight_bytes, expanded.packed_weight_bytes);
  EXPECT_GT(by_length.workspace_bytes, absorbed.workspace_bytes);
  EXPECT_GT(by_length.workspace_bytes, expanded.workspace_bytes);
}

INSTANTIATE_TEST_SUITE_P(TinyModels, MlaForms, ::testing::ValuesIn(float_models()), test_name);

// Weights of block types: the forms round their activations to 8 bits at different places, so each
// is held to the exact golden.
class MlaFormsOfBlocks : public ::testing::TestWithParam<std::string> {};

TEST_P(MlaFormsOfBlocks, GoldensHoldUpToTheRoundingOfActivations) {
  ThreadPool pool(2);
  const testing::Golden golden = golden_of(GetParam());
  for (const MlaMode mode : {MlaMode::kExpanded, MlaMode::kByLength}) {
    const auto model = load_model(testing::model_data(GetParam()), pool, {.mla = mode});
    for (const testing::GoldenPrompt& prompt : golden.prompts) {
      EXPECT_LE(distance_from(golden, prompt, *model, pool).rms, kBlockFormsTolerance)
          << prompt.ids.size() << " tokens";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(TinyGgufs, MlaFormsOfBlocks,
                         ::testing::Values("deepseek2_legacy_q4_0.gguf", "deepseek2_q8_0.gguf"),
                         test_name);

TEST(MlaFormsElsewhere, NoEffectWithoutLatentAttention) {
  ThreadPool pool(2);
  const std::filesystem::path path = testing::model_data("qwen3");
  const auto model = load_model(path, pool);
  const auto other = load_model(path, pool, {.mla = MlaMode::kExpanded});
  const std::vector<std::int32_t> ids = prompt_of(20, *model);
  EXPECT_TRUE(logits_of(*model, pool, DType::kF32, ids, 512) ==
              logits_of(*other, pool, DType::kF32, ids, 512));
}

}  // namespace
}  // namespace sampan
