#include <cstdio>
#include <memory>
#include <string>

#include "base/error.h"
#include "commands.h"
#include "hub/file_system.h"
#include "hub/model_store.h"

namespace sampan {
namespace {

void remove_and_report(const std::string& text) {
  const ModelStore store(hub_settings_from_environment());
  // A bare name or a ModelScope model by its org/name is resolved as everywhere else; a pull that
  // was interrupted is no model yet and goes by its full name.
  const auto found = store.resolve(text);
  const ModelName name = found ? found->name : parse_model_name(text);
  const RemoveReport report = store.remove(name);
  std::printf("%s: removed, %s freed\n", name.to_string().c_str(),
              format_bytes(report.freed_bytes).c_str());
  if (report.blobs_kept) {
    std::printf(
        "Another pull is under way; the contents are cleared away by the next `sampan rm` after "
        "it.\n");
  }
}

}  // namespace

void add_rm_command(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand("rm", "Remove a model from this machine");
  auto name = std::make_shared<std::string>();
  command
      ->add_option("MODEL", *name,
                   "A name as `sampan list` shows it; with :REVISION only that commit, else all "
                   "commits of the model")
      ->required();
  command->callback([name] { remove_and_report(*name); });
}

}  // namespace sampan
