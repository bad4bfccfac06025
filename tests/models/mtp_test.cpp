// The layer of multi-token prediction against its golden (tools/make_tiny_mtp_model.py), and
// checkpoints that have a broken one or none.
#include "models/mtp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "engine/runner.h"
#include "models/changed_checkpoint.h"
#include "models/golden.h"
#include "models/load.h"

namespace sampan {
namespace {

using testing::ChangedCheckpoint;

constexpr double kPredictionTolerance = 2e-4;  // of max|logit|

// A model with its layer of multi-token prediction.
struct Predicting {
  explicit Predicting(const std::filesystem::path& path, std::int64_t chunk = 512)
      : model(load_model(path, pool, {0, Prediction::kRequire})),
        runner(*model, pool, chunk),
        sequence(*model, DType::kF32) {}

  // Logits for the token after next at every position of ids but the last, positions in pieces of
  // `piece`.
  std::vector<float> predict(const std::vector<std::int32_t>& ids, std::size_t piece) {
    const auto width = static_cast<std::size_t>(model->config().hidden_size);
    std::vector<float> hidden;
    runner.prefill(sequence, ids, [&](std::int64_t first, std::span<const float> rows) {
      EXPECT_EQ(static_cast<std::size_t>(first) * width, hidden.size());
      hidden.insert(hidden.end(), rows.begin(), rows.end());
    });
    const std::span<const std::int32_t> following = std::span(ids).subspan(1);
    std::vector<float> all;
    for (std::size_t end = 1; end <= following.size(); ++end) {
      // What is before the last position of a piece is written with it; logits are asked for one by
      // one.
      const std::size_t begin = (end - 1) / piece * piece;
      const Runner::Rows rows = runner.predict(
          sequence, static_cast<std::int64_t>(begin), following.subspan(begin, end - begin),
          std::span(hidden).subspan(begin * width, (end - begin) * width), true);
      all.insert(all.end(), rows.logits.begin(), rows.logits.end());
    }
    return all;
  }

  ThreadPool pool{2};
  std::unique_ptr<Model> model;
  Runner runner;
  Sequence sequence;
};

const std::filesystem::path kPredictingModel = testing::model_data("deepseek_v3_mtp_bf16");

class MtpGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(MtpGolden, Agrees) {
  const testing::Golden golden = testing::read_golden(kPredictingModel / "mtp.golden.json");
  const testing::GoldenPrompt& prompt = golden.prompts.at(0);
  Predicting predicting(testing::model_data(GetParam()));
  const std::vector<float> logits = predicting.predict(prompt.ids, 1);
  ASSERT_EQ(logits.size(), golden.logits.size());
  double largest = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double difference =
        std::abs(static_cast<double>(logits[i]) - static_cast<double>(golden.logits[i]));
    largest = std::isnan(difference) ? INFINITY : std::max(largest, difference);
  }
  EXPECT_LE(largest, kPredictionTolerance * golden.max_abs_logit);
}

INSTANTIATE_TEST_SUITE_P(Files, MtpGolden,
                         ::testing::Values("deepseek_v3_mtp_bf16", "deepseek2_mtp_bf16.gguf"),
                         [](const auto& param_info) {
                           return std::string(param_info.param).ends_with(".gguf") ? "gguf"
                                                                                   : "safetensors";
                         });

TEST(Mtp, TheSameBitsHoweverThePositionsAreGrouped) {
  const testing::Golden golden = testing::read_golden(kPredictingModel / "mtp.golden.json");
  const std::vector<std::int32_t>& ids = golden.prompts.at(0).ids;
  const std::vector<float> expected = Predicting(kPredictingModel).predict(ids, 1);
  EXPECT_TRUE(Predicting(kPredictingModel, 7).predict(ids, 5) == expected);
  EXPECT_TRUE(Predicting(kPredictingModel, 16).predict(ids, 64) == expected);
}

TEST(Mtp, LeavesTheTrunkAsItIs) {
  const std::vector<std::int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6};
  Predicting predicting(kPredictingModel);
  predicting.predict(ids, 3);
  ThreadPool pool(2);
  const std::unique_ptr<Model> trunk = load_model(kPredictingModel, pool);
  EXPECT_FALSE(trunk->predicts_tokens());
  EXPECT_EQ(trunk->cache_layers() + 1, predicting.model->cache_layers());
  EXPECT_EQ(trunk->bytes_per_token(), predicting.model->bytes_per_token());
  Runner runner(*trunk, pool);
  Sequence sequence(*trunk, DType::kF32);
  runner.prefill(sequence, ids);
  const std::span<const float> expected = runner.decode(sequence, 7);
  const std::span<const float> logits = predicting.runner.decode(predicting.sequence, 7);
  EXPECT_TRUE(std::equal(logits.begin(), logits.end(), expected.begin(), expected.end()));
}

