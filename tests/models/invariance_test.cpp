// A row's bits depend on its own sequence alone: not on the company in its batch, the chunking of its prompt, or the threads.
#include <gtest/gtest.h>

#include <algorithm>

#include <memory>

#include "engine/runner.h"
#include "models/golden.h"
#include "models/load.h"

namespace sampan {
namespace {

std::vector<std::int32_t> prompt_of(std::size_t length, std::int64_t vocab_size, std::size_t salt) {
  std::vector<std::int32_t> ids(length);
  for (std::size_t i = 0; i < length; ++i) {
    ids[i] = static_cast<std::int32_t>((i * 31 + i * i % 17 + salt * 7) % static_cast<std::size_t>(vocab_size));
  }
  return ids;
}

std::vector<float> all_logits(const Model& model, ThreadPool& pool, std::int64_t chunk, const std::vector<std::int32_t>& ids) {
  Sequence sequence(model, model.default_kv_dtype());
  Runner runner(model, pool, chunk);
  std::vector<float> all;
  runner.prefill_all_logits(sequence, ids, [&](std::int64_t, std::span<const float> rows) {
    all.insert(all.end(), rows.begin(), rows.end());
  });
  return all;
}

class Invariance : public ::testing::TestWithParam<std::string> {
 protected:
  Invariance() : model_(load_model(testing::model_data(GetParam()), pool_)), ids_(prompt_of(150, model_->config().vocab_size, 0)) {}

  ThreadPool pool_{2};
  std::unique_ptr<Model> model_;
  std::vector<std::int32_t> ids_;
};

TEST_P(Invariance, ChunksAndThreads) {
  const std::vector<float> expected = all_logits(*model_, pool_, 512, ids_);
  for (const std::int64_t chunk : {1, 7, 64}) {
    EXPECT_TRUE(all_logits(*model_, pool_, chunk, ids_) == expected) << "chunk " << chunk;
  }
  for (const int threads : {1, 3}) {
    ThreadPool other(threads);
    EXPECT_TRUE(all_logits(*model_, other, 512, ids_) == expected) << threads << " threads";
  }
}

TEST_P(Invariance, DecodeEqualsPrefill) {
  if (model_->config().rope.type == RopeType::kDynamicNtk) GTEST_SKIP() << "the base depends on the prompt's length";
  const std::vector<float> expected = all_logits(*model_, pool_, 512, ids_);
  const auto vocab = static_cast<std::size_t>(model_->config().vocab_size);
  Sequence sequence(*model_, model_->default_kv_dtype());
  Runner runner(*model_, pool_);
  for (std::size_t i = 0; i < 80; ++i) {
    const std::span<const float> row = runner.decode(sequence, ids_[i]);
    ASSERT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + static_cast<std::ptrdiff_t>(i * vocab))) << "position " << i;
  }
}

TEST_P(Invariance, CompanyInTheBatch) {
  const auto vocab = static_cast<std::size_t>(model_->config().vocab_size);
  Runner runner(*model_, pool_);
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<Sequence*> pointers;
  std::vector<std::int32_t> next;
  for (std::size_t i = 0; i < 9; ++i) {
    sequences.push_back(std::make_unique<Sequence>(*model_, model_->default_kv_dtype()));
    runner.prefill(*sequences.back(), prompt_of(1 + 13 * i, model_->config().vocab_size, i));
    pointers.push_back(sequences.back().get());
    next.push_back(static_cast<std::int32_t>(i + 3));
  }
  const std::span<const float> batched = runner.decode(pointers, next);
  const std::vector<float> together(batched.begin(), batched.end());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    truncate(*sequences[i], sequences[i]->cache.length() - 1);
    const std::span<const float> alone = runner.decode(*sequences[i], next[i]);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + static_cast<std::ptrdiff_t>(i * vocab))) << "sequence " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Invariance,
                         ::testing::Values("qwen2_sliding", "qwen2_dynamic", "qwen3", "qwen3_yarn_bf16", "llama_odd", "llama_biases",
                                           "seed_oss", "qwen3_q4_0.gguf", "llama_q8_0.gguf", "qwen3_all_types.gguf",
                                           "qwen2_moe", "qwen3_moe_fused_bf16", "deepseek_v2_groups_bf16", "deepseek_v3",
                                           "kimi_k2_bf16"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace sampan
