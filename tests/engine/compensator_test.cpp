#include "models/compensator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "base/error.h"
#include "engine/calibration.h"
#include "kernels/matmul.h"
#include "models/gguf_export.h"
#include "models/load.h"

namespace sampan {
namespace {

class CompensatorTest : public ::testing::Test {
 protected:
  explicit CompensatorTest(const char* name = "qwen3")
      : model_(load_model(std::filesystem::path(SAMPAN_TEST_DATA) / "models" / name, pool_)),
        runner_(*model_, pool_, 16) {
    for (std::int32_t i = 0; i < 100; ++i)
      ids_.push_back(i * 37 % static_cast<std::int32_t>(model_->config().vocab_size));
  }

  ProductInputs inputs() { return find_product_inputs(runner_, DType::kF32, ids_); }

  void measure(InputMoments& moments) {
    ++readings_;
    measure_moments(runner_, DType::kF32, ids_, 32, moments, [](std::int64_t) {});
  }

  Compensator compensator(std::int64_t memory) {
    return {inputs(), memory, [this](InputMoments& moments) { measure(moments); }, pool_};
  }

  // The matrices of a layer, in no particular order.
  std::vector<Compensator::Matrix> matrices(std::int64_t layer) const {
    const ModelConfig& c = model_->config();
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    return {{prefix + "mlp.down_proj.weight", c.hidden_size, c.intermediate_size},
            {prefix + "mlp.gate_proj.weight", c.intermediate_size, c.hidden_size},
            {prefix + "mlp.up_proj.weight", c.intermediate_size, c.hidden_size},
            {prefix + "self_attn.k_proj.weight", c.kv_size(), c.hidden_size},
            {prefix + "self_attn.o_proj.weight", c.hidden_size, c.q_size()},
            {prefix + "self_attn.q_proj.weight", c.q_size(), c.hidden_size},
            {prefix + "self_attn.v_proj.weight", c.kv_size(), c.hidden_size}};
  }

  std::vector<Compensator::Matrix> all_matrices() const {
    std::vector<Compensator::Matrix> all;
    for (std::int64_t layer = 0; layer < model_->config().layers; ++layer) {
      for (Compensator::Matrix& matrix : matrices(layer)) all.push_back(std::move(matrix));
    }
    return all;
  }

