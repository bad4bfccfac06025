#pragma once

#include <map>
#include <string>
#include <vector>

namespace sampan {

// A [[model]] of the file, as written.
struct ModelTable {
  std::string name, model, kv_type, kv_memory, keep_alive;
  std::vector<std::string> aliases;
};

// The TOML file of `sampan serve --config`, as written: values as texts, lists as several.
struct ServeFile {
  std::map<std::string, std::vector<std::string>> settings;
  std::vector<ModelTable> models;
};

// Throws Error kInvalidData "FILE:LINE: …".
ServeFile read_serve_file(const std::string& path);

}  // namespace sampan
