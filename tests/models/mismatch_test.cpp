// Weights that do not fit their configuration: every single tensor missing, and every matrix
// turned, is refused by name.
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/changed_checkpoint.h"
#include "models/load.h"

namespace sampan {
namespace {

using ::sampan::testing::ChangedCheckpoint;

const std::filesystem::path kModels = std::filesystem::path(SAMPAN_TEST_DATA) / "models";

class Mismatch : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path original() const { return kModels / GetParam(); }

  // What load_model says; "" when it takes the folder.
  std::string refusal(const std::filesystem::path& folder) {
    try {
      load_model(folder, pool_);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidData) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      return error.what();
    }
  }

  std::string refusal_of(const ChangedCheckpoint::Change& change) {
    return refusal(
        ChangedCheckpoint(original(), std::string("mismatch-") + GetParam(), change).folder());
  }

  std::vector<std::string> names() {
    std::vector<std::string> all;
    const ChangedCheckpoint same(original(), "names", [&](nlohmann::json& header, std::string&) {
      for (const auto& [name, tensor] : header.items()) {
        if (name != "__metadata__") all.push_back(name);
      }
    });
    return all;
  }

 private:
  ThreadPool pool_{1};
};

INSTANTIATE_TEST_SUITE_P(Families, Mismatch,
                         ::testing::Values("qwen2_moe", "qwen3_moe", "deepseek_v2_lite",
                                           "deepseek_v3"),
                         [](const auto& family) { return std::string(family.param); });

TEST_P(Mismatch, EveryMissingTensorIsNamed) {
  for (const std::string& name : names()) {
    const std::string says = refusal_of(
        [&](nlohmann::json& header, std::string&) { ChangedCheckpoint::hide(header, name); });
    EXPECT_NE(says.find(name), std::string::npos) << name << ": " << says;
  }
}

TEST_P(Mismatch, EveryTurnedMatrixIsNamedWithBothShapes) {
  int turned = 0;
  for (const std::string& name : names()) {
    std::string shape;
    const std::string says = refusal_of([&](nlohmann::json& header, std::string&) {
      nlohmann::json& dims = header[name]["shape"];
      if (dims.size() == 2 && dims[0] != dims[1]) {
        std::swap(dims[0], dims[1]);
        shape = std::to_string(dims[0].get<int>());
      }
    });
    if (shape.empty()) continue;
    ++turned;
    EXPECT_NE(says.find(name), std::string::npos) << name << ": " << says;
    EXPECT_NE(says.find(shape), std::string::npos) << name << ": " << says;
  }
  EXPECT_GT(turned, 20);
}

TEST_P(Mismatch, EveryShortVectorIsNamed) {
  for (const std::string& name : names()) {
    bool is_vector = false;
    const std::string says = refusal_of([&](nlohmann::json& header, std::string&) {
      nlohmann::json& tensor = header[name];
      is_vector = tensor["shape"].size() == 1;
      if (!is_vector) return;
      // The same bytes as (1, n): the count fits, the shape does not.
      tensor["shape"] = {tensor["shape"][0].get<int>() / 2, 2};
    });
    if (is_vector) {
      EXPECT_NE(says.find(name), std::string::npos) << name << ": " << says;
    }
  }
}

// Numbers of the configuration that the weights contradict.
TEST_P(Mismatch, AConfigurationOfAnotherModelIsRefused) {
  const bool latent = std::string(GetParam()).starts_with("deepseek");
  std::vector<const char*> keys = {"hidden_size", "moe_intermediate_size", "vocab_size"};
  for (const char* key :
       latent ? std::vector<const char*>{"kv_lora_rank", "qk_nope_head_dim", "v_head_dim"}
              : std::vector<const char*>{"num_key_value_heads"}) {
    keys.push_back(key);
  }
  for (const char* key : keys) {
    const ChangedCheckpoint copy(original(), std::string("config-") + GetParam(),
                                 [](nlohmann::json&, std::string&) {});
    std::ifstream in(copy.folder() / "config.json");
    nlohmann::json config = nlohmann::json::parse(in);
    ASSERT_TRUE(config.contains(key)) << key;
    config[key] = config[key].get<int>() * 2;
    std::ofstream(copy.folder() / "config.json") << config.dump();
    EXPECT_NE(refusal(copy.folder()), "") << key;
  }
}

}  // namespace
}  // namespace sampan
