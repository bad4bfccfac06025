#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sampan::testing {

// What transformers answered for a checkpoint (tools/oracle/goldens.py describes the file).
struct GoldenPrompt {
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> rows;  // positions whose logits are stored
  std::int64_t first_row = 0;      // where they start in Golden::logits, in rows
  std::vector<std::int32_t> greedy;
};

struct Golden {
  std::int64_t vocab_size = 0;
  double max_abs_logit = 0;
  std::vector<float> logits;
  std::vector<GoldenPrompt> prompts;

  const float* row(const GoldenPrompt& prompt, std::size_t i) const {
    return logits.data() + (prompt.first_row + static_cast<std::int64_t>(i)) * vocab_size;
  }
};

Golden read_golden(const std::filesystem::path& json);

std::filesystem::path model_data(const std::string& name);            // tests/data/models/<name>
std::filesystem::path quantized_model_data(const std::string& name);  // tests/data/quantized_models/<name>

// Names of the checkpoint folders there.
std::vector<std::string> tiny_checkpoints();

struct TinyGguf {
  std::string file, golden, checkpoint, matrices;  // checkpoint is empty when the golden is the file's own
  std::string rounded_golden;  // of block types: with activations rounded to 8 bits as ours are; else empty
};
std::vector<TinyGguf> tiny_ggufs();

}  // namespace sampan::testing
