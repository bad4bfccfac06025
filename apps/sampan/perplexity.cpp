#include "engine/perplexity.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "commands.h"
#include "engine/divergence.h"
#include "models/load.h"
#include "options.h"
#include "progress_line.h"
#include "text/model_text.h"

namespace sampan {
namespace {

struct PerplexityOptions {
  std::string model, file, against, against_kv_type;
  std::int64_t context = 512;
  bool json = false;
  ComputeOptions compute;
};

struct LoadedRunner {
  LoadedRunner(const std::string& name, const ComputeOptions& options, ThreadPool& pool)
      : model(load_model(find_model(name), pool, options.load_options())),
        runner(*model, pool),
        kv_dtype(options.kv_dtype(model->default_kv_dtype())) {
    runner.set_interrupt(interrupted);
  }

  std::unique_ptr<Model> model;
  Runner runner;
  DType kv_dtype;
};

nlohmann::json to_json(const Perplexity& p, std::int64_t context) {
  return {{"perplexity", p.perplexity},
          {"nats", p.nats},
          {"scored_tokens", p.scored_tokens},
          {"context", context}};
}

nlohmann::json to_json(const Divergence& d) {
  return {{"mean", d.mean},
          {"percentile_99", d.percentile_99},
          {"highest", d.highest},
          {"same_top", d.same_top},
          {"positions", d.positions}};
}

void print(const Perplexity& p, std::int64_t context) {
  std::printf("perplexity %.4f over %lld scored tokens (windows of %lld)\n", p.perplexity,
              static_cast<long long>(p.scored_tokens), static_cast<long long>(context));
}

void print(const Divergence& d) {
  std::printf(
      "divergence from the reference: mean %.6f nats, 99th percentile %.5f, highest %.4f; same "
      "first choice at %.2f %% of %lld positions\n",
      d.mean, d.percentile_99, d.highest, 100 * d.same_top, static_cast<long long>(d.positions));
}

void perplexity(const PerplexityOptions& options) {
  const std::filesystem::path path = find_model(options.model);
  const std::vector<std::int32_t> ids = load_model_tokenizer(path)->encode(
      read_file(options.file, std::uint64_t{1} << 31), SpecialTokens::kParse);
  ThreadPool pool(options.compute.thread_count());
  LoadedRunner model(options.model, options.compute, pool);
  std::unique_ptr<LoadedRunner> reference;
  if (!options.against.empty()) {
    ComputeOptions compute = options.compute;
    compute.kv_type = options.against_kv_type;
    reference = std::make_unique<LoadedRunner>(options.against, compute, pool);
  }
  arm_interrupts();
  ProgressLine line;
  const auto progress = [&](std::int64_t done) { line.show("{} of {} tokens", done, ids.size()); };
  Divergence divergence;  // before the perplexity: a reference that does not fit is refused at once
  if (reference) {
    divergence = measure_divergence(model.runner, model.kv_dtype, reference->runner,
                                    reference->kv_dtype, ids, options.context, progress);
  }
  const Perplexity result =
      measure_perplexity(model.runner, model.kv_dtype, ids, options.context, progress);
  line.clear();
  if (options.json) {
    nlohmann::json json = to_json(result, options.context);
    if (reference) json["divergence"] = to_json(divergence);
    std::printf("%s\n", json.dump().c_str());
    return;
  }
  print(result, options.context);
  if (reference) print(divergence);
}

}  // namespace

void add_perplexity_command(CLI::App& app, int&) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command = app.add_subcommand(
      "perplexity", "How well a model predicts a text, and how far from another model it is");
  add_model_argument(*command, options->model);
  command->add_option("--file", options->file, "The text (UTF-8)")->required()->type_name("TEXT");
  command
      ->add_option("--context", options->context,
                   "Tokens a window; each token is scored from those before it in its window")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 24))
      ->type_name("N")
      ->capture_default_str();
  CLI::Option* against = command
                             ->add_option("--against", options->against,
                                          "A reference of the same vocabulary, such as the model "
                                          "before it was quantised: prints the divergence from it")
                             ->type_name("MODEL");
  command
      ->add_option("--against-kv-type", options->against_kv_type,
                   "Type of the reference's key-value cache (default: as precise as its weights)")
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}))
      ->needs(against)
      ->type_name("TYPE");
  command->add_flag("--json", options->json, "Print one JSON object");
  add_compute_options(*command, options->compute);
  command->callback([options] { perplexity(*options); });
}

}  // namespace sampan
