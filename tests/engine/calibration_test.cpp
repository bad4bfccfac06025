#include "engine/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "kernels/block_codec.h"
#include "models/load.h"

namespace sampan {
namespace {

class CalibrationTest : public ::testing::Test {
 protected:
  explicit CalibrationTest(const char* name = "qwen3")
      : path_(std::filesystem::path(SAMPAN_TEST_DATA) / "models" / name), model_(load_model(path_, pool_)) {
    for (std::int32_t i = 0; i < 100; ++i) ids_.push_back(i * 37 % static_cast<std::int32_t>(model_->config().vocab_size));
  }

  Importance measure(std::int64_t window) {
    Runner runner(*model_, pool_, 16);
    return measure_importance(runner, DType::kF32, ids_, window, [](std::int64_t) {});
  }

  std::vector<float> row(const Checkpoint& checkpoint, const char* tensor, std::int64_t index) {
    const TensorView view = checkpoint.files().find_view(tensor).value();
    std::vector<float> values(static_cast<std::size_t>(view.shape.back()));
    dequantize_row(view.dtype, view.data + index * row_bytes(view.dtype, view.shape.back()), view.shape.back(), values.data());
    return values;
  }

  ThreadPool pool_{2};
  std::filesystem::path path_;
  std::unique_ptr<Model> model_;
  std::vector<std::int32_t> ids_;
};

TEST_F(CalibrationTest, TheFirstLayerSeesTheNormedEmbeddings) {
  const Checkpoint checkpoint(path_);
  const std::vector<float> norm = row(checkpoint, "model.layers.0.input_layernorm.weight", 0);
  std::vector<double> expected(norm.size());
  for (const std::int32_t id : ids_) {
    const std::vector<float> x = row(checkpoint, "model.embed_tokens.weight", id);
    double mean = 0;
    for (const float value : x) mean += static_cast<double>(value) * value / static_cast<double>(x.size());
    const double scale = 1 / (mean + static_cast<double>(model_->config().rms_norm_eps));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double value = static_cast<double>(x[i]) * norm[i];
      expected[i] += value * value * scale / static_cast<double>(ids_.size());
    }
  }
  for (const std::int64_t window : {7, 512}) {
    const Importance importance = measure(window);
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      const std::vector<float> got =
          importance.of(std::string("model.layers.0.self_attn.") + name + ".weight", static_cast<std::int64_t>(norm.size()));
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5 * expected[i] + 1e-12);
    }
  }
}

TEST_F(CalibrationTest, EveryMatrixIsSeen) {
  const Importance importance = measure(32);
  const ModelConfig& c = model_->config();
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"}) {
      EXPECT_FALSE(importance.of(prefix + name + ".weight", c.hidden_size).empty()) << prefix << name;
    }
    EXPECT_FALSE(importance.of(prefix + "self_attn.o_proj.weight", c.q_size()).empty());
    EXPECT_FALSE(importance.of(prefix + "mlp.down_proj.weight", c.intermediate_size).empty());
  }
  EXPECT_EQ(importance.tensors(), 7 * c.layers + 1);  // and the head
  EXPECT_TRUE(importance.of("model.layers.0.mlp.down_proj.weight", c.intermediate_size + 1).empty());
  EXPECT_TRUE(importance.of("model.layers.0.mlp.gone.weight", c.hidden_size).empty());
}

TEST_F(CalibrationTest, ATextWithoutTokensIsRefused) {
  ids_.clear();
  EXPECT_THROW(measure(32), Error);
}

TEST_F(CalibrationTest, ProductsThatFollowAreNotSeen) {
  const Importance importance = measure(32);
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const std::vector<float> before = importance.of(name, model_->config().hidden_size);
  Runner runner(*model_, pool_, 16);
  Sequence sequence(*model_, DType::kF32);
  runner.prefill(sequence, std::vector<std::int32_t>{3, 1, 4});
  EXPECT_EQ(importance.of(name, model_->config().hidden_size), before);
}

class MixtureCalibrationTest : public CalibrationTest {
 protected:
  MixtureCalibrationTest() : CalibrationTest("qwen3_moe") {}
};

TEST_F(MixtureCalibrationTest, ExpertsSeeTheTokensThatWereSentToThem) {
  const Importance importance = measure(32);
  const ModelConfig& c = model_->config();
  const std::string prefix = "model.layers.0.mlp.";
  EXPECT_FALSE(importance.of(prefix + "gate.weight", c.hidden_size).empty());
  int seen = 0;
  for (std::int64_t e = 0; e < c.moe->experts; ++e) {
    const std::string expert = prefix + "experts." + std::to_string(e) + ".";
    const bool was_asked = !importance.of(expert + "up_proj.weight", c.hidden_size).empty();
    EXPECT_EQ(was_asked, !importance.of(expert + "down_proj.weight", c.moe->intermediate_size).empty());
    seen += was_asked ? 1 : 0;
  }
  EXPECT_GE(seen, c.moe->experts_per_token);
}

}  // namespace
}  // namespace sampan
