// Every family and variant against transformers: logits and greedy continuations of tiny random checkpoints, from safetensors and
// from GGUF. tools/make_tiny_models.py and tools/make_tiny_ggufs.py make the files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/runner.h"
#include "engine/likeliest.h"
#include "models/golden.h"
#include "models/load.h"

namespace sampan {
namespace {

using testing::Golden;
using testing::GoldenPrompt;

constexpr double kTolerance = 2e-4;  // of max|logit|, with float weights

// Weights of block types are multiplied with 8-bit activations; these models' sharp attention makes their rounding 2 to 6 % of the
// logits' root mean square (a plain numpy model that rounds activations so gives the same), where a swapped nibble or a wrong scale gives
// 30 % and more.
constexpr double kBlockTolerance = 0.1;

// The same against transformers with activations rounded to 8 bits as well (tools/oracle/activations.py): what is left are activations
// that a last bit of a float tips over to the next code.
constexpr double kRoundedTolerance = 2e-3;

class Agreement {
 public:
  explicit Agreement(const std::filesystem::path& model)
      : pool_(2), model_(load_model(model, pool_)), runner_(*model_, pool_) {}

  std::vector<float> logits(const std::vector<std::int32_t>& ids) {
    Sequence sequence(*model_, DType::kF32);
    std::vector<float> all;
    runner_.prefill_all_logits(sequence, ids, [&](std::int64_t, std::span<const float> rows) {
      all.insert(all.end(), rows.begin(), rows.end());
    });
    return all;
  }

  std::vector<std::int32_t> continuation(const std::vector<std::int32_t>& ids, std::size_t count) {
    Sequence sequence(*model_, model_->default_kv_dtype());
    std::vector<std::int32_t> generated;
    std::span<const float> logits = runner_.prefill(sequence, ids);
    while (true) {
      generated.push_back(greedy(logits));
      if (generated.size() == count) return generated;
      logits = runner_.decode(sequence, generated.back());
    }
  }

 private:
  ThreadPool pool_;
  std::unique_ptr<Model> model_;
  Runner runner_;
};

struct Difference {
  double largest = 0;  // in units of max|logit|
  double rms = 0;      // in units of the logits' root mean square
};

Difference difference_from(const Golden& golden, const GoldenPrompt& prompt, const std::vector<float>& logits) {
  double largest = 0, squares = 0, golden_squares = 0;
  for (std::size_t i = 0; i < prompt.rows.size(); ++i) {
    const float* expected = golden.row(prompt, i);
    const float* actual = logits.data() + prompt.rows[i] * golden.vocab_size;
    for (std::int64_t j = 0; j < golden.vocab_size; ++j) {
      const double difference = static_cast<double>(expected[j]) - static_cast<double>(actual[j]);
      largest = std::isnan(difference) ? INFINITY : std::max(largest, std::abs(difference));
      squares += difference * difference;
      golden_squares += static_cast<double>(expected[j]) * static_cast<double>(expected[j]);
    }
  }
  return {largest / golden.max_abs_logit, std::sqrt(squares / golden_squares)};
}

void expect_rounded_agreement(const std::filesystem::path& model, const std::filesystem::path& golden_path) {
  const Golden golden = testing::read_golden(golden_path);
  Agreement agreement(model);
  for (const GoldenPrompt& prompt : golden.prompts) {
    const Difference difference = difference_from(golden, prompt, agreement.logits(prompt.ids));
    EXPECT_LE(difference.largest, kRoundedTolerance) << prompt.ids.size() << " tokens";
  }
}

void expect_agreement(const std::filesystem::path& model, const std::filesystem::path& golden_path, bool is_float) {
  const Golden golden = testing::read_golden(golden_path);
  Agreement agreement(model);
  for (const GoldenPrompt& prompt : golden.prompts) {
    const std::vector<float> logits = agreement.logits(prompt.ids);
    ASSERT_EQ(logits.size(), prompt.ids.size() * static_cast<std::size_t>(golden.vocab_size));
    const Difference difference = difference_from(golden, prompt, logits);
    if (!is_float) {
      EXPECT_LE(difference.rms, kBlockTolerance) << prompt.ids.size() << " tokens";
      continue;
    }
    EXPECT_LE(difference.largest, kTolerance) << prompt.ids.size() << " tokens";
    if (!prompt.greedy.empty()) {
      EXPECT_EQ(agreement.continuation(prompt.ids, prompt.greedy.size()), prompt.greedy) << prompt.ids.size() << " tokens";
    }
  }
}

class SafetensorsGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(SafetensorsGolden, AgreesWithTransformers) {
  const std::filesystem::path folder = testing::model_data(GetParam());
  expect_agreement(folder, folder / "golden.json", true);
}

INSTANTIATE_TEST_SUITE_P(TinyCheckpoints, SafetensorsGolden, ::testing::ValuesIn(testing::tiny_checkpoints()),
                         [](const auto& param_info) { return param_info.param; });

class GgufGolden : public ::testing::TestWithParam<testing::TinyGguf> {};

TEST_P(GgufGolden, AgreesWithTransformers) {
  const testing::TinyGguf& gguf = GetParam();
  const bool is_float = gguf.matrices == "F32" || gguf.matrices == "F16" || gguf.matrices == "BF16";
  expect_agreement(testing::model_data(gguf.file), testing::model_data(gguf.golden), is_float);
  ASSERT_EQ(gguf.rounded_golden.empty(), is_float);
  if (!is_float) expect_rounded_agreement(testing::model_data(gguf.file), testing::model_data(gguf.rounded_golden));
}

INSTANTIATE_TEST_SUITE_P(TinyGgufs, GgufGolden, ::testing::ValuesIn(testing::tiny_ggufs()), [](const auto& param_info) {
  std::string name = param_info.param.file;
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
  return name;
});

// Quantised safetensors as published (tools/make_tiny_quantized.py).
class QuantizedCheckpointGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(QuantizedCheckpointGolden, AgreesWithTransformers) {
  const std::filesystem::path folder = testing::quantized_model_data(GetParam());
  expect_agreement(folder, folder / "exact.golden.json", false);
  expect_rounded_agreement(folder, folder / "rounded.golden.json");
}

INSTANTIATE_TEST_SUITE_P(TinyQuantized, QuantizedCheckpointGolden,
                         ::testing::Values("deepseek_v3_fp8", "deepseek_v3_fp8_ue8m0", "kimi_k25_int4", "kimi_k2_int4", "qwen2_awq",
                                           "qwen2_gptq_act_order", "qwen2_gptq_asymmetric", "qwen3_awq", "qwen3_fp8",
                                           "qwen3_fp8_channels", "qwen3_fp8_tensors", "qwen3_gptq_int4", "qwen3_gptq_int8_v2",
                                           "qwen3_int8_channels", "qwen3_moe_packed_int8", "qwen3_mxfp4", "qwen3_packed_asymmetric"),
                         [](const auto& param_info) { return param_info.param; });

}  // namespace
}  // namespace sampan
