#include "model_card.h"

#include "base/error.h"
#include "base/mapped_file.h"
#include "hub/manifest.h"

namespace sampan {
namespace {

// "key: value" of the YAML front matter between two lines of "---" at a README's start; values that are lists or blocks are left out.
std::string front_matter_value(const std::string& text, const std::string& key) {
  if (!text.starts_with("---\n")) return "";
  const std::size_t end = text.find("\n---", 4);
  if (end == std::string::npos) return "";
  const std::size_t at = text.find("\n" + key + ":");
  if (at == std::string::npos || at > end) return "";
  const std::size_t begin = at + key.size() + 2;
  std::string value = text.substr(begin, text.find('\n', begin) - begin);
  const std::size_t first = value.find_first_not_of(" \"'");
  if (first == std::string::npos) return "";
  return value.substr(first, value.find_last_not_of(" \"'\r") - first + 1);
}

}  // namespace

ModelCard read_model_card(const std::filesystem::path& model, const TensorFiles& files) {
  ModelCard card;
  if (const GgufFile* gguf = files.gguf(); gguf != nullptr) {
    card.name = gguf->find_string("general.name").value_or("");
    card.license = gguf->find_string("general.license").value_or("");
  }
  const std::filesystem::path folder = std::filesystem::is_directory(model) ? model : model.parent_path();
  std::error_code ignored;
  if (card.license.empty() && std::filesystem::exists(folder / "README.md", ignored)) {
    card.license = front_matter_value(read_file(folder / "README.md", 16 << 20), "license");
  }
  if (std::filesystem::exists(folder / ".sampan-manifest.json", ignored)) {
    const Manifest manifest = manifest_from_json(read_file(folder / ".sampan-manifest.json", 64 << 20), "manifest");
    if (card.license.empty()) card.license = manifest.license;
    card.source = fmt::format("{} at commit {}, pulled {}", manifest.name.to_string(), manifest.commit, manifest.pulled_at);
  }
  return card;
}

}  // namespace sampan
