#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "commands.h"
#include "engine/runner.h"
#include "kernels/isa.h"
#include "kernels/peaks.h"
#include "models/load.h"
#include "options.h"

namespace sampan {
namespace {

struct BenchOptions {
  std::string model;
  std::int64_t prompt = 512;
  std::int64_t generate = 64;
  std::vector<std::int64_t> depths = {0};     // of the cache before either
  std::vector<std::int64_t> sequences = {1};  // that decode side by side
  int repeats = 3;
  bool json = false;
  ComputeOptions compute;
};

// Seconds that all threads computed: with one thread, what a machine that others use too leaves
// comparable.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct BenchResult {
  std::int64_t depth = 0;
  std::int64_t sequences = 1;
  double prefill_tokens_per_second = 0;
  double decode_tokens_per_second = 0;
  double prefill_tokens_per_cpu_second = 0;
  double decode_tokens_per_cpu_second = 0;
  MachinePeaks peaks;
};

// Ids of a text of its own for each salt.
std::vector<std::int32_t> bench_text(std::int64_t length, std::int64_t vocab_size,
                                     std::size_t salt) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>((i * 7919 + salt) % static_cast<std::size_t>(vocab_size));
  }
  return ids;
}

// Bytes of the cache that a step reads which generates the token at `position`.
double cache_bytes(const Model& model, DType kv_dtype, std::int64_t position) {
  const ModelConfig& c = model.config();
  double bytes = 0;
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const std::int64_t window = c.windows.empty() ? 0 : c.windows[static_cast<std::size_t>(layer)];
    const std::int64_t seen = window > 0 ? std::min(position + 1, window) : position + 1;
    bytes += static_cast<double>(seen * (model.kv_page_bytes(kv_dtype) / kKvPagePositions));
  }
  return bytes;
}

// Tokens a second of what was timed, by the clock and by the processors' time.
struct Rates {
  std::vector<double> by_clock, by_cpu;

  template <typename Body>
  void time(std::int64_t tokens, bool counts, Body&& body) {
    const double cpu = cpu_seconds();
    const auto start = Clock::now();
    body();
    if (!counts || tokens == 0) return;
    by_clock.push_back(static_cast<double>(tokens) / seconds_since(start));
    by_cpu.push_back(static_cast<double>(tokens) / (cpu_seconds() - cpu));
  }
};

// Prefill of one text and decode of `count` side by side, each from a context of `depth` tokens, as
// the usual pp and tg figures are defined; decoded tokens are those of all texts.
BenchResult measure(const BenchOptions& options, std::int64_t depth, std::int64_t count,
                    const Model& model, ThreadPool& pool) {
  const std::int64_t vocab = model.config().vocab_size;
  const std::vector<std::int32_t> prompt = bench_text(options.prompt, vocab, 17);
  Runner runner(model, pool);
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::vector<Sequence*> rows;
  for (std::int64_t i = 0; i < count; ++i) {
    sequences.push_back(
        std::make_unique<Sequence>(model, options.compute.kv_dtype(model.default_kv_dtype())));
    rows.push_back(sequences.back().get());
    const auto salt = static_cast<std::size_t>(29 + i);
    if (depth > 0) runner.prefill(*rows.back(), bench_text(depth, vocab, salt));
  }
  std::vector<std::int32_t> ids(rows.size());
  Rates prefill, decode;
  for (int i = 0; i <= options.repeats; ++i) {  // the first round warms up
    prefill.time(options.prompt, i > 0, [&] {
      if (!prompt.empty()) runner.prefill(*rows[0], prompt);
    });
    truncate(*rows[0], depth);
    decode.time(count * options.generate, i > 0, [&] {
      for (std::int64_t step = 0; step < options.generate; ++step) {
        for (std::size_t row = 0; row < ids.size(); ++row) {
          ids[row] =
              static_cast<std::int32_t>((step + 7919 * static_cast<std::int64_t>(row)) % vocab);
        }
        runner.decode(rows, ids);
      }
    });
    for (Sequence* sequence : rows) truncate(*sequence, depth);
  }
  BenchResult result;
  result.depth = depth;
  result.sequences = count;
  result.prefill_tokens_per_second = median(prefill.by_clock);
  result.decode_tokens_per_second = median(decode.by_clock);
  result.prefill_tokens_per_cpu_second = median(prefill.by_cpu);
  result.decode_tokens_per_cpu_second = median(decode.by_cpu);
  result.peaks = measure_peaks(pool);
  return result;
}

// Bytes of weights and cache that a second of decode reads. Of weights only those of one text are
// counted: a step reads them once for all, but for experts that the texts do not share.
double bytes_per_second(const BenchOptions& options, const Model& model, const BenchResult& r) {
  const DType kv_dtype = options.compute.kv_dtype(model.default_kv_dtype());
  const double cache = cache_bytes(model, kv_dtype, r.depth + options.generate / 2);
  const auto sequences = static_cast<double>(r.sequences);
  return r.decode_tokens_per_second *
         (static_cast<double>(model.bytes_per_token()) / sequences + cache);
}

struct ProductPeak {
  const char* name;
  double macs_per_second;
};

