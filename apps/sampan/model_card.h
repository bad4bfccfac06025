#pragma once

#include <filesystem>
#include <string>

#include "formats/tensor_file.h"

namespace sampan {

// What a model's files say of themselves, for people. Everything may be empty; nothing is trusted.
struct ModelCard {
  std::string name, license, source;
};

// From GGUF's general.* keys, the front matter of README.md, and the manifest that `sampan pull` writes.
ModelCard read_model_card(const std::filesystem::path& model, const TensorFiles& files);

}  // namespace sampan
