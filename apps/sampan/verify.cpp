#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "commands.h"
#include "hub/file_system.h"
#include "hub/model_store.h"
#include "options.h"
#include "progress_line.h"

namespace sampan {
namespace {

std::optional<ModelName> name_to_verify(const ModelStore& store, const std::string& text) {
  if (text.empty()) return std::nullopt;
  if (const auto model = store.resolve(text)) return model->name;
  fail(ErrorCode::kNotFound, "{}: not in the local store (`sampan list` shows what is)",
       printable(text, 200));
}

void print_bad_file(const BadFile& file) {
  if (file.path.empty()) {
    std::printf("BAD  %s\n", file.problem.c_str());
  } else {
    std::printf("BAD  %s  %s: %s\n", file.name.to_string().c_str(), file.path.c_str(),
                file.problem.c_str());
  }
}

int verify_and_report(const std::string& text) {
  const ModelStore store(hub_settings_from_environment());
  ProgressLine line;
  arm_interrupts();
  const VerifyReport report =
      store.verify(name_to_verify(store, text), [&](const VerifyProgress& progress) {
        if (interrupted()) throw Error(ErrorCode::kCancelled, "interrupted");
        line.show("{} of {} read  {}", format_bytes(progress.done_bytes),
                  format_bytes(progress.total_bytes), printable(progress.file, 40));
      });
  line.clear();
  for (const BadFile& file : report.bad) print_bad_file(file);
  std::printf("%zu models, %zu files, %s: %s\n", report.models, report.files,
              format_bytes(report.bytes).c_str(),
              report.bad.empty() ? "all as their manifests say"
                                 : fmt::format("{} bad", report.bad.size()).c_str());
  if (report.bad.empty()) return 0;
  std::fprintf(stderr, "sampan: %zu bad files; `sampan pull --check NAME` fetches them again\n",
               report.bad.size());
  return kExitWorld;
}

}  // namespace

void add_verify_command(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("verify", "Read models again and compare them with their manifests");
  auto name = std::make_shared<std::string>();
  command->add_option("MODEL", *name,
                      "A name as `sampan list` shows it; default: all that Sampan pulled");
  command->callback([name, &exit_code] { exit_code = verify_and_report(*name); });
}

}  // namespace sampan
