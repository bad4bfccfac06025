#include "models/quantized_weights.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/json_object.h"

namespace sampan {
namespace {

namespace fs = std::filesystem;

QuantizationConfig config_of(const std::string& text) {
  const nlohmann::json root = nlohmann::json::parse(text);
  return quantization_config_from_json(JsonObject(root, "config.json"));
}

std::string message_of(const std::string& quantization_config) {
  try {
    config_of("{\"quantization_config\":" + quantization_config + "}");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The goldens of tools/make_quantized_goldens.py.
std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(SAMPAN_TEST_DATA "/quantized")) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class QuantizedGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(QuantizedGolden, IsReadAsItsMakerMeansIt) {
  const fs::path path = fs::path(SAMPAN_TEST_DATA) / "quantized" / (GetParam() + ".safetensors");
  const TensorFiles files = TensorFiles::open(path);
  ASSERT_EQ(files.safetensors_metadata().at(0).first, "config");
  const QuantizationConfig config = config_of(files.safetensors_metadata()[0].second);
  const TensorView expected = files.find_view("expected").value();
  const std::int64_t rows = expected.shape.at(0);
  const std::int64_t columns = expected.shape.at(1);
  const auto matrix = find_quantized(files, "layer.weight", rows, columns, config);
  ASSERT_TRUE(matrix.has_value());
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  matrix->dequantize_rows(0, rows, values.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    float want;
    std::memcpy(&want, expected.data + 4 * i, sizeof(want));
    ASSERT_EQ(values[i], want) << "element " << i;
  }
  // A part of the rows is the same.
  std::vector<float> part(static_cast<std::size_t>(3 * columns));
  matrix->dequantize_rows(4, 3, part.data());
  EXPECT_EQ(std::memcmp(part.data(), values.data() + 4 * columns, part.size() * 4), 0);
}

TEST_P(QuantizedGolden, OtherSizesAreRefused) {
  const fs::path path = fs::path(SAMPAN_TEST_DATA) / "quantized" / (GetParam() + ".safetensors");
  const TensorFiles files = TensorFiles::open(path);
  const QuantizationConfig config = config_of(files.safetensors_metadata()[0].second);
  const TensorView expected = files.find_view("expected").value();
  const std::int64_t rows = expected.shape.at(0);
  const std::int64_t columns = expected.shape.at(1);
  EXPECT_THROW(find_quantized(files, "layer.weight", rows + 8, columns, config), Error);
  EXPECT_THROW(find_quantized(files, "layer.weight", rows, columns + 32, config), Error);
  EXPECT_THROW(find_quantized(files, "layer.weight", rows, columns - 1, config), Error);
  EXPECT_FALSE(find_quantized(files, "other.weight", rows, columns, config).has_value());
  EXPECT_FALSE(find_quantized(files, "expected", rows, columns, config).has_value());
}

std::string golden_name(const ::testing::TestParamInfo<std::string>& info) { return info.param; }
INSTANTIATE_TEST_SUITE_P(Forms, QuantizedGolden, ::testing::ValuesIn(golden_names()), golden_name);

TEST(QuantizationConfig, OfPublishedModels) {
  EXPECT_EQ(config_of("{}").method, QuantizationMethod::kNone);
  const QuantizationConfig fp8 = config_of(R"({"quantization_config": {
      "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
      "weight_block_size": [128, 128]}})");
  EXPECT_EQ(fp8.method, QuantizationMethod::kFp8);
  EXPECT_EQ(fp8.block_rows, 128);
  EXPECT_EQ(fp8.block_columns, 128);
  const QuantizationConfig gptq = config_of(R"({"quantization_config": {
      "bits": 8, "group_size": 128, "damp_percent": 0.01, "desc_act": false, "static_groups": false,
      "sym": true, "true_sequential": true, "model_name_or_path": null,
      "model_file_base_name": "model", "quant_method": "gptq"}})");
  EXPECT_EQ(gptq.method, QuantizationMethod::kGptq);
  EXPECT_EQ(gptq.bits, 8);
  EXPECT_EQ(gptq.group_size, 128);
  EXPECT_TRUE(gptq.zeros_less_one);
  EXPECT_TRUE(gptq.uniform);
  const QuantizationConfig awq = config_of(R"({"quantization_config": {
      "bits": 4, "group_size": 128, "modules_to_not_convert": null, "quant_method": "awq",
      "version": "gemm", "zero_point": true}})");
  EXPECT_EQ(awq.method, QuantizationMethod::kAwq);
  const QuantizationConfig k2 = config_of(R"({"quantization_config": {"config_groups": {"group_0": {
      "input_activations": null, "output_activations": null, "targets": ["Linear"], "weights": {
      "actorder": null, "block_structure": null, "dynamic": false, "group_size": 32, "num_bits": 4,
      "observer": "minmax", "observer_kwargs": {}, "strategy": "group", "symmetric": true,
      "type": "int"}}}, "format": "pack-quantized", "ignore": ["lm_head"], "kv_cache_scheme": null,
      "quant_method": "compressed-tensors", "quantization_status": "compressed"}})");
  EXPECT_EQ(k2.method, QuantizationMethod::kCompressedTensors);
  ASSERT_EQ(k2.schemes.size(), 1u);
  EXPECT_EQ(k2.schemes[0].bits, 4);
  EXPECT_EQ(k2.schemes[0].group_size, 32);
  EXPECT_FALSE(k2.schemes[0].is_float);
}

