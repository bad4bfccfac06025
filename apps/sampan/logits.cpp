#include <cstdio>
#include <memory>

#include "base/error.h"
#include "commands.h"
#include "engine/runner.h"
#include "models/load.h"
#include "options.h"
#include "output_file.h"

namespace sampan {
namespace {

struct LogitsOptions {
  std::string model, ids, output;
  ComputeOptions compute;
};

void write_logits(const LogitsOptions& options) {
  const std::vector<std::int32_t> ids = parse_ids(options.ids);
  ThreadPool pool(options.compute.thread_count());
  const std::unique_ptr<Model> model = load_model(find_model(options.model), pool, options.compute.load_options());
  Sequence sequence(*model, options.compute.kv_dtype(model->default_kv_dtype()));
  Runner runner(*model, pool);
  OutputFile file(options.output);
  runner.prefill_all_logits(sequence, ids, [&](std::int64_t, std::span<const float> logits) {
    file.write(std::as_bytes(logits));
  });
  file.close();
}

}  // namespace

void add_logits_command(CLI::App& app, int&) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command = app.add_subcommand("logits", "Write the logits of every position of a list of token ids");
  add_model_argument(*command, options->model);
  command->add_option("--ids", options->ids, "Token ids, separated by commas")->required();
  command->add_option("--output", options->output, "File to write: little-endian float32, row-major (tokens, vocabulary)")->required();
  add_compute_options(*command, options->compute);
  command->callback([options] { write_logits(*options); });
}

}  // namespace sampan
