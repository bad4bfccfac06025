#include "models/golden.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace sampan::testing {
namespace {

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + path.string());
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

}  // namespace

std::filesystem::path model_data(const std::string& name) {
  return std::filesystem::path(SAMPAN_TEST_DATA) / "models" / name;
}

std::filesystem::path quantized_model_data(const std::string& name) {
  return std::filesystem::path(SAMPAN_TEST_DATA) / "quantized_models" / name;
}

Golden read_golden(const std::filesystem::path& path) {
  const nlohmann::json json = nlohmann::json::parse(read_bytes(path));
  Golden golden;
  golden.vocab_size = json.at("vocab_size").get<std::int64_t>();
  golden.max_abs_logit = json.at("max_abs_logit").get<double>();
  const std::string bytes = read_bytes(path.parent_path() / json.at("logits_file").get<std::string>());
  golden.logits.resize(bytes.size() / sizeof(float));
  std::memcpy(golden.logits.data(), bytes.data(), bytes.size());
  for (const nlohmann::json& item : json.at("prompts")) {
    GoldenPrompt prompt;
    prompt.ids = item.at("ids").get<std::vector<std::int32_t>>();
    prompt.rows = item.at("rows").get<std::vector<std::int64_t>>();
    prompt.first_row = item.at("first_row").get<std::int64_t>();
    prompt.greedy = item.value("greedy", std::vector<std::int32_t>{});
    golden.prompts.push_back(std::move(prompt));
  }
  return golden;
}

std::vector<std::string> tiny_checkpoints() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(model_data(""))) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<TinyGguf> tiny_ggufs() {
  const nlohmann::json json = nlohmann::json::parse(read_bytes(model_data("ggufs.json")));
  std::vector<TinyGguf> ggufs;
  for (const nlohmann::json& item : json.at("ggufs")) {
    TinyGguf gguf;
    gguf.file = item.at("file").get<std::string>();
    gguf.golden = item.at("golden").get<std::string>();
    gguf.checkpoint = item.at("checkpoint").is_null() ? "" : item.at("checkpoint").get<std::string>();
    gguf.matrices = item.at("matrices").get<std::string>();
    gguf.rounded_golden = item.value("rounded_golden", "");
    ggufs.push_back(std::move(gguf));
  }
  return ggufs;
}

}  // namespace sampan::testing