// Of the products that the weights' types ask for.
ProductPeak product_peak(const BenchOptions& options, const Model& model,
                         const MachinePeaks& peaks) {
  if (model.default_kv_dtype() == DType::kF16) return {"int8", peaks.int8_macs_per_second};
  if (options.compute.bf16_products == Bf16Products::kRounded) {
    return {"BF16", peaks.bf16_macs_per_second};
  }
  return {"float", peaks.float_macs_per_second};
}

void print(const BenchOptions& options, const Model& model, const BenchResult& r) {
  const ProductPeak peak = product_peak(options, model, r.peaks);
  const double macs = r.prefill_tokens_per_second * static_cast<double>(model.macs_per_token());
  const double bytes = bytes_per_second(options, model, r);
  if (r.depth > 0) std::printf("behind %lld tokens\n", static_cast<long long>(r.depth));
  std::printf(
      "prefill %5lld tokens  %9.1f tokens/s  %7.1f GMAC/s  %3.0f %% of the %s peak of %.0f "
      "GMAC/s\n",
      static_cast<long long>(options.prompt), r.prefill_tokens_per_second, macs * 1e-9,
      100 * macs / peak.macs_per_second, peak.name, peak.macs_per_second * 1e-9);
  const std::string texts = r.sequences > 1 ? fmt::format(" in each of {} texts", r.sequences) : "";
  std::printf(
      "decode  %5lld tokens  %9.1f tokens/s  %7.1f GB/s    %3.0f %% of the read bandwidth of %.1f "
      "GB/s%s\n",
      static_cast<long long>(options.generate), r.decode_tokens_per_second, bytes * 1e-9,
      100 * bytes / r.peaks.read_bytes_per_second, r.peaks.read_bytes_per_second * 1e-9,
      texts.c_str());
}

nlohmann::json to_json(const BenchOptions& options, const Model& model, double load_seconds,
                       const BenchResult& r) {
  return {
      {"model", options.model},
      {"isa", std::string(isa_name(active_isa()))},
      {"threads", options.compute.thread_count()},
      {"load_seconds", load_seconds},
      {"depth", r.depth},
      {"sequences", r.sequences},
      {"prompt_tokens", options.prompt},
      {"prefill_tokens_per_second", r.prefill_tokens_per_second},
      {"prefill_tokens_per_cpu_second", r.prefill_tokens_per_cpu_second},
      {"prefill_gmac_per_second",
       r.prefill_tokens_per_second * static_cast<double>(model.macs_per_token()) * 1e-9},
      {"generated_tokens", options.generate},
      {"decode_tokens_per_second", r.decode_tokens_per_second},
      {"decode_tokens_per_cpu_second", r.decode_tokens_per_cpu_second},
      {"decode_gb_per_second", bytes_per_second(options, model, r) * 1e-9},
      {"weight_bytes_per_token", model.bytes_per_token()},
      {"peak_read_gb_per_second", r.peaks.read_bytes_per_second * 1e-9},
      {"peak_int8_gmac_per_second", r.peaks.int8_macs_per_second * 1e-9},
      {"peak_float_gmac_per_second", r.peaks.float_macs_per_second * 1e-9},
      {"peak_bf16_gmac_per_second", r.peaks.bf16_macs_per_second * 1e-9},
  };
}

void bench(const BenchOptions& options) {
  const int threads = options.compute.thread_count();
  ThreadPool pool(threads);
  const auto start = Clock::now();
  const std::unique_ptr<Model> model =
      load_model(find_model(options.model), pool, options.compute.load_options());
  const double load_seconds = seconds_since(start);
  if (!options.json) {
    const std::size_t nodes = pool.node_begins().size() - 1;
    const std::string on = nodes > 1 ? fmt::format(" on {} memory nodes", nodes) : "";
    fmt::print("{}, {} threads{}, loaded in {:.2f} s\n", isa_name(active_isa()), threads, on,
               load_seconds);
  }
  for (const std::int64_t depth : options.depths) {
    for (const std::int64_t count : options.sequences) {
      const BenchResult result = measure(options, depth, count, *model, pool);
      if (options.json) {
        std::printf("%s\n", to_json(options, *model, load_seconds, result).dump().c_str());
      } else {
        print(options, *model, result);
      }
      std::fflush(stdout);
    }
  }
}

}  // namespace

void add_bench_command(CLI::App& app, int&) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      app.add_subcommand("bench", "Measure prefill and decode speed, beside this machine's limits");
  add_model_argument(*command, options->model);
  command->add_option("--prompt", options->prompt, "Tokens of the prompt")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--generate", options->generate, "Tokens to generate")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24))
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--depth", options->depths,
                   "Tokens that are in the cache before the prompt, and before those generated; "
                   "several are measured one after the other")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 24))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("N[,N…]")
      ->capture_default_str();
  command
      ->add_option(
          "--sequences", options->sequences,
          "Texts that decode side by side; several numbers are measured one after the other")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 12))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("N[,N…]")
      ->capture_default_str();
  command
      ->add_option("--repeats", options->repeats,
                   "Rounds after one to warm up; medians are printed")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print a JSON object a measurement, one a line");
  add_compute_options(*command, options->compute);
  command->callback([options] { bench(*options); });
}

}  // namespace sampan
