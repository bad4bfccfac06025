// What the loaders read, refuse and say.
#include "text/tokenizer_files.h"

#include <gtest/gtest.h>

#include "text/gguf_tokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_test_models.h"
#include "text/tokenizer_test_util.h"

namespace sampan {
namespace {

using nlohmann::json;
using tokenizer_test::added_token;
using tokenizer_test::byte_model;
using tokenizer_test::expect_error;
using tokenizer_test::Ids;
using tokenizer_test::load;

void expect_refused(ErrorCode code, std::string_view part, const json& file) {
  SCOPED_TRACE(part);
  expect_error(code, part, [&] { load(file); });
}

TEST(TokenizerJson, RefusesOtherModelsAndComponents) {
  const auto with = [](const char* key, const json& value) {
    json file = byte_model();
    file[key] = value;
    return file;
  };
  const auto unsupported = ErrorCode::kUnsupported;
  for (const char* type : {"Unigram", "WordPiece", "WordLevel"}) {
    json file = byte_model();
    file["model"]["type"] = type;
    expect_refused(unsupported, type, file);
  }
  for (const char* type : {"NFKC", "Lowercase", "Replace", "Precompiled"}) {
    expect_refused(unsupported, type, with("normalizer", {{"type", type}}));
  }
  for (const char* type : {"Metaspace", "Whitespace", "BertPreTokenizer"}) {
    expect_refused(unsupported, type, with("pre_tokenizer", {{"type", type}}));
  }
  expect_refused(unsupported, "byte-level", with("pre_tokenizer", nullptr));
  expect_refused(unsupported, "byte-level", with("pre_tokenizer", {{"type", "Digits"}}));
  expect_refused(
      unsupported, "Digits",
      with("pre_tokenizer", {{"type", "Sequence"},
                             {"pretokenizers", {{{"type", "ByteLevel"}}, {{"type", "Digits"}}}}}));
  expect_refused(unsupported, "WordPiece", with("decoder", {{"type", "WordPiece"}}));
  expect_refused(unsupported, "byte-level", with("decoder", {{"type", "Fuse"}}));
  expect_refused(unsupported, "BertProcessing",
                 with("post_processor", {{"type", "BertProcessing"}}));
  const std::pair<const char*, json> options[] = {{"byte_fallback", true},
                                                  {"end_of_word_suffix", "</w>"},
                                                  {"continuing_subword_prefix", "##"},
                                                  {"dropout", 0.1}};
  for (const auto& [key, value] : options) {
    json file = byte_model();
    file["model"][key] = value;
    expect_refused(unsupported, key, file);
    file["model"][key] = nullptr;
    load(file);
  }
}

TEST(TokenizerJson, RefusesBrokenFiles) {
  const auto invalid = ErrorCode::kInvalidData;
  for (const char* text : {"", "{", "[]", "3", "{\"model\":3}", "{}",
                           "{\"model\":{\"type\":\"BPE\"}}", "\xFF", "{\"a\":\"\\ud800\"}"}) {
    SCOPED_TRACE(text);
    expect_error(invalid, "tokenizer.json", [&] { load_tokenizer_json(text); });
  }
  const auto broken = [](auto change) {
    json file = byte_model(json::array({added_token("<s>", 300)}));
    change(file);
    return file;
  };
  expect_refused(invalid, "merge",
                 broken([](json& f) { f["model"]["merges"].push_back("a b c"); }));
  expect_refused(invalid, "merge", broken([](json& f) { f["model"]["merges"].push_back("ab"); }));
  expect_refused(invalid, "merge", broken([](json& f) { f["model"]["merges"].push_back({"a"}); }));
  expect_refused(invalid, "not in the vocabulary",
                 broken([](json& f) { f["model"]["merges"].push_back("x y"); }));
  expect_refused(invalid, "not in the vocabulary",
                 broken([](json& f) { f["model"]["merges"].push_back("中 a"); }));
  expect_refused(invalid, "same id 5", broken([](json& f) { f["model"]["vocab"]["zz"] = 5; }));
  expect_refused(invalid, "-1", broken([](json& f) { f["model"]["vocab"]["zz"] = -1; }));
  expect_refused(invalid, "too large",
                 broken([](json& f) { f["model"]["vocab"]["zz"] = 4000000000; }));
  expect_refused(invalid, "integer", broken([](json& f) { f["model"]["vocab"]["zz"] = "5"; }));
  expect_refused(invalid, "too large",
                 broken([](json& f) { f["added_tokens"][0]["id"] = 10000000; }));
  expect_refused(invalid, "has the id",
                 broken([](json& f) { f["added_tokens"][0]["id"] = 1ll << 40; }));
  expect_refused(invalid, "content",
                 broken([](json& f) { f["added_tokens"][0].erase("content"); }));
  expect_refused(ErrorCode::kLimit, "at most",
                 broken([](json& f) { f["added_tokens"][0]["content"] = std::string(2000, 'x'); }));
  json nested = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  expect_refused(ErrorCode::kUnsupported, "Sequence",
                 broken([&](json& f) { f["normalizer"] = nested; }));
  std::string deep = "{\"a\":";
  for (int i = 0; i < 5000; ++i) deep += "[";
  expect_error(invalid, "tokenizer.json", [&] { load_tokenizer_json(deep); });
}

TEST(TokenizerJson, PostProcessorTellsWhatWouldBeAdded) {
  json file = byte_model(json::array({added_token("<s>", 300), added_token("</s>", 301)}));
  const json special = {{"<s>", {{"id", "<s>"}, {"ids", {300}}, {"tokens", {"<s>"}}}},
                        {"</s>", {{"id", "</s>"}, {"ids", {301}}, {"tokens", {"</s>"}}}}};
  const json begin = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const json end = {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}};
  const json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json processor = {
      {"type", "TemplateProcessing"}, {"single", {begin, sequence}}, {"special_tokens", special}};
  file["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, processor}}};
  auto tokenizer = load(file);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_FALSE(tokenizer->adds_eos());
  EXPECT_EQ(tokenizer->bos_id(), 300);
  EXPECT_EQ(tokenizer->encode("a"), (Ids{'a'}));
  file["post_processor"] = processor;
  file["post_processor"]["single"] = {sequence, end};
  tokenizer = load(file);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_TRUE(tokenizer->adds_eos());
  EXPECT_EQ(tokenizer->eos_id(), 301);
  file["post_processor"]["special_tokens"]["</s>"]["ids"] = {7000};
  expect_refused(ErrorCode::kInvalidData, "7000", file);
}

TEST(TokenizerJson, ConfigBesideItCounts) {
  const json file =
      byte_model(json::array({added_token("<s>", 300, false), added_token("<x>", 301, false)}));
  const json config = {{"bos_token", {{"content", "<s>"}, {"__type", "AddedToken"}}},
                       {"eos_token", "<e>"},
                       {"pad_token", nullptr},
                       {"add_bos_token", true},
                       {"additional_special_tokens", {"<x>"}},
                       {"added_tokens_decoder",
                        {{"302", {{"content", "<e>"}, {"special", true}}},
                         {"303", {{"content", "<t>"}, {"special", false}, {"lstrip", true}}}}}};
  const auto tokenizer = load_tokenizer_json(file.dump(), config.dump());
  EXPECT_EQ(tokenizer->bos_id(), 300);
  EXPECT_EQ(tokenizer->eos_id(), 302);
  EXPECT_EQ(tokenizer->pad_id(), std::nullopt);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_TRUE(tokenizer->is_special(301));
  EXPECT_TRUE(tokenizer->is_special(302));
  EXPECT_FALSE(tokenizer->is_special(303));
  EXPECT_EQ(tokenizer->encode("a <t><e>"), (Ids{'a', 303, 302}));
  expect_error(ErrorCode::kInvalidData, "added_tokens_decoder", [&] {
    load_tokenizer_json(file.dump(), R"({"added_tokens_decoder":{"x":{"content":"y"}}})");
  });
  expect_error(ErrorCode::kInvalidData, "bos_token",
               [&] { load_tokenizer_json(file.dump(), R"({"bos_token":["y"]})"); });
}

TEST(TokenizerJson, AnAddedTokenOfTheVocabularyHasItsId) {
  json file = byte_model(json::array({added_token("ab", 999), added_token("<｜x｜>", 998)}));
  file["model"]["vocab"]["<｜x｜>"] = 259;
  const auto tokenizer = load(file);
  EXPECT_EQ(tokenizer->encode("xab<｜x｜>"), (Ids{'x', 256, 259}));
  EXPECT_EQ(tokenizer->decode(Ids{259}, false), "<｜x｜>");
}

TEST(TokenizerFiles, FoldersWithoutTokenizerAreNotFound) {
  const auto folder = std::filesystem::temp_directory_path() / "sampan_tokenizer_files_test";
  std::filesystem::create_directories(folder);
  expect_error(ErrorCode::kNotFound, "sampan_tokenizer_files_test",
               [&] { load_tokenizer(folder); });
  std::ofstream(folder / "tokenizer.json") << "{";
  expect_error(ErrorCode::kInvalidData, "sampan_tokenizer_files_test",
               [&] { load_tokenizer(folder); });
  std::filesystem::remove_all(folder);
}

TEST(TokenizerFiles, VocabAndMerges) {
  TokenizerConfig config;
  config.tokenizer_class = "LlamaTokenizer";
  const std::string vocab = byte_model()["model"]["vocab"].dump();
  expect_error(ErrorCode::kUnsupported, "LlamaTokenizer",
               [&] { load_vocab_and_merges(vocab, "a b\n", config); });
  config.tokenizer_class = "GPT2TokenizerFast";
  read_added_tokens(R"({"<s>": 300})", config);
  const auto tokenizer = load_vocab_and_merges(vocab, "#version: 0.2\r\na b\r\nab c\r\n", config);
  EXPECT_EQ(tokenizer->encode("abc<s>e\u0301"), (Ids{257, 300, 'e', 0xCC, 0x81}));
  expect_error(ErrorCode::kInvalidData, "merges.txt: merge 2",
               [&] { load_vocab_and_merges(vocab, "a b\na  b\n", config); });
  expect_error(ErrorCode::kInvalidData, "added_tokens.json",
               [&] { read_added_tokens(R"({"<s>": -3})", config); });
}

TEST(TokenizerFiles, TiktokenModel) {
  // "a" "b" "ab" and "abc" with "c"
  const std::string ranks = "YQ== 0\nYg== 1\nYw== 2\nYWI= 3\nYWJj 4\n";
  TokenizerConfig config;
  read_tokenizer_config(R"({"added_tokens_decoder":{"5":{"content":"[BOS]","special":true},
                                                     "9":{"content":"<think>","special":false}},"bos_token":"[BOS]"})",
                        config);
  const auto tokenizer = load_tiktoken(ranks, config);
  EXPECT_EQ(tokenizer->vocab_size(), 261u);
  EXPECT_EQ(tokenizer->encode("[BOS]abcab<think><|reserved_token_260|>"), (Ids{5, 4, 3, 9, 260}));
  EXPECT_EQ(tokenizer->encode("c", SpecialTokens::kPlainText), (Ids{2}));
  EXPECT_EQ(tokenizer->bos_id(), 5);
  EXPECT_FALSE(tokenizer->is_special(9));
  EXPECT_NE(tokenizer->description().find("tiktoken"), std::string::npos);
  const std::pair<const char*, const char*> broken[] = {{"", "no token"},
                                                        {"YQ== 0\nYg==\n", "line 2"},
                                                        {"YQ== x", "line 1"},
                                                        {"YQ= 0", "line 1"},
                                                        {"Y*== 0", "line 1"},
                                                        {"YQ== 1", "rank 1 of 1"},
                                                        {"YQ== 0\nYg== 0\n", "rank 0"},
                                                        {"YQ== -1", "line 1"},
                                                        {"== 0", "line 1"},
                                                        {" 0", "line 1"},
                                                        {"YQ== 99999999999", "line 1"}};
  for (const auto& [text, part] : broken) {
    SCOPED_TRACE(text);
    expect_error(ErrorCode::kInvalidData, part, [&, t = text] { load_tiktoken(t, {}); });
  }
  config.added_tokens[0].id = 7000;
  expect_error(ErrorCode::kInvalidData, "[BOS]", [&] { load_tiktoken("YQ== 0", config); });
}

