#include "hub/model_name.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sampan {
namespace {

TEST(ModelName, ReadsEveryForm) {
  const ModelName hf = parse_model_name("hf:Qwen/Qwen3-0.6B:v1.0");
  EXPECT_EQ(hf.hub, Hub::kHuggingFace);
  EXPECT_EQ(hf.repository(), "Qwen/Qwen3-0.6B");
  EXPECT_EQ(hf.revision, "v1.0");
  EXPECT_EQ(hf.to_string(), "hf:Qwen/Qwen3-0.6B:v1.0");
  EXPECT_EQ(parse_model_name("Qwen/Qwen3-0.6B").to_string(), "hf:Qwen/Qwen3-0.6B");
  EXPECT_EQ(parse_model_name("ms:a/b_c:refs/pr/1").to_string(), "ms:a/b_c:refs/pr/1");
  EXPECT_EQ(parse_model_name("hf:gpt2").repository(), "gpt2");
  EXPECT_EQ(parse_model_name("ms:a/b").revision_or_main(), "master");
  EXPECT_EQ(parse_model_name("a/b").revision_or_main(), "main");
}

TEST(ModelName, ReadsWebAddresses) {
  EXPECT_EQ(parse_model_name("https://huggingface.co/a/b").to_string(), "hf:a/b");
  EXPECT_EQ(parse_model_name("https://huggingface.co/a/b/tree/v1?x=1").to_string(), "hf:a/b:v1");
  EXPECT_EQ(parse_model_name("https://www.modelscope.cn/models/a/b/").to_string(), "ms:a/b");
}

TEST(ModelName, RefusesWhatIsNoName) {
  const std::string long_name(97, 'x');
  for (const std::string& text :
       {std::string(""), std::string("a"), std::string("ms:b"), std::string("a/b/c"),
        std::string("../b"), std::string("a/.."), std::string("a/.b"), std::string("-a/b"),
        std::string("a/b:"), std::string("a/b:../x"), std::string("a/b:x y"), std::string("a/b:/x"),
        std::string("a/b?x"), std::string("a b/c"), std::string("a/b\n"),
        std::string("https://example.org/a/b"), "a/" + long_name,
        "hf:a/b:" + std::string(300, 'r')}) {
    EXPECT_FALSE(try_parse_model_name(text)) << text;
    EXPECT_THROW(parse_model_name(text), Error) << text;
  }
}

}  // namespace
}  // namespace sampan
