#include "engine/runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/perplexity.h"
#include "models/load.h"

namespace sampan {
namespace {

// A model whose forward fails once `forwards_left` of them were computed.
class FailingModel : public Model {
 public:
  explicit FailingModel(const Model& model) : model_(model) {}

  const ModelConfig& config() const override { return model_.config(); }
  std::int64_t kv_page_bytes(DType kv_dtype) const override { return model_.kv_page_bytes(kv_dtype); }
  std::unique_ptr<Workspace> make_workspace() const override { return model_.make_workspace(); }
  std::int64_t bytes_per_token() const override { return model_.bytes_per_token(); }
  std::int64_t macs_per_token() const override { return model_.macs_per_token(); }
  DType default_kv_dtype() const override { return model_.default_kv_dtype(); }
  void forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool, ForwardOutput output) const override {
    if (forwards_left == 0) fail(ErrorCode::kIo, "the weights cannot be read");
    --forwards_left;
    model_.forward(batch, kv_dtype, workspace, pool, output);
  }
  void forward_mtp(const Batch& batch, const float* hidden, DType kv_dtype, Workspace& workspace, ThreadPool& pool, ForwardOutput output) const override {
    model_.forward_mtp(batch, hidden, kv_dtype, workspace, pool, output);
  }

  mutable int forwards_left = 1 << 20;

 private:
  const Model& model_;
};

class RunnerTest : public ::testing::Test {
 protected:
  ThreadPool pool_{2};
  std::unique_ptr<Model> model_ = load_model(std::filesystem::path(SAMPAN_TEST_DATA) / "models" / "qwen3", pool_);
  Runner runner_{*model_, pool_, 8};
  Sequence sequence_{*model_, DType::kF32};
};

TEST_F(RunnerTest, RefusesIdsOutsideTheVocabulary) {
  const auto vocab = static_cast<std::int32_t>(model_->config().vocab_size);
  for (const std::int32_t id : {-1, vocab, INT32_MAX}) {
    EXPECT_THROW(runner_.prefill(sequence_, std::vector<std::int32_t>{1, id}), Error);
    EXPECT_THROW(runner_.decode(sequence_, id), Error);
  }
  EXPECT_THROW(runner_.prefill(sequence_, std::vector<std::int32_t>{}), Error);
  EXPECT_EQ(sequence_.cache.length(), 0);
}

TEST_F(RunnerTest, AnInterruptedPromptLeavesTheSequenceAsItWas) {
  runner_.prefill(sequence_, std::vector<std::int32_t>{1, 2, 3});
  int asked = 0;
  runner_.set_interrupt([&] { return ++asked == 2; });
  const std::vector<std::int32_t> prompt(30, 5);
  EXPECT_THROW(runner_.prefill(sequence_, prompt), Error);
  EXPECT_EQ(sequence_.cache.length(), 3);
  EXPECT_EQ(sequence_.ids, (std::vector<std::int32_t>{1, 2, 3}));
  runner_.set_interrupt({});
  const std::span<const float> logits = runner_.prefill(sequence_, prompt);
  EXPECT_EQ(logits.size(), static_cast<std::size_t>(model_->config().vocab_size));
}

TEST_F(RunnerTest, AFailedForwardLeavesTheSequencesAsTheyWere) {
  FailingModel failing(*model_);
  Runner runner(failing, pool_, 8);
  Sequence other(*model_, DType::kF32);
  Sequence* const both[] = {&sequence_, &other};
  const std::vector<std::int32_t> prompt = {1, 2, 3}, more(20, 5), two = {6, 7};
  runner.prefill(sequence_, prompt);
  runner.prefill(other, two);
  const auto check = [&] {
    EXPECT_EQ(sequence_.ids, prompt);
    EXPECT_EQ(sequence_.cache.length(), 3);
    EXPECT_EQ(other.ids, two);
    EXPECT_EQ(other.cache.length(), 2);
  };
  failing.forwards_left = 1;  // the first chunk of three
  EXPECT_THROW(runner.prefill(sequence_, more), Error);
  check();
  failing.forwards_left = 0;
  EXPECT_THROW(runner.decode(both, two), Error);
  check();
  EXPECT_THROW(runner.decode_run(sequence_, two, false), Error);
  check();
  failing.forwards_left = 1 << 20;
  EXPECT_THROW(runner.prefill_all_logits(sequence_, more, [](std::int64_t, std::span<const float>) { throw std::runtime_error("a visitor's"); }),
               std::runtime_error);
  check();
  // The next call is as if nothing had been.
  const std::span<const float> after = runner.prefill(sequence_, more);
  Sequence fresh(*model_, DType::kF32);
  runner_.prefill(fresh, prompt);
  const std::span<const float> expected = runner_.prefill(fresh, more);
  EXPECT_TRUE(std::equal(after.begin(), after.end(), expected.begin(), expected.end()));
}

TEST_F(RunnerTest, TruncatedTextIsForgotten) {
  const std::vector<std::int32_t> prompt = {4, 8, 15, 16, 23, 42};
  const std::span<const float> first = runner_.prefill(sequence_, prompt);
  const std::vector<float> expected(first.begin(), first.end());
  runner_.prefill(sequence_, std::vector<std::int32_t>(100, 7));
  truncate(sequence_, 3);
  const std::span<const float> again = runner_.prefill(sequence_, std::span(prompt).subspan(3));
  EXPECT_TRUE(std::equal(again.begin(), again.end(), expected.begin()));
}

TEST_F(RunnerTest, PlannedCacheIsWhatIsAllocated) {
  runner_.prefill(sequence_, std::vector<std::int32_t>(130, 1));
  EXPECT_EQ(sequence_.cache.bytes(), kv_cache_bytes(model_->config(), DType::kF32, 130));
}

TEST_F(RunnerTest, PerplexityScoresAllButTheFirstOfAWindow) {
  const std::vector<std::int32_t> ids(25, 3);
  const Perplexity result = measure_perplexity(runner_, DType::kF32, ids, 10, [](std::int64_t) {});
  EXPECT_EQ(result.scored_tokens, 9 + 9 + 4);
  EXPECT_THROW(measure_perplexity(runner_, DType::kF32, ids, 1, [](std::int64_t) {}), Error);
  EXPECT_NEAR(negative_log_likelihood(std::vector<float>{0, 0, 0, 0}, 2), std::log(4.0), 1e-12);
}

}  // namespace
}  // namespace sampan