TEST(QuantizationConfig, OtherFormsAreNamed) {
  EXPECT_EQ(message_of(R"({"quant_method": "bitsandbytes"})"),
            "config.json: quantization_config: quant_method \"bitsandbytes\" is not read by this "
            "version (fp8, gptq, awq and compressed-tensors are)");
  EXPECT_EQ(message_of(R"({"quant_method": "gptq", "bits": 3, "group_size": 128})"),
            "config.json: quantization_config: bits \"3\" is not read by this version (4 and 8 "
            "are)");
  EXPECT_EQ(message_of(R"({"quant_method": "gptq", "bits": 4, "group_size": 0})"),
            "config.json: quantization_config: group_size is 0");
  for (
      const char* refused : {
          R"({})",
          R"({"quant_method": "fp8", "fmt": "e5m2"})",
          R"({"quant_method": "fp8", "weight_block_size": [128]})",
          R"({"quant_method": "fp8", "weight_block_size": [0, 128]})",
          R"({"quant_method": "gptq", "bits": 4, "group_size": 128, "checkpoint_format": "marlin"})",
          R"({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv"})",
          R"({"quant_method": "awq", "bits": 8, "group_size": 128})",
          R"({"quant_method": "compressed-tensors"})",
          R"({"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized",
               "config_groups": {}})",
          R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": null}}})",
          R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights":
               {"num_bits": 2, "type": "int", "strategy": "channel"}}}})",
          R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights":
               {"num_bits": 8, "type": "float", "strategy": "block"}}}})",
          R"({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights":
               {"num_bits": 8, "type": "int", "strategy": "token"}}}})",
          R"({"quant_method": "compressed-tensors", "config_groups": {},
               "sparsity_config": {"format": "sparse-24-bitmask"}})",
      }) {
    EXPECT_NE(message_of(refused), "no error") << refused;
  }
}

