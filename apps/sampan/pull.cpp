#include "hub/pull.h"

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "commands.h"
#include "hub/file_system.h"
#include "options.h"
#include "pull_progress.h"

namespace sampan {
namespace {

struct PullArguments {
  std::string model;
  std::vector<std::string> include;
  int connections = 4;
  bool check = false;
};

void print_result(const LocalModel& model, std::uint64_t network_bytes) {
  const Manifest& manifest = model.manifest;
  const std::string received = model.in_huggingface_cache || network_bytes == 0
                                   ? "was here already"
                                   : format_bytes(network_bytes) + " received";
  std::printf("%s at commit %s: %zu files, %s, %s\n", model.name.to_string().c_str(),
              manifest.commit.c_str(), manifest.files.size(),
              format_bytes(manifest.total_bytes()).c_str(), received.c_str());
  if (!manifest.license.empty()) std::printf("licence: %s\n", manifest.license.c_str());
  std::printf("%s\n", model.path.c_str());
}

void pull_and_report(const PullArguments& arguments) {
  PullProgressDisplay display;
  std::uint64_t network_bytes = 0;
  PullOptions options;
  options.settings = hub_settings_from_environment();
  options.include = arguments.include;
  options.connections = arguments.connections;
  options.recheck = arguments.check;
  options.cancel = interrupted;
  options.progress = [&](const PullProgress& progress) {
    network_bytes = progress.network_bytes;
    display.show(progress);
  };
  arm_interrupts();
  try {
    const LocalModel model = pull(parse_model_name(arguments.model), options);
    display.clear();
    print_result(model, network_bytes);
  } catch (const PullCancelled& error) {
    display.clear();
    std::fprintf(stderr, "sampan: %s\n", error.what());
    throw;
  }
}

}  // namespace

void add_pull_command(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand("pull", "Fetch a model from Hugging Face or ModelScope");
  auto arguments = std::make_shared<PullArguments>();
  command
      ->add_option("REPO", arguments->model,
                   "hf:ORG/NAME, ms:ORG/NAME (ModelScope) or ORG/NAME, each with an optional "
                   ":REVISION (branch, tag or commit)")
      ->required();
  command
      ->add_option("--include", arguments->include,
                   "Only files that match GLOB (may be repeated), such as '*Q4_K_M*'; default: "
                   "what a model needs")
      ->type_name("GLOB");
  command->add_option("--connections", arguments->connections, "Connections at once")
      ->check(CLI::Range(1, 32))
      ->capture_default_str()
      ->type_name("N");
  command->add_flag("--check", arguments->check,
                    "Read files that are here already again, and replace damaged ones");
  command->footer(
      "An interrupted pull continues when the same command runs again. Every file is verified by "
      "its digest.\n"
      "Environment: SAMPAN_HOME (where models are kept), HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, "
      "MODELSCOPE_API_TOKEN,\n"
      "MODELSCOPE_ENDPOINT, https_proxy.");
  command->callback([arguments] { pull_and_report(*arguments); });
}

}  // namespace sampan
