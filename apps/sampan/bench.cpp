#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "engine/runner.h"
#include "kernels/isa.h"
#include "kernels/peaks.h"
#include "models/load.h"
#include "options.h"

namespace sampan {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchOptions {
  std::string model;
  std::int64_t prompt = 512;
  std::int64_t generate = 64;
  int repeats = 3;
  bool json = false;
  ComputeOptions compute;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct BenchResult {
  double load_seconds = 0;
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
  MachinePeaks peaks;
};

std::vector<std::int32_t> bench_prompt(std::int64_t length, std::int64_t vocab_size) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>((i * 7919 + 17) % static_cast<std::size_t>(vocab_size));
  }
  return ids;
}

// Prefill of an empty context and decode from an empty context, as the usual pp and tg figures are defined.
BenchResult measure(const BenchOptions& options, const Model& model, ThreadPool& pool) {
  const DType kv_dtype = options.compute.kv_dtype(model.default_kv_dtype());
  const std::vector<std::int32_t> prompt = bench_prompt(options.prompt, model.config().vocab_size);
  Runner runner(model, pool);
  std::vector<double> prefill, decode;
  for (int i = 0; i <= options.repeats; ++i) {  // the first round warms up
    if (!prompt.empty()) {
      Sequence sequence(model, kv_dtype);
      const auto start = Clock::now();
      runner.prefill(sequence, prompt);
      if (i > 0) prefill.push_back(static_cast<double>(options.prompt) / seconds_since(start));
    }
    if (options.generate == 0) continue;
    Sequence sequence(model, kv_dtype);
    const auto start = Clock::now();
    for (std::int64_t step = 0; step < options.generate; ++step) {
      runner.decode(sequence, static_cast<std::int32_t>(step % model.config().vocab_size));
    }
    if (i > 0) decode.push_back(static_cast<double>(options.generate) / seconds_since(start));
  }
  BenchResult result;
  if (!prefill.empty()) result.prefill_tokens_per_second = median(prefill);
  if (!decode.empty()) result.decode_tokens_per_second = median(decode);
  result.peaks = measure_peaks(pool);
  return result;
}

void print(const BenchOptions& options, const Model& model, int threads, const BenchResult& r) {
  const bool blocks = model.default_kv_dtype() == DType::kF16;
  const double peak_macs = blocks ? r.peaks.int8_macs_per_second : r.peaks.float_macs_per_second;
  const double macs = r.prefill_tokens_per_second * static_cast<double>(model.macs_per_token());
  const double bytes = r.decode_tokens_per_second * static_cast<double>(model.bytes_per_token());
  const std::string isa(isa_name(active_isa()));
  if (options.json) {
    const nlohmann::json json = {
        {"model", options.model},
        {"isa", isa},
        {"threads", threads},
        {"load_seconds", r.load_seconds},
        {"prompt_tokens", options.prompt},
        {"prefill_tokens_per_second", r.prefill_tokens_per_second},
        {"prefill_gmac_per_second", macs * 1e-9},
        {"generated_tokens", options.generate},
        {"decode_tokens_per_second", r.decode_tokens_per_second},
        {"decode_gb_per_second", bytes * 1e-9},
        {"weight_bytes_per_token", model.bytes_per_token()},
        {"peak_read_gb_per_second", r.peaks.read_bytes_per_second * 1e-9},
        {"peak_int8_gmac_per_second", r.peaks.int8_macs_per_second * 1e-9},
        {"peak_float_gmac_per_second", r.peaks.float_macs_per_second * 1e-9},
    };
    std::printf("%s\n", json.dump().c_str());
    return;
  }
  std::printf("%s, %d threads, loaded in %.2f s\n", isa.c_str(), threads, r.load_seconds);
  std::printf("prefill %5lld tokens  %9.1f tokens/s  %7.1f GMAC/s  %3.0f %% of the %s peak of %.0f GMAC/s\n",
              static_cast<long long>(options.prompt), r.prefill_tokens_per_second, macs * 1e-9, 100 * macs / peak_macs,
              blocks ? "int8" : "float", peak_macs * 1e-9);
  std::printf("decode  %5lld tokens  %9.1f tokens/s  %7.1f GB/s    %3.0f %% of the read bandwidth of %.1f GB/s\n",
              static_cast<long long>(options.generate), r.decode_tokens_per_second, bytes * 1e-9,
              100 * bytes / r.peaks.read_bytes_per_second, r.peaks.read_bytes_per_second * 1e-9);
}

void bench(const BenchOptions& options) {
  const int threads = options.compute.thread_count();
  ThreadPool pool(threads);
  const auto start = Clock::now();
  const std::unique_ptr<Model> model = load_model(find_model(options.model), pool, options.compute.load_options());
  const double load_seconds = seconds_since(start);
  BenchResult result = measure(options, *model, pool);
  result.load_seconds = load_seconds;
  print(options, *model, threads, result);
}

}  // namespace

void add_bench_command(CLI::App& app, int&) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode speed, beside this machine's limits");
  add_model_argument(*command, options->model);
  command->add_option("--prompt", options->prompt, "Tokens of the prompt")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--generate", options->generate, "Tokens to generate")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--repeats", options->repeats, "Rounds after one to warm up; medians are printed")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object");
  add_compute_options(*command, options->compute);
  command->callback([options] { bench(*options); });
}

}  // namespace sampan