  ThreadPool pool_{2};
  std::unique_ptr<Model> model_;
  Runner runner_;
  std::vector<std::int32_t> ids_;
  int readings_ = 0;
};

TEST_F(CompensatorTest, MatricesOfTheSameInputAreFound) {
  const ProductInputs found = inputs();
  const auto input = [&](const Compensator::Matrix& m) {
    return found.of(m.tensor, m.rows, m.columns).value();
  };
  const std::vector<Compensator::Matrix> first = matrices(0), second = matrices(1);
  EXPECT_EQ(input(first[3]), input(first[5]));  // k, q
  EXPECT_EQ(input(first[3]), input(first[6]));  // v
  EXPECT_EQ(input(first[1]), input(first[2]));  // gate, up
  EXPECT_EQ((std::set<int>{input(first[0]), input(first[1]), input(first[3]), input(first[4]),
                           input(second[3])}
                 .size()),
            5u);
  EXPECT_FALSE(found.of(first[0].tensor, first[0].rows + 1, first[0].columns));
  EXPECT_FALSE(found.of(first[0].tensor, first[0].rows, first[0].columns + 1));
  EXPECT_FALSE(found.of("model.layers.0.mlp.gone.weight", 1, 1));
}

TEST_F(CompensatorTest, MomentsAreThoseOfAllTokens) {
  const ProductInputs found = inputs();
  const Importance importance =
      measure_importance(runner_, DType::kF32, ids_, 32, [](std::int64_t) {});
  for (const Compensator::Matrix& matrix : matrices(1)) {
    const int input = found.of(matrix.tensor, matrix.rows, matrix.columns).value();
    InputMoments moments(found, {input}, pool_);
    measure(moments);
    const SymmetricMatrix sums = moments.take(input);
    const std::vector<float> squares = importance.of(matrix.tensor, matrix.columns);
    for (std::int64_t i = 0; i < sums.size(); ++i) {
      const double expected = static_cast<double>(squares[static_cast<std::size_t>(i)]) *
                              static_cast<double>(ids_.size());
      EXPECT_NEAR(static_cast<double>(sums.at(i, i)), expected, 1e-5 * expected + 1e-12)
          << matrix.tensor;
    }
  }
}

TEST_F(CompensatorTest, LittleMemoryMeansMoreReadingsAndTheSameResult) {
  const ModelConfig& c = model_->config();
  std::int64_t layer_bytes = 0, widest = 0;
  for (const std::int64_t columns :
       {c.hidden_size, c.hidden_size, c.q_size(), c.intermediate_size}) {
    layer_bytes += SymmetricMatrix::bytes(columns);
    widest = std::max(widest, SymmetricMatrix::bytes(columns));
  }
  std::vector<std::vector<float>> expected;
  std::vector<std::int64_t> readings;
  for (const std::int64_t memory : {layer_bytes * c.layers, layer_bytes, widest}) {
    readings_ = 0;
    Compensator some = compensator(memory);
    some.expect(all_matrices());
    std::vector<std::vector<float>> weights;
    for (std::size_t i = 0; i < all_matrices().size(); ++i) {
      const Compensation* const compensation = some.next();
      ASSERT_NE(compensation, nullptr);
      ASSERT_EQ(compensation->columns(), all_matrices()[i].columns);
      weights.emplace_back(compensation->weights().begin(), compensation->weights().end());
    }
    if (expected.empty()) expected = weights;
    EXPECT_EQ(weights, expected) << memory;
    readings.push_back(readings_);
  }
  EXPECT_EQ(readings[0], 1);
  EXPECT_EQ(readings[1], c.layers);
  EXPECT_GT(readings[2], c.layers);
}

TEST_F(CompensatorTest, TooLittleMemoryForOneMatrixIsSaid) {
  Compensator some = compensator(100);
  some.expect(all_matrices());
  try {
    some.next();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kLimit);
    EXPECT_NE(std::string(error.what()).find(all_matrices()[0].tensor), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(readings_, 0);
}

// Products of a weight matrix of one row with 3 inputs of 32 columns, all of them `value`.
class ConstantProducts {
 public:
  ConstantProducts(const char* name, float value) : weights_(32, 1.0f), x_(96, value) {
    w_ = WeightMatrix::make(
        {DType::kF32, {1, 32}, reinterpret_cast<const std::byte*>(weights_.data())}, pool_);
    w_.set_name(name);
  }

  void watched_by(ProductObserver& observer) {
    const ObservedProducts observed(observer);
    Activations activations;
    activations.set(x_.data(), 3, 32);
    float y[3];
    matmul(w_, activations, y, 1, pool_);
  }

  Compensator compensator() {
    ProductInputs inputs;
    watched_by(inputs);
    return {std::move(inputs), 1 << 20, [this](InputMoments& moments) { watched_by(moments); },
            pool_};
  }

 private:
  ThreadPool pool_{1};
  std::vector<float> weights_, x_;
  WeightMatrix w_;
};

TEST(CompensatorOddInputs, ZerosGiveNoCompensation) {
  ConstantProducts products("w", 0);
  Compensator compensator = products.compensator();
  compensator.expect({{"w", 1, 32}});
  EXPECT_EQ(compensator.next(), nullptr);
}

TEST(CompensatorOddInputs, WhatIsNotANumberIsRefused) {
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity(), 1e30f}) {
    ConstantProducts products("w", value);
    Compensator compensator = products.compensator();
    compensator.expect({{"w", 1, 32}});
    EXPECT_THROW(compensator.next(), Error);
  }
}

class MixtureCompensatorTest : public CompensatorTest {
 protected:
  MixtureCompensatorTest() : CompensatorTest("qwen3moe_q4_0.gguf") {}
};

TEST_F(MixtureCompensatorTest, StackedExpertsMeetSeveralInputs) {
  const ModelConfig& c = model_->config();
  const Compensator some = compensator(1 << 30);
  EXPECT_TRUE(some.can_compensate({"blk.0.attn_q.weight", c.q_size(), c.hidden_size}));
  EXPECT_FALSE(some.can_compensate(
      {"blk.0.ffn_up_exps.weight", c.moe->experts * c.moe->intermediate_size, c.hidden_size}));
  EXPECT_FALSE(some.can_compensate(
      {"blk.0.ffn_down_exps.weight", c.moe->experts * c.hidden_size, c.moe->intermediate_size}));
}

TEST_F(MixtureCompensatorTest, WhatIsNotCompensatedIsNamed) {
  const Checkpoint checkpoint(std::filesystem::path(SAMPAN_TEST_DATA) /
                              "models/qwen3moe_q4_0.gguf");
  const std::vector<std::string> names =
      GgufExport(checkpoint, {DType::kQ8_0, false}).uncompensated(compensator(1 << 30));
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  EXPECT_TRUE(has("token_embd.weight"));
  EXPECT_TRUE(has("blk.0.ffn_down_exps.weight"));
  EXPECT_FALSE(has("blk.0.attn_q.weight"));
  EXPECT_FALSE(has("blk.0.ffn_norm.weight"));
}

}  // namespace
}  // namespace sampan
