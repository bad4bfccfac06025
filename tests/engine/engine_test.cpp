#include "engine/engine.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "engine/kv_pool.h"
#include "engine/runner.h"
#include "engine/token_scores.h"
#include "models/load.h"

namespace sampan {
namespace {

using Ids = std::vector<std::int32_t>;

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

bool same_token(const ScoredToken& a, const ScoredToken& b) {
  return a.id == b.id && a.rank == b.rank && same_bits(a.logprob, b.logprob) &&
         std::equal(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(),
                    [](const TokenLogprob& x, const TokenLogprob& y) {
                      return x.id == y.id && same_bits(x.logprob, y.logprob);
                    });
}

bool same_tokens(const std::vector<ScoredToken>& a, const std::vector<ScoredToken>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_token);
}

// Collects what a request gives.
class Recorder : public GenerationSink {
 public:
  void on_prompt(const PromptReport& given) override {
    const std::lock_guard lock(mutex_);
    report = given;
  }
  bool on_token(const ScoredToken& token) override {
    std::unique_lock lock(mutex_);
    tokens.push_back(token);
    changed_.notify_all();
    lock.unlock();
    if (delay_per_token.count() > 0) std::this_thread::sleep_for(delay_per_token);
    return tokens.size() != stop_after;
  }
  void on_finish(FinishReason why, const GenerationStats& given) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(is_done_);
    reason = why;
    stats = given;
    is_done_ = true;
    changed_.notify_all();
  }
  void on_error(const Error& given) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(is_done_);
    error = given;
    is_done_ = true;
    changed_.notify_all();
  }

  Recorder& wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120), [&] { return is_done_; }));
    return *this;
  }
  void wait_for_tokens(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(120),
                                  [&] { return is_done_ || tokens.size() >= count; }));
  }
  bool is_done() {
    const std::lock_guard lock(mutex_);
    return is_done_;
  }

  PromptReport report;
  std::vector<ScoredToken> tokens;
  std::optional<FinishReason> reason;
  GenerationStats stats;
  std::optional<Error> error;
  std::size_t stop_after = 0;
  std::chrono::milliseconds delay_per_token{0};  // holds the engine up

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
};

Ids random_ids(std::mt19937& random, std::size_t count, std::int64_t vocab) {
  Ids ids;
  for (std::size_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(vocab)));
  return ids;
}

