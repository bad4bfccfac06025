#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "commands.h"
#include "engine/runner.h"
#include "engine/sampler.h"
#include "engine/speculation.h"
#include "models/load.h"
#include "options.h"
#include "sampling_options.h"
#include "speculation_flags.h"

namespace sampan {
namespace {

struct GenerateOptions {
  std::string model, ids;
  std::int64_t max_tokens = 64;
  bool ignore_eos = false;
  bool json = false;
  SamplingOptions sampling;
  SpeculationFlags speculation;
  ComputeOptions compute;
};

void generate(const GenerateOptions& options, int& exit_code) {
  const std::vector<std::int32_t> prompt = parse_ids(options.ids);
  const std::filesystem::path path = find_model(options.model);
  ThreadPool pool(options.compute.thread_count());
  const std::unique_ptr<Model> model = load_model(path, pool, options.speculation.load_options(options.compute));
  const GenerationDefaults defaults = generation_defaults(path);
  std::vector<std::int32_t> stops = defaults.eos_ids.empty() ? model->config().eos_ids : defaults.eos_ids;
  if (options.ignore_eos) stops.clear();
  Sampler sampler(options.sampling.resolve(defaults));
  Sequence sequence(*model, options.compute.kv_dtype(model->default_kv_dtype()));
  Runner runner(*model, pool);
  arm_interrupts();
  runner.set_interrupt(interrupted);

  std::vector<std::int32_t> generated;
  SpeculativeDecoder decoder(runner, sequence, make_drafter(runner), options.speculation.options());
  decoder.read(prompt, 0);
  if (options.max_tokens > 0) decoder.begin(sampler, prompt, options.max_tokens);
  while (static_cast<std::int64_t>(generated.size()) < options.max_tokens) {
    const std::int32_t id = decoder.next();
    generated.push_back(id);
    if (std::find(stops.begin(), stops.end(), id) != stops.end()) break;
    if (interrupted()) {
      exit_code = kExitInterrupted;
      break;
    }
  }
  if (options.json) {
    std::printf("%s\n", nlohmann::json{{"ids", generated}}.dump().c_str());
  } else {
    for (std::size_t i = 0; i < generated.size(); ++i) std::printf("%s%d", i == 0 ? "" : ",", generated[i]);
    std::printf("\n");
  }
}

}  // namespace

void add_generate_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Continue a list of token ids; prints the new ids");
  add_model_argument(*command, options->model);
  command->add_option("--ids", options->ids, "Token ids of the prompt, separated by commas")->required();
  command->add_option("--max-tokens", options->max_tokens, "Ids to generate at most")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 30))
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--ignore-eos", options->ignore_eos, "Go on after an end-of-text token");
  command->add_flag("--json", options->json, "Print {\"ids\":[…]}");
  add_sampling_options(*command, options->sampling);
  add_speculation_options(*command, options->speculation);
  add_compute_options(*command, options->compute);
  command->callback([options, &exit_code] { generate(*options, exit_code); });
}

}  // namespace sampan
