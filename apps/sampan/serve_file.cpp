#include "serve_file.h"

#include <toml++/toml.h>

#include "base/error.h"
#include "base/mapped_file.h"

namespace sampan {
namespace {

[[noreturn]] void refuse(const std::string& path, const toml::node& node, const std::string& what) {
  fail(ErrorCode::kInvalidData, "{}:{}: {}", path, node.source().begin.line, what);
}

std::string scalar(const std::string& path, const toml::node& node) {
  if (const auto text = node.value<std::string>()) return *text;
  if (node.is_boolean()) return *node.value<bool>() ? "yes" : "no";
  if (node.is_integer()) return std::to_string(*node.value<std::int64_t>());
  refuse(path, node, "a text, a whole number or true/false is expected");
}

std::vector<std::string> values(const std::string& path, const toml::node& node) {
  if (!node.is_array()) return {scalar(path, node)};
  std::vector<std::string> list;
  for (const toml::node& item : *node.as_array()) list.push_back(scalar(path, item));
  return list;
}

ModelTable model_table(const std::string& path, const toml::node& node) {
  const toml::table* table = node.as_table();
  if (table == nullptr) refuse(path, node, "model is a [[model]] table");
  ModelTable model;
  const std::map<std::string, std::string*> texts = {
      {"name", &model.name}, {"model", &model.model}, {"kv_type", &model.kv_type}, {"kv_memory", &model.kv_memory}, {"keep_alive", &model.keep_alive}};
  for (const auto& [key, value] : *table) {
    const std::string name(key.str());
    if (name == "aliases") {
      model.aliases = values(path, value);
    } else if (const auto text = texts.find(name); text != texts.end()) {
      *text->second = scalar(path, value);
    } else {
      refuse(path, value, fmt::format("a [[model]] has no setting \"{}\"", printable(name)));
    }
  }
  return model;
}

}  // namespace

ServeFile read_serve_file(const std::string& path) {
  const std::string text = read_file(path, 1 << 20);
  const std::string shown = printable(path, 200);
  try {
    const toml::table root = toml::parse(text);
    ServeFile file;
    for (const auto& [key, value] : root) {
      const std::string name(key.str());
      if (name != "model") {
        file.settings[name] = values(shown, value);
        continue;
      }
      if (!value.is_array()) refuse(shown, value, "models are [[model]] tables");
      for (const toml::node& item : *value.as_array()) file.models.push_back(model_table(shown, item));
    }
    return file;
  } catch (const toml::parse_error& error) {
    fail(ErrorCode::kInvalidData, "{}:{}: {}", shown, error.source().begin.line, std::string(error.description()));
  }
}

}  // namespace sampan
