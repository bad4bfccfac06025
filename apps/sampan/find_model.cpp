#include "base/error.h"
#include "hub/model_store.h"
#include "hub/settings.h"
#include "options.h"

namespace sampan {
namespace {

// Models that ship with the program lie in ../share/sampan/models beside an installed one, else in the checkout it was built from.
std::optional<std::filesystem::path> find_shipped(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos || name.front() == '.') return std::nullopt;
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  for (const std::filesystem::path& folder :
       {program.parent_path() / "../share/sampan/models", std::filesystem::path(SAMPAN_SHIPPED_MODELS)}) {
    if (std::filesystem::is_directory(folder / name, ignored)) return folder / name;
  }
  return std::nullopt;
}

}  // namespace

std::filesystem::path find_model(const std::string& name) {
  std::error_code ignored;
  if (std::filesystem::exists(name, ignored)) return name;
  if (const auto shipped = find_shipped(name); shipped) return *shipped;
  const ModelStore store(hub_settings_from_environment());
  if (const std::optional<LocalModel> model = store.resolve(name); model) return model->path;
  fail(ErrorCode::kNotFound,
       "{}: no such file or folder, and no model of that name on this machine (`sampan list` shows those that are, `sampan pull {}` fetches it)",
       printable(name, 200), printable(name, 200));
}

}  // namespace sampan
