#include "engine/perplexity.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "commands.h"
#include "text/model_text.h"
#include "models/load.h"
#include "options.h"
#include "progress_line.h"

namespace sampan {
namespace {

struct PerplexityOptions {
  std::string model, file;
  std::int64_t context = 512;
  bool json = false;
  ComputeOptions compute;
};

void perplexity(const PerplexityOptions& options) {
  const std::filesystem::path path = find_model(options.model);
  const std::vector<std::int32_t> ids =
      load_model_tokenizer(path)->encode(read_file(options.file, std::uint64_t{1} << 31), SpecialTokens::kParse);
  ThreadPool pool(options.compute.thread_count());
  const std::unique_ptr<Model> model = load_model(path, pool, options.compute.load_options());
  Runner runner(*model, pool);
  arm_interrupts();
  runner.set_interrupt(interrupted);
  ProgressLine line;
  const auto size = static_cast<std::int64_t>(ids.size());
  const Perplexity result =
      measure_perplexity(runner, options.compute.kv_dtype(model->default_kv_dtype()), ids, options.context,
                         [&](std::int64_t done) { line.show("scored {} of {} tokens", done, size); });
  line.clear();
  if (options.json) {
    const nlohmann::json json = {{"perplexity", result.perplexity}, {"nats", result.nats}, {"scored_tokens", result.scored_tokens}, {"context", options.context}};
    std::printf("%s\n", json.dump().c_str());
  } else {
    std::printf("perplexity %.4f over %lld scored tokens (windows of %lld)\n", result.perplexity,
                static_cast<long long>(result.scored_tokens), static_cast<long long>(options.context));
  }
}

}  // namespace

void add_perplexity_command(CLI::App& app, int&) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command = app.add_subcommand("perplexity", "How well a model predicts a text");
  add_model_argument(*command, options->model);
  command->add_option("--file", options->file, "The text (UTF-8)")->required()->type_name("TEXT");
  command->add_option("--context", options->context, "Tokens a window; each token is scored from those before it in its window")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 24))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object");
  add_compute_options(*command, options->compute);
  command->callback([options] { perplexity(*options); });
}

}  // namespace sampan
