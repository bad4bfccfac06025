#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "commands.h"
#include "hub/file_system.h"
#include "hub/model_store.h"

namespace sampan {
namespace {

using Row = std::vector<std::string>;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

std::string name_of(const StoreEntry& entry) {
  ModelName name = entry.model.name;
  name.revision.clear();
  return name.to_string();
}

std::string place_of(const StoreEntry& entry) {
  if (!entry.is_complete) return "incomplete, pull again to continue";
  return entry.model.in_huggingface_cache ? "Hugging Face cache" : "";
}

Row row_of(const StoreEntry& entry) {
  const Manifest& manifest = entry.model.manifest;
  return {name_of(entry),
          format_bytes(manifest.total_bytes()),
          std::string(hub_title(entry.model.name.hub)),
          manifest.commit.substr(0, 12),
          joined(entry.refs),
          manifest.pulled_at.substr(0, 10),
          place_of(entry)};
}

void print_table(const std::vector<StoreEntry>& entries) {
  std::vector<Row> rows = {{"NAME", "SIZE", "SOURCE", "COMMIT", "REVISION", "DATE", ""}};
  for (const StoreEntry& entry : entries) rows.push_back(row_of(entry));
  std::vector<std::size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  }
}

nlohmann::ordered_json to_json(const StoreEntry& entry) {
  const Manifest& manifest = entry.model.manifest;
  nlohmann::ordered_json value;
  value["name"] = name_of(entry);
  value["source"] = hub_prefix(entry.model.name.hub);
  value["repository"] = entry.model.name.repository();
  value["commit"] = manifest.commit;
  value["refs"] = entry.refs;
  value["bytes"] = manifest.total_bytes();
  value["files"] = manifest.files.size();
  value["license"] = manifest.license;
  value["pulled_at"] = manifest.pulled_at;
  value["path"] = entry.model.path.string();
  value["complete"] = entry.is_complete;
  value["in_huggingface_cache"] = entry.model.in_huggingface_cache;
  return value;
}

void print_list(bool as_json) {
  std::vector<std::string> problems;
  const auto entries = ModelStore(hub_settings_from_environment()).list(&problems);
  for (const std::string& problem : problems)
    std::fprintf(stderr, "sampan: skipped: %s\n", problem.c_str());
  if (as_json) {
    auto all = nlohmann::ordered_json::array();
    for (const StoreEntry& entry : entries) all.push_back(to_json(entry));
    std::printf("%s\n",
                all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  } else if (entries.empty()) {
    std::printf("No models here yet; `sampan pull hf:Qwen/Qwen3-0.6B` fetches one.\n");
  } else {
    print_table(entries);
  }
}

}  // namespace

void add_list_command(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand("list", "List the models on this machine");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print a JSON array");
  command->callback([as_json] { print_list(*as_json); });
}

}  // namespace sampan