TEST(TokenizerFiles, GgufMetadata) {
  std::vector<std::string> tokens;
  const json model = byte_model();
  for (const auto& [token, id] : model["model"]["vocab"].items()) {
    tokens.resize(std::max(tokens.size(), id.get<std::size_t>() + 1));
    tokens[id.get<std::size_t>()] = token;
  }
  tokens.insert(tokens.end(), {"<|end|>", "<think>", "[PAD261]", "unused"});
  GgufTokenizerData data;
  data.model = "gpt2";
  data.pre = "llama-bpe";
  data.tokens.assign(tokens.begin(), tokens.end());
  data.token_types.assign(tokens.size(), 1);
  for (const auto& [id, type] :
       {std::pair(259, 3), std::pair(260, 4), std::pair(261, 4), std::pair(262, 5)}) {
    data.token_types[static_cast<std::size_t>(id)] = type;
  }
  data.merges = {"a b", "ab c"};
  data.bos_id = 259;
  data.eos_id = 0xFFFFFFFF;
  const auto tokenizer = tokenizer_from_gguf(data);
  EXPECT_EQ(tokenizer->encode("abc<|end|><think>[PAD261]").size(), 3u + 8);
  EXPECT_EQ(tokenizer->bos_id(), 259);
  EXPECT_EQ(tokenizer->eos_id(), std::nullopt);
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_TRUE(tokenizer->is_special(259));
  EXPECT_FALSE(tokenizer->has_token(262));
  EXPECT_EQ(tokenizer->vocab_size(), 263u);

  const auto refused = [&](ErrorCode code, std::string_view part, auto change) {
    GgufTokenizerData other = data;
    change(other);
    expect_error(code, part, [&] { tokenizer_from_gguf(other); });
  };
  refused(ErrorCode::kUnsupported, "'llama'", [](auto& d) { d.model = "llama"; });
  refused(ErrorCode::kUnsupported, "'tekken'", [](auto& d) { d.pre = "tekken"; });
  refused(ErrorCode::kUnsupported, "default", [](auto& d) { d.pre = "default"; });
  refused(ErrorCode::kInvalidData, "token_type has 1 entries for 263",
          [](auto& d) { d.token_types = {1}; });
  refused(ErrorCode::kInvalidData, "merge 3", [](auto& d) { d.merges.push_back("q"); });
  refused(ErrorCode::kInvalidData, "bos_token_id: id 300 of 263", [](auto& d) { d.bos_id = 300; });
  refused(ErrorCode::kInvalidData, "tokens has 0", [](auto& d) { d.tokens.clear(); });
}

}  // namespace
}  // namespace sampan