TEST(Mtp, CountsInTheMemoryPlan) {
  Checkpoint checkpoint(kPredictingModel);
  const MemoryPlan with = plan_memory(checkpoint, DType::kF32, 8);
  checkpoint.leave_out_prediction();
  const MemoryPlan without = plan_memory(checkpoint, DType::kF32, 8);
  EXPECT_GT(with.mapped_weight_bytes, without.mapped_weight_bytes);
  EXPECT_EQ(with.kv_bytes_per_token * 2, without.kv_bytes_per_token * 3);
}

const std::string kLayer = "model.layers.2.";
const std::vector<std::int32_t> kIds = {8, 6, 7, 5, 3, 0, 9};

std::string refusal(const std::filesystem::path& path, Prediction prediction) {
  ThreadPool pool(1);
  try {
    load_model(path, pool, {0, prediction});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(MtpFiles, AConfigurationWithoutTheTensorsIsAModelWithoutTheLayer) {
  ThreadPool pool(2);
  const std::filesystem::path model = testing::model_data("deepseek_v3");
  EXPECT_FALSE(load_model(model, pool, {0, Prediction::kWherePossible})->predicts_tokens());
  for (const std::filesystem::path& path : {model, testing::model_data("qwen3")}) {
    EXPECT_EQ(
        refusal(path, Prediction::kRequire),
        path.string() + ": the files have no layer of multi-token prediction to draft tokens with");
  }
}

TEST(MtpFiles, TablesThatAreMissingAreTheTrunks) {
  const ChangedCheckpoint changed(kPredictingModel, "mtp-tables", [](nlohmann::json& header, std::string&) {
    ChangedCheckpoint::hide(header, kLayer + "embed_tokens.weight");
    ChangedCheckpoint::hide(header, kLayer + "shared_head.head.weight");
  });
  EXPECT_TRUE(Predicting(changed.folder()).predict(kIds, 4) == Predicting(kPredictingModel).predict(kIds, 4));
}

TEST(MtpFiles, TablesOfItsOwnAreUsed) {
  for (const std::string name : {"embed_tokens.weight", "shared_head.head.weight"}) {
    const ChangedCheckpoint changed(
        kPredictingModel, "mtp-own", [&](nlohmann::json& header, std::string& data) {
          const std::size_t end = ChangedCheckpoint::end(header, kLayer + name);
          for (std::size_t i = ChangedCheckpoint::begin(header, kLayer + name) + 1; i < end; i += 2)
            data[i] ^= '\x80';  // negated
        });
    EXPECT_FALSE(Predicting(changed.folder()).predict(kIds, 4) ==
                 Predicting(kPredictingModel).predict(kIds, 4))
        << name;
  }
}

TEST(MtpFiles, MissingTensorsAreNamed) {
  const ChangedCheckpoint changed(kPredictingModel, "mtp-missing", [](nlohmann::json& header, std::string&) {
    ChangedCheckpoint::hide(header, kLayer + "eh_proj.weight");
  });
  EXPECT_EQ(refusal(changed.folder(), Prediction::kRequire),
            "tensor model.layers.2.eh_proj.weight is missing");
  EXPECT_EQ(refusal(changed.folder(), Prediction::kLeaveOut), "");
}

TEST(MtpFiles, WrongShapesAreNamed) {
  const ChangedCheckpoint changed(kPredictingModel, "mtp-shapes", [](nlohmann::json& header, std::string&) {
    header[kLayer + "eh_proj.weight"]["shape"] = {80, 40};
  });
  EXPECT_EQ(
      refusal(changed.folder(), Prediction::kWherePossible),
      "tensor model.layers.2.eh_proj.weight: shape [80, 40], the configuration asks for [40, 80]");
  EXPECT_EQ(refusal(changed.folder(), Prediction::kLeaveOut), "");
}

}  // namespace
}  // namespace sampan
