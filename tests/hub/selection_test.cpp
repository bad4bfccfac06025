#include "hub/selection.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sampan {
namespace {

std::vector<RepoFile> listing(const std::vector<std::string>& paths) {
  std::vector<RepoFile> files;
  for (const std::string& path : paths) files.push_back({path, 1000, std::string(64, 'a'), ""});
  return files;
}

std::vector<std::string> selected(const std::vector<std::string>& paths,
                                  const std::vector<std::string>& include = {}) {
  std::vector<std::string> out;
  for (const RepoFile& file : select_files(listing(paths), include)) out.push_back(file.path);
  return out;
}

using Paths = std::vector<std::string>;

TEST(Selection, Globs) {
  EXPECT_TRUE(glob_match("*.gguf", "a/b.gguf"));
  EXPECT_TRUE(glob_match("a?c*", "abcdef"));
  EXPECT_TRUE(glob_match("[a-c][!x]", "by"));
  EXPECT_FALSE(glob_match("[a-c][!x]", "bx"));
  EXPECT_TRUE(glob_match("[]x]", "]"));
  EXPECT_TRUE(glob_match("[a", "[a"));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_TRUE(glob_match("**", ""));
  EXPECT_FALSE(glob_match("a*b", "ac"));
  // Quadratic at worst: this would not end were it exponential.
  EXPECT_FALSE(glob_match("*a*a*a*a*a*a*a*a*a*a*b", std::string(2000, 'a')));
}

TEST(Selection, SafetensorsLeaveOtherFormatsOut) {
  EXPECT_EQ(selected({".gitattributes", "LICENSE", "README.md", "config.json",
                      "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                      "model.safetensors.index.json", "modeling_x.py", "logo.PNG",
                      "original/consolidated.00.pth", "original/model.safetensors",
                      "pytorch_model.bin", "model.onnx", "onnx/model.onnx",
                      "consolidated.safetensors", "x-q4.gguf", "tokenizer.json", "tf_model.h5"}),
            (Paths{"LICENSE", "README.md", "config.json", "model-00001-of-00002.safetensors",
                   "model-00002-of-00002.safetensors", "model.safetensors.index.json",
                   "tokenizer.json"}));
}

TEST(Selection, OneGgufModelWithItsShards) {
  EXPECT_EQ(
      selected({"README.md", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "mmproj-f16.gguf"}),
      (Paths{"README.md", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}));
}

TEST(Selection, SeveralGgufModelsAreAQuestion) {
  try {
    selected(
        {"m-Q4_K_M.gguf", "Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "2 GGUF models to choose from; name one with --include '*NAME*': Q8_0/m-Q8_0 (2.00 "
              "kB), m-Q4_K_M (1.00 kB)");
  }
  EXPECT_EQ(selected({"m-Q4_K_M.gguf", "m-Q8_0.gguf", "config.json"}, {"*Q4_K_M*"}),
            (Paths{"m-Q4_K_M.gguf"}));
}

TEST(Selection, IncludeMatchesPathsAndNames) {
  EXPECT_EQ(selected({"a/x.json", "b/x.json", "y.bin"}, {"x.json"}),
            (Paths{"a/x.json", "b/x.json"}));
  EXPECT_EQ(selected({"a/x.json", "b/x.json", "y.bin"}, {"a/*", "*.bin"}),
            (Paths{"a/x.json", "y.bin"}));
  EXPECT_THROW(selected({"a"}, {"a", "b"}), Error);
}

TEST(Selection, OnlyPickleIsRefused) {
  try {
    selected({"config.json", "pytorch_model.bin"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
  EXPECT_EQ(selected({"config.json", "tokenizer.json"}), (Paths{"config.json", "tokenizer.json"}));
}

}  // namespace
}  // namespace sampan