void wait_until_idle(const Engine& engine) {
  for (int i = 0; i < 2000 && !engine.is_idle(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

struct Subject {
  const char* model;
  DType kv_type = DType::kF16;
};

std::string name_of(const ::testing::TestParamInfo<Subject>& info) {
  return std::string(info.param.model) + "_" + std::string(dtype_name(info.param.kv_type));
}

class EngineTest : public ::testing::TestWithParam<Subject> {
 protected:
  GenerationRequest request(std::size_t prompt_length, std::int64_t max_tokens,
                            std::uint64_t seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    GenerationRequest r;
    r.prompt = random_ids(random, prompt_length, model_->config().vocab_size);
    r.max_tokens = max_tokens;
    r.sampling.seed = seed;
    r.sampling.temperature = seed % 3 == 0 ? 0.0 : 0.9;
    r.sampling.top_k = seed % 2 == 0 ? 20 : 0;
    r.sampling.top_p = seed % 5 == 0 ? 0.8 : 1.0;
    r.sampling.repetition_penalty = seed % 4 == 0 ? 1.1 : 1.0;
    r.logprobs = static_cast<int>(seed % 4) - 1;
    return r;
  }

  // One text by itself, one token after the other.
  std::vector<ScoredToken> alone(const GenerationRequest& r) {
    Sequence sequence(*model_, kv_type_);
    Runner runner(*model_, pool_, 1 << 20);
    const Sampler sampler(r.sampling);
    std::span<const float> logits = runner.prefill(sequence, r.prompt);
    std::vector<ScoredToken> tokens;
    Ids generated;
    while (static_cast<std::int64_t>(tokens.size()) < r.max_tokens) {
      ScoredToken token;
      token.id = sampler.sample(logits, r.prompt, generated);
      if (r.logprobs >= 0) token = score_token(logits, token.id, r.logprobs);
      generated.push_back(token.id);
      tokens.push_back(token);
      if (std::find(r.stop_ids.begin(), r.stop_ids.end(), token.id) != r.stop_ids.end()) break;
      if (static_cast<std::int64_t>(tokens.size()) < r.max_tokens)
        logits = runner.decode(sequence, token.id);
    }
    return tokens;
  }

  EngineOptions options(std::int64_t blocks, std::int64_t step_tokens = 512) const {
    EngineOptions o;
    o.kv_dtype = kv_type_;
    o.kv_bytes = blocks * kv_block_bytes(*model_, kv_type_);
    o.max_step_tokens = step_tokens;
    return o;
  }

  const DType kv_type_ = GetParam().kv_type;
  ThreadPool pool_{2};
  std::unique_ptr<Model> model_ =
      load_model(std::filesystem::path(SAMPAN_TEST_DATA) / "models" / GetParam().model, pool_);
};

INSTANTIATE_TEST_SUITE_P(Families, EngineTest,
                         ::testing::Values(Subject{"qwen3"}, Subject{"qwen2_dynamic"},
                                           Subject{"qwen3_moe"}, Subject{"deepseek_v3"},
                                           Subject{"qwen3", DType::kQ8_0},
                                           Subject{"deepseek_v3", DType::kQ8_0}),
                         name_of);

// What the whole design is for: company, chunks, a cache too small for all and blocks of others
// change nothing.
TEST_P(EngineTest, CompanyChunksAndPreemptionChangeNoBit) {
  std::vector<GenerationRequest> requests;
  std::vector<std::vector<ScoredToken>> expected;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const std::size_t longest = static_cast<std::size_t>(model_->config().context_length) - 40;
    requests.push_back(request(std::min<std::size_t>(3 + 31 * (seed % 5), longest),
                               12 + 7 * static_cast<std::int64_t>(seed % 4), seed));
    expected.push_back(alone(requests.back()));
  }
  struct Setting {
    std::int64_t blocks, step_tokens;
    bool is_tight;
  };
  for (const Setting& setting :
       {Setting{64, 512, false}, Setting{64, 7, false}, Setting{4, 33, true}}) {
    Engine engine(*model_, pool_, nullptr, options(setting.blocks, setting.step_tokens));
    for (int round = 0; round < 2; ++round) {  // the second finds the first one's blocks
      std::vector<std::shared_ptr<Recorder>> recorders;
      for (const GenerationRequest& r : requests)
        engine.submit(r, recorders.emplace_back(std::make_shared<Recorder>()));
      for (std::size_t i = 0; i < requests.size(); ++i) {
        Recorder& recorder = recorders[i]->wait();
        ASSERT_FALSE(recorder.error) << recorder.error->what();
        EXPECT_TRUE(same_tokens(recorder.tokens, expected[i]))
            << "request " << i << ", round " << round << ", blocks " << setting.blocks;
        EXPECT_EQ(recorder.stats.generated_tokens, static_cast<std::int64_t>(expected[i].size()));
      }
    }
    wait_until_idle(engine);
    const EngineMetrics metrics = engine.metrics();
    EXPECT_EQ(metrics.running + metrics.waiting, 0);
    EXPECT_EQ(metrics.kv_blocks_in_use, 0);
    if (setting.is_tight) {
      EXPECT_GT(metrics.preemptions, 0);
    }
  }
}

TEST_P(EngineTest, PromptLogprobsArePlainOnes) {
  GenerationRequest r = request(
      static_cast<std::size_t>(std::min<std::int64_t>(150, model_->config().context_length - 1)), 1,
      3);
  r.prompt_logprobs = 2;
  Sequence sequence(*model_, kv_type_);
  Runner runner(*model_, pool_);
  std::vector<ScoredToken> expected = {
      {r.prompt[0], std::numeric_limits<float>::quiet_NaN(), 0, {}}};
  const auto vocab = static_cast<std::size_t>(model_->config().vocab_size);
  runner.prefill_all_logits(
      sequence, r.prompt, [&](std::int64_t first, std::span<const float> logits) {
        for (std::size_t row = 0; row < logits.size() / vocab; ++row) {
          const std::size_t next = static_cast<std::size_t>(first) + row + 1;
          if (next < r.prompt.size())
            expected.push_back(score_token(logits.subspan(row * vocab, vocab), r.prompt[next], 2));
        }
      });
  Engine engine(*model_, pool_, nullptr, options(16, 40));
  for (int round = 0; round < 2; ++round) {
    const auto recorder = std::make_shared<Recorder>();
    engine.submit(r, recorder);
    recorder->wait();
    ASSERT_EQ(recorder->report.tokens.size(), expected.size());
    for (std::size_t i = 1; i < expected.size(); ++i)
      EXPECT_TRUE(same_token(recorder->report.tokens[i], expected[i])) << i;
  }
}

TEST_P(EngineTest, PrefixesAreFoundByTheirTenantAlone) {
  const bool is_long = model_->config().context_length > 200;
  GenerationRequest r = request(is_long ? 200 : 90, 2, 5);
  Engine engine(*model_, pool_, nullptr, options(64));
  const auto cached = [&](const std::string& tenant) {
    r.tenant = tenant;
    const auto recorder = std::make_shared<Recorder>();
    engine.submit(r, recorder);
    return recorder->wait().report.cached_tokens;
  };
  EXPECT_EQ(cached("a"), 0);
  EXPECT_EQ(cached("a"), is_long ? 192 : 64);
  EXPECT_EQ(cached("b"), 0);
  EXPECT_EQ(cached("b"), is_long ? 192 : 64);
  r.prompt.resize(64 * (r.prompt.size() / 64));  // the last token must be computed
  EXPECT_EQ(cached("a"), is_long ? 128 : 0);
}

using OneModelTest = EngineTest;
INSTANTIATE_TEST_SUITE_P(Qwen3, OneModelTest, ::testing::Values(Subject{"qwen3"}), name_of);

TEST_P(OneModelTest, CommonBeginningsAreReadOnce) {
  Engine engine(*model_, pool_, nullptr, options(64, 64));
  GenerationRequest r = request(300, 4, 7);
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 6; ++i) {
    r.sampling.seed = static_cast<std::uint64_t>(i);
    engine.submit(r, recorders.emplace_back(std::make_shared<Recorder>()));
  }
  std::int64_t computed = 0;
  for (const auto& recorder : recorders) computed += 300 - recorder->wait().report.cached_tokens;
  EXPECT_EQ(computed, 300 + 5 * (300 - 256));
}

TEST_P(OneModelTest, StopsWhereItShould) {
  const GenerationRequest plain = request(20, 12, 3);  // greedy
  const std::vector<ScoredToken> tokens = alone(plain);
  Engine engine(*model_, pool_, nullptr, options(16));
  const auto run = [&](const GenerationRequest& r, std::size_t stop_after = 0) {
    const auto recorder = std::make_shared<Recorder>();
    recorder->stop_after = stop_after;
    engine.submit(r, recorder);
    recorder->wait();
    return recorder;
  };
  EXPECT_EQ(run(plain)->reason, FinishReason::kLength);
  const auto sink = run(plain, 5);
  EXPECT_EQ(sink->reason, FinishReason::kSink);
  EXPECT_EQ(sink->tokens.size(), 5u);

  GenerationRequest stopped = plain;
  stopped.stop_ids = {tokens[4].id};
  const auto by_id = run(stopped);
  EXPECT_EQ(by_id->reason, FinishReason::kStopId);
  const auto first = std::find_if(tokens.begin(), tokens.end(),
                                  [&](const ScoredToken& t) { return t.id == tokens[4].id; });
  EXPECT_EQ(by_id->tokens.size(), static_cast<std::size_t>(first - tokens.begin()) + 1);

  stopped.min_tokens = 12;
  const auto late = run(stopped);
  EXPECT_EQ(late->tokens.size(), 12u);
  for (const ScoredToken& token : late->tokens) EXPECT_NE(token.id, tokens[4].id);

  GenerationRequest nothing = plain;
  nothing.max_tokens = 0;
  nothing.probe_ids = {1, 2};
  const auto probed = run(nothing);
  EXPECT_EQ(probed->reason, FinishReason::kLength);
  EXPECT_TRUE(probed->tokens.empty());
  Sequence sequence(*model_, kv_type_);
  Runner runner(*model_, pool_);
  const std::span<const float> logits = runner.prefill(sequence, nothing.prompt);
  EXPECT_EQ(probed->report.probe_logits, (std::vector<float>{logits[1], logits[2]}));
}

TEST_P(OneModelTest, BadRequestsAreRefusedAtOnce) {
  Engine engine(*model_, pool_, nullptr, options(2));
  EXPECT_EQ(engine.context_length(), 128);
  const auto refuse = [&](const GenerationRequest& r) {
    EXPECT_THROW(engine.submit(r, std::make_shared<Recorder>()), Error);
  };
  GenerationRequest r = request(5, 5, 1);
  r.prompt[2] = static_cast<std::int32_t>(model_->config().vocab_size);
  refuse(r);
  r.prompt.clear();
  refuse(r);
  r = request(5, 5, 1);
  r.sampling.logit_bias = {{static_cast<std::int32_t>(model_->config().vocab_size), 1.0f}};
  refuse(r);
  refuse(request(128, 1, 1));
  const auto recorder = std::make_shared<Recorder>();
  engine.submit(request(120, 100, 2), recorder);  // cut to what the context leaves
  EXPECT_EQ(recorder->wait().stats.generated_tokens, 8);
  EXPECT_EQ(recorder->reason, FinishReason::kLength);
}

TEST_P(OneModelTest, CancelledRequestsHearNothingMore) {
  Engine engine(*model_, pool_, nullptr, options(64));
  const auto endless = std::make_shared<Recorder>();
  endless->delay_per_token = std::chrono::milliseconds(5);
  const auto id = engine.submit(request(10, 3000, 1), endless);
  endless->wait_for_tokens(3);
  engine.cancel(id);
  engine.cancel(12345);
  const auto other = std::make_shared<Recorder>();
  engine.submit(request(10, 3, 2), other);
  other->wait();
  wait_until_idle(engine);
  EXPECT_EQ(endless.use_count(), 1);
  EXPECT_FALSE(endless->is_done());
  EXPECT_EQ(engine.metrics().kv_blocks_in_use, 0);
}

TEST_P(OneModelTest, DeadlinesAndFullQueuesAreErrors) {
  EngineOptions o = options(64);
  o.max_running = 1;
  o.max_waiting = 2;
  const auto first = std::make_shared<Recorder>();
  first->delay_per_token = std::chrono::milliseconds(5);
  const auto late = std::make_shared<Recorder>();
  const auto left = std::make_shared<Recorder>();
  {
    Engine engine(*model_, pool_, nullptr, o);
    engine.submit(request(10, 3000, 1), first);
    first->wait_for_tokens(1);
    GenerationRequest r = request(10, 3, 2);
    r.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
    engine.submit(r, late);
    engine.submit(request(10, 3, 3), left);
    EXPECT_THROW(engine.submit(request(10, 3, 4), std::make_shared<Recorder>()), OverloadedError);
    late->wait();
    EXPECT_EQ(late->error->code(), ErrorCode::kCancelled);
  }
  ASSERT_TRUE(first->error && left->error);
  EXPECT_NE(std::string(left->error->what()).find("shutting down"), std::string::npos);
}

TEST_P(OneModelTest, WhatBelongsTogetherIsQueuedWholeOrNotAtAll) {
  EngineOptions o = options(64);
  o.max_running = 1;
  o.max_waiting = 2;
  std::vector<std::shared_ptr<Recorder>> recorders;
  const auto group = [&](std::size_t count) {
    std::vector<Engine::Submission> together;
    for (std::size_t i = 0; i < count; ++i)
      together.push_back({request(10, 2, i), recorders.emplace_back(std::make_shared<Recorder>())});
    return together;
  };
  const auto first = std::make_shared<Recorder>();
  first->delay_per_token = std::chrono::milliseconds(5);
  Engine engine(*model_, pool_, nullptr, o);
  const auto running = engine.submit(request(10, 3000, 1), first);
  first->wait_for_tokens(1);
  std::vector<Engine::Submission> bad = group(3);
  bad[2].request.prompt.clear();
  EXPECT_THROW(engine.submit(std::move(bad)), Error);
  EXPECT_EQ(engine.metrics().waiting, 0);
  recorders.clear();
  const std::vector<Engine::RequestId> ids = engine.submit(group(5));
  EXPECT_EQ(ids.size(), 5u);
  EXPECT_EQ(engine.metrics().waiting, 5);
  EXPECT_THROW(engine.submit(group(2)), OverloadedError);
  EXPECT_THROW(engine.submit(request(10, 3, 4), std::make_shared<Recorder>()), OverloadedError);
  EXPECT_EQ(engine.metrics().waiting, 5);
  recorders.resize(5);
  engine.cancel(running);
  for (const auto& recorder : recorders) EXPECT_EQ(recorder->wait().tokens.size(), 2u);
}

TEST_P(OneModelTest, AServerWithoutAQueueStillAnswers) {
  EngineOptions o = options(64);
  o.max_running = 1;
  o.max_waiting = 0;
  Engine engine(*model_, pool_, nullptr, o);
  const auto one = std::make_shared<Recorder>();
  engine.submit(request(10, 3, 1), one);
  EXPECT_EQ(one->wait().tokens.size(), 3u);
}

TEST_P(OneModelTest, ImportantRequestsGoFirst) {
  EngineOptions o = options(64);
  o.max_running = 1;
  Engine engine(*model_, pool_, nullptr, o);
  const auto running = std::make_shared<Recorder>();
  running->delay_per_token = std::chrono::milliseconds(2);
  engine.submit(request(10, 60, 1), running);
  running->wait_for_tokens(1);
  GenerationRequest usual = request(10, 20, 2);
  GenerationRequest important = request(10, 20, 3);
  important.priority = -1;
  const auto second = std::make_shared<Recorder>();
  const auto first = std::make_shared<Recorder>();
  engine.submit(usual, second);
  engine.submit(important, first);
  second->wait();
  EXPECT_TRUE(first->is_done());
}

TEST_P(OneModelTest, TenantsShareTheEngineFairly) {
  EngineOptions o = options(64);
  o.max_running = 1;
  Engine engine(*model_, pool_, nullptr, o);
  std::vector<std::shared_ptr<Recorder>> many;
  GenerationRequest r = request(30, 10, 1);
  r.tenant = "many";
  for (int i = 0; i < 12; ++i) {
    many.push_back(std::make_shared<Recorder>());
    many.back()->delay_per_token =
        std::chrono::milliseconds(1);  // all have arrived before the first is done
    engine.submit(r, many.back());
  }
  r.tenant = "one";
  const auto one = std::make_shared<Recorder>();
  engine.submit(r, one);
  one->wait();
  int done = 0;
  for (const auto& recorder : many) done += recorder->is_done() ? 1 : 0;
  EXPECT_LE(done, 3);
  for (const auto& recorder : many) recorder->wait();
}

}  // namespace
}  // namespace sampan
