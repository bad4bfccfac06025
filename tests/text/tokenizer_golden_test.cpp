// Ids against Hugging Face tokenizers and tiktoken (tools/make_tokenizer_goldens.py golden).
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "text/gguf_tokenizer.h"
#include "text/nfc.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_test_util.h"

namespace sampan {
namespace {

using nlohmann::json;
using tokenizer_test::data_folder;
using tokenizer_test::Ids;
using tokenizer_test::read_lines;

struct Golden {
  std::string text;
  Ids parsed, plain;
};

Ids parse_ids(const std::string& text) {
  Ids ids;
  std::istringstream stream(text);
  for (std::int32_t id; stream >> id;) ids.push_back(id);
  return ids;
}

std::vector<Golden> read_goldens(const std::filesystem::path& texts,
                                 const std::filesystem::path& ids) {
  const auto text_lines = read_lines(texts);
  const auto id_lines = read_lines(ids);
  EXPECT_EQ(text_lines.size(), id_lines.size());
  std::vector<Golden> goldens;
  for (std::size_t i = 0; i < std::min(text_lines.size(), id_lines.size()); ++i) {
    const std::size_t bar = id_lines[i].find('|');
    Golden golden;
    golden.text = json::parse(text_lines[i]).get<std::string>();
    golden.parsed = parse_ids(id_lines[i].substr(0, bar));
    golden.plain =
        bar == std::string::npos ? golden.parsed : parse_ids(id_lines[i].substr(bar + 1));
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

json read_json(const std::filesystem::path& path) { return json::parse(std::ifstream(path)); }

const std::vector<Golden>& family_goldens(const std::string& family) {
  static std::map<std::string, std::vector<Golden>> all;
  auto& goldens = all[family];
  if (goldens.empty()) {
    goldens = read_goldens(data_folder() / "texts.jsonl", data_folder() / family / "ids.txt");
  }
  return goldens;
}

void expect_ids(const Tokenizer& tokenizer, const std::vector<Golden>& goldens, bool parsed) {
  ASSERT_GE(goldens.size(), 1000u);
  for (const Golden& golden : goldens) {
    EXPECT_EQ(tokenizer.encode(golden.text, SpecialTokens::kPlainText), golden.plain)
        << json(golden.text);
    if (parsed) {
      EXPECT_EQ(tokenizer.encode(golden.text), golden.parsed) << json(golden.text);
    }
  }
}

std::string family_name(const ::testing::TestParamInfo<const char*>& param) {
  std::string name = param.param;
  std::erase(name, '-');
  return name;
}

class TokenizerGolden : public ::testing::TestWithParam<const char*> {};
class TokenizerGoldenBytes : public ::testing::TestWithParam<const char*> {};
class TokenizerGoldenGguf : public ::testing::TestWithParam<const char*> {};

// "generic" has a pattern that removes text; Kimi's vocabulary is not in a tokenizer.json.
#define SAMPAN_JSON_FAMILIES                                                                      \
  "gpt-2", "llama-bpe", "qwen2", "qwen35", "llama4", "seed-coder", "deepseek-v3", "deepseek-llm", \
      "deepseek-coder"
INSTANTIATE_TEST_SUITE_P(Families, TokenizerGolden,
                         ::testing::Values(SAMPAN_JSON_FAMILIES, "kimi-k2", "generic"), family_name);
INSTANTIATE_TEST_SUITE_P(Families, TokenizerGoldenBytes,
                         ::testing::Values(SAMPAN_JSON_FAMILIES, "kimi-k2"), family_name);
INSTANTIATE_TEST_SUITE_P(Families, TokenizerGoldenGguf, ::testing::Values(SAMPAN_JSON_FAMILIES),
                         family_name);

TEST_P(TokenizerGolden, IdsEqualTheReference) {
  const auto tokenizer = load_tokenizer(data_folder() / GetParam());
  expect_ids(*tokenizer, family_goldens(GetParam()), true);
}

TEST_P(TokenizerGoldenBytes, AreRestoredByDecoding) {
  const std::string family = GetParam();
  const auto tokenizer = load_tokenizer(data_folder() / family);
  const bool nfc_family = family == "qwen2" || family == "qwen35";
  for (const Golden& golden : family_goldens(family)) {
    EXPECT_EQ(tokenizer->decode(golden.plain, false), nfc_family ? nfc(golden.text) : golden.text);
  }
}

// The same vocabulary as a GGUF file has it.
TEST_P(TokenizerGoldenGguf, MetadataGivesTheSameIds) {
  const std::string family = GetParam();
  const json file = read_json(data_folder() / family / "tokenizer.json");
  std::vector<std::string> tokens(file["model"]["vocab"].size() + file["added_tokens"].size()),
      merges;
  GgufTokenizerData data;
  data.model = "gpt2";
  data.pre = family;
  data.token_types.assign(tokens.size(), 1);
  for (const auto& [token, id] : file["model"]["vocab"].items())
    tokens[id.get<std::size_t>()] = token;
  for (const json& token : file["added_tokens"]) {
    tokens[token["id"].get<std::size_t>()] = token["content"];
    data.token_types[token["id"].get<std::size_t>()] = token["special"].get<bool>() ? 3 : 4;
  }
  for (const json& merge : file["model"]["merges"]) {
    merges.push_back(merge.is_string()
                         ? merge.get<std::string>()
                         : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  data.tokens.assign(tokens.begin(), tokens.end());
  data.merges.assign(merges.begin(), merges.end());
  const auto tokenizer = tokenizer_from_gguf(data);
  expect_ids(*tokenizer, family_goldens(family), false);
  EXPECT_EQ(tokenizer->encode("<|im_start|>").size(), 1u);
  EXPECT_TRUE(tokenizer->is_special(tokenizer->encode("<|im_start|>")[0]));
  EXPECT_FALSE(tokenizer->is_special(tokenizer->encode("<think>")[0]));
}

TEST(TokenizerGoldenFiles, VocabAndMergesOfQwen2GiveTheSameIds) {
  const json file = read_json(data_folder() / "qwen2/tokenizer.json");
  std::string merges = "#version: 0.2\n";
  for (const json& merge : file["model"]["merges"]) {
    merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  }
  const auto tokenizer = load_vocab_and_merges(file["model"]["vocab"].dump(), merges, {});
  expect_ids(*tokenizer, family_goldens("qwen2"), false);
}

// GGUF files of Kimi have ranks as ids too.
TEST(TokenizerGoldenFiles, GgufOfKimiUsesRanks) {
  const auto by_ranks = load_tokenizer(data_folder() / "kimi-k2");
  const json llama4 = read_json(data_folder() / "llama4/tokenizer.json");
  std::vector<std::string> tokens(llama4["model"]["vocab"].size());
  for (const auto& [token, id] : llama4["model"]["vocab"].items())
    tokens[id.get<std::size_t>()] = token;
  GgufTokenizerData data;
  data.model = "gpt2";
  data.pre = "kimi-k2";
  data.tokens.assign(tokens.begin(), tokens.end());
  const auto tokenizer = tokenizer_from_gguf(data);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("你好, world's 123"), false), "你好, world's 123");
  EXPECT_LT(tokenizer->encode(" the the").size(), 5u);
}

TEST(TokenizerGoldenFiles, Nano) {
  const auto tokenizer = load_tokenizer(std::filesystem::path(SAMPAN_SOURCE_DIR) / "models/nano");
  const auto goldens =
      read_goldens(data_folder() / "nano/texts.jsonl", data_folder() / "nano/ids.txt");
  EXPECT_GE(goldens.size(), 3000u);
  expect_ids(*tokenizer, goldens, true);
  EXPECT_EQ(tokenizer->vocab_size(), 4096u);
  EXPECT_EQ(tokenizer->eos_id(), 4089);
  EXPECT_EQ(tokenizer->token_id("<|im_start|>"), 4088);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->description(),
            "byte-level BPE, 4,096 tokens (9 added), 3,831 merges, qwen2 pattern, NFC");
}

}  // namespace
}  // namespace sampan
