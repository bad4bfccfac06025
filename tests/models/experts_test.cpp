// Experts that do not fit into memory: the same bits with any room for them, and the room goes to those that are used.
#include "models/blocks/experts.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/runner.h"
#include "models/golden.h"
#include "models/load.h"

namespace sampan {
namespace {

constexpr const char* kExpertsModel = "qwen3moe_q4_0.gguf";

std::vector<float> logits_of(const Model& model, ThreadPool& pool) {
  std::vector<std::int32_t> ids(90);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>(i * 29 % static_cast<std::size_t>(model.config().vocab_size));
  }
  Sequence sequence(model, DType::kF32);
  Runner runner(model, pool, 64);
  std::vector<float> all;
  runner.prefill_all_logits(sequence, ids, [&](std::int64_t, std::span<const float> rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  });
  for (int i = 0; i < 20; ++i) {
    const std::span<const float> row = runner.decode(sequence, ids[static_cast<std::size_t>(i)]);
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

class Experts : public ::testing::TestWithParam<std::string> {};

TEST_P(Experts, TheSameBitsInAnyMemory) {
  ThreadPool pool(2);
  const std::filesystem::path path = testing::model_data(GetParam());
  const Checkpoint checkpoint(path);
  const std::int64_t all = packed_experts_bytes(checkpoint);
  ASSERT_GT(all, 0);
  const std::vector<float> expected = logits_of(*load_model(path, pool, {INT64_C(1) << 40}), pool);
  const std::int64_t others = (INT64_C(1) << 40) - expert_budget(checkpoint, INT64_C(1) << 40);
  for (const std::int64_t budget : {INT64_C(1), all / 4, all / 2, all - 1}) {
    EXPECT_TRUE(logits_of(*load_model(path, pool, {others + budget}), pool) == expected) << budget << " bytes for experts of " << all;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Experts, ::testing::Values(kExpertsModel, "deepseek2_q8_0.gguf"), [](const auto& param_info) {
  std::string name = param_info.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

class CachedExpertsTest : public ::testing::Test {
 protected:
  std::unique_ptr<CachedExperts> make(std::int64_t slots) {
    return std::make_unique<CachedExperts>(checkpoint_, slots * checkpoint_.packed_expert_bytes(mlp_prefix(0)));
  }
  // Takes the experts and gives them back.
  void use(CachedExperts& store, const std::vector<std::int32_t>& experts, std::int64_t tokens = 1) {
    std::vector<ExpertUse> uses;
    for (const std::int32_t expert : experts) uses.push_back({expert, tokens});
    std::vector<const Expert*> at_hand;
    store.acquire(0, uses, at_hand, pool_);
    for (const Expert* expert : at_hand) EXPECT_EQ(expert->gate.rows(), checkpoint_.config().moe->intermediate_size);
    store.release(0, uses);
  }

  ThreadPool pool_{2};
  Checkpoint checkpoint_{testing::model_data(kExpertsModel)};
};

TEST_F(CachedExpertsTest, KeepsWhatIsUsedMost) {
  const auto store = make(3);
  ASSERT_EQ(store->capacity(), 3);
  use(*store, {0, 1}, 10);
  for (const std::int32_t passing : {2, 3, 4, 5}) use(*store, {passing});
  const std::int64_t loaded = store->statistics().loaded;
  use(*store, {0, 1});
  EXPECT_EQ(store->statistics().loaded, loaded);
  EXPECT_EQ(store->statistics().found, 2);
}

// A pass through all experts again and again finds as many as there is room for, less the one that passes.
TEST_F(CachedExpertsTest, PassingThroughAllLeavesMost) {
  const auto store = make(4);
  for (int round = 0; round < 10; ++round) {
    for (std::int32_t expert = 0; expert < 8; ++expert) use(*store, {expert});
  }
  EXPECT_GE(store->statistics().found, 9 * 3);
}

TEST_F(CachedExpertsTest, OneAtLeast) {
  const auto store = make(0);
  EXPECT_EQ(store->capacity(), 1);
  use(*store, {3});
  use(*store, {4});
  store->hint(0, std::vector<std::int32_t>{4, 5});
  EXPECT_EQ(store->statistics().loaded, 2);
}

}  // namespace
}  // namespace sampan