// A file of tensors of zeros beside each other: dtype, shape, bytes an element.
class SmallFile {
 public:
  void add(const std::string& name, const std::string& dtype, const std::vector<int>& shape,
           std::size_t element_bytes) {
    std::size_t bytes = element_bytes;
    for (const int size : shape) bytes *= static_cast<std::size_t>(size);
    header_[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {size_, size_ + bytes}}};
    size_ += bytes;
  }
  TensorFiles open() const {
    const fs::path path =
        fs::temp_directory_path() / ("quantized_" + std::to_string(::getpid()) + ".safetensors");
    std::string text = header_.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t length = text.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), 8);
    file << text << std::string(size_, '\0');
    file.close();
    TensorFiles files = TensorFiles::open(path);
    fs::remove(path);
    return files;
  }
  std::string message(const std::string& config) const {
    const TensorFiles files = open();
    try {
      const auto found = find_quantized(files, "w.weight", 64, 128, config_of(config));
      return found ? found->description() : "nothing";
    } catch (const Error& error) {
      return error.what();
    }
  }

 private:
  nlohmann::json header_;
  std::size_t size_ = 0;
};

constexpr char kFp8Config[] =
    R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [32, 64]}})";
constexpr char kGptqConfig[] =
    R"({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 64}})";
constexpr char kInt4Config[] = R"({"quantization_config": {"quant_method": "compressed-tensors",
    "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int", "strategy": "group",
    "group_size": 32}}}}})";

TEST(FindQuantized, ErrorsNameTheTensorAndBothNumbers) {
  SmallFile fp8;
  fp8.add("w.weight", "F8_E4M3", {64, 128}, 1);
  EXPECT_EQ(fp8.message(kFp8Config), "tensor w.weight is quantised, but w.weight_scale is missing");
  fp8.add("w.weight_scale_inv", "F32", {2, 3}, 4);
  EXPECT_EQ(fp8.message(kFp8Config), "tensor w.weight: scales have shape [2, 3], [2, 2] expected");

  SmallFile gptq;
  gptq.add("w.qweight", "I32", {16, 64}, 4);
  EXPECT_EQ(gptq.message(kFp8Config),
            "tensor w.weight lies there as qweight, but config.json's quant_method is not gptq or "
            "awq");
  EXPECT_EQ(gptq.message(kGptqConfig), "tensor w.weight is quantised, but w.qzeros is missing");
  gptq.add("w.qzeros", "I32", {2, 8}, 4);
  gptq.add("w.scales", "F16", {4, 64}, 2);
  EXPECT_EQ(gptq.message(kGptqConfig),
            "tensor w.weight: scales have shape [4, 64], [2, 64] expected");

  SmallFile packed;
  packed.add("w.weight_packed", "I32", {64, 16}, 4);
  packed.add("w.weight_scale", "BF16", {64, 2}, 2);
  EXPECT_EQ(packed.message(kInt4Config),
            "tensor w.weight: 4 bit integers in groups of 64, config.json says 4 bit integers in "
            "groups of 32");
  packed.add("w.weight_shape", "I64", {2}, 8);
  EXPECT_EQ(packed.message(kInt4Config),
            "tensor w.weight: its weight_shape is [0, 0], [64, 128] expected");
  packed.add("w.weight_global_scale", "F32", {1}, 4);
  EXPECT_EQ(packed.message(kInt4Config),
            "tensor w.weight: NVFP4 is not read by this version (INT4, INT8, FP8 and MXFP4 are)");

  SmallFile other;
  other.add("w.weight", "F8_E5M2", {64, 128}, 1);
  EXPECT_EQ(other.message(kFp8Config),
            "tensor w.weight: F8_E5M2 is not read by this version (F8_E4M3 is)");
  SmallFile plain;
  plain.add("w.weight", "BF16", {64, 128}, 2);
  EXPECT_EQ(plain.message(kFp8Config), "nothing");
}

TEST(FindQuantized, MixedGptqGoesByTheTensors) {
  SmallFile file;
  file.add("w.qweight", "I32", {32, 64}, 4);
  file.add("w.qzeros", "I32", {4, 16}, 4);
  file.add("w.scales", "F16", {4, 64}, 2);
  EXPECT_EQ(file.message(R"({"quantization_config": {"quant_method": "gptq", "bits": 4,
                            "group_size": 64, "dynamic": {"w": {"bits": 8}}}})"),
            "GPTQ 8 bit in groups of 32");
}

}  // namespace
}  // namespace sampan
