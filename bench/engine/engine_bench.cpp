// engine_bench MODEL [STREAMS…]: aggregate decoding speed of the engine without a server: 1, 4, 16 and 64 texts side by side, each with a
// prompt of its own of 32 tokens and 64 tokens to write. What is written after every text has its first token counts.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <random>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/kv_pool.h"
#include "kernels/peaks.h"
#include "models/load.h"

namespace {

using namespace sampan;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kPrompt = 32;
constexpr std::int64_t kTokens = 64;

// Notes when a text's tokens came.
class Stream : public GenerationSink {
 public:
  void on_prompt(const PromptReport&) override {}
  bool on_token(const ScoredToken&) override {
    times.push_back(Clock::now());
    return true;
  }
  void on_finish(FinishReason, const GenerationStats&) override { end(); }
  void on_error(const Error& error) override {
    fmt::print(stderr, "{}\n", error.what());
    end();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_done_; });
  }

  std::vector<Clock::time_point> times;

 private:
  void end() {
    const std::lock_guard lock(mutex_);
    is_done_ = true;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_done_ = false;
};

double tokens_per_second(Engine& engine, std::int64_t vocab, int streams, std::mt19937& random) {
  std::vector<std::shared_ptr<Stream>> all;
  for (int i = 0; i < streams; ++i) {
    GenerationRequest request;
    for (std::size_t j = 0; j < kPrompt; ++j) request.prompt.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab)));
    request.max_tokens = kTokens;
    engine.submit(std::move(request), all.emplace_back(std::make_shared<Stream>()));
  }
  Clock::time_point begin{}, end{};
  for (const auto& stream : all) {
    stream->wait();
    if (stream->times.empty()) fail(ErrorCode::kInvalidData, "a text without a token");
    begin = std::max(begin, stream->times.front());
    end = std::max(end, stream->times.back());
  }
  std::ptrdiff_t tokens = 0;
  for (const auto& stream : all) tokens += std::ranges::count_if(stream->times, [&](auto time) { return time > begin; });
  return static_cast<double>(tokens) / std::chrono::duration<double>(end - begin).count();
}

void bench(const char* path, const std::vector<int>& streams) {
  ThreadPool pool(default_thread_count());
  const auto model = load_model(path, pool);
  const MachinePeaks peaks = measure_peaks(pool);
  EngineOptions options;
  options.kv_dtype = model->default_kv_dtype();
  options.kv_bytes = 256 * kv_block_bytes(*model, options.kv_dtype);
  Engine engine(*model, pool, nullptr, options);
  std::mt19937 random(1);
  tokens_per_second(engine, model->config().vocab_size, 1, random);  // warms up
  const double head = static_cast<double>(model->config().vocab_size * model->config().hidden_size);
  for (const int n : streams) {
    const double speed = tokens_per_second(engine, model->config().vocab_size, n, random);
    const double macs = speed * (static_cast<double>(model->macs_per_token()) + head);
    const double bytes = speed / n * static_cast<double>(model->bytes_per_token());
    fmt::print("{:3} streams {:8.1f} tokens/s  {:6.1f} GMAC/s ({:.0f} % of int8 peak)  weights read at {:5.1f} GB/s ({:.0f} % of bandwidth)\n", n, speed,
               macs * 1e-9, 100 * macs / peaks.int8_macs_per_second, bytes * 1e-9, 100 * bytes / peaks.read_bytes_per_second);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: engine_bench MODEL [STREAMS…]\n", stderr);
    return 2;
  }
  std::vector<int> streams;
  for (int i = 2; i < argc; ++i) streams.push_back(std::atoi(argv[i]));
  if (streams.empty()) streams = {1, 4, 16, 64};
  try {
    bench(argv[1], streams);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "engine_bench: {}\n", error.what());
    return 2;
  }
}
