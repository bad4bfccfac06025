// Added tokens, trusted pieces, decoding, threads and long texts.
#include <gtest/gtest.h>

#include <ctime>
#include <thread>

#include "text/tokenizer.h"
#include "text/tokenizer_test_models.h"
#include "text/tokenizer_test_util.h"

namespace sampan {
namespace {

using nlohmann::json;
using tokenizer_test::added_token;
using tokenizer_test::byte_model;
using tokenizer_test::data_folder;
using tokenizer_test::Ids;
using tokenizer_test::load;
using tokenizer_test::RandomText;

json added(std::string content, int id, const char* flag) {
  json token = added_token(content, id);
  token[flag] = true;
  return token;
}

TEST(TokenizerEncode, BytesMergesAndAddedTokens) {
  const auto tokenizer =
      load(byte_model(json::array({added_token("<s>", 300), added_token("<s>x", 301, false)})));
  EXPECT_EQ(tokenizer->encode("abc ab ac"), (Ids{257, ' ', 256, 258, 'c'}));
  EXPECT_EQ(tokenizer->encode("\xFF\x00é"), (Ids{255}));  // a C string ends at NUL
  EXPECT_EQ(tokenizer->encode(std::string_view("\xFF\0é", 4)), (Ids{255, 0, 0xC3, 0xA9}));
  EXPECT_EQ(tokenizer->encode("a<s>b<s>xy<s"), (Ids{'a', 300, 'b', 301, 'y', '<', 's'}));
  EXPECT_EQ(tokenizer->encode("a<s>", SpecialTokens::kPlainText), (Ids{'a', '<', 's', '>'}));
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(tokenizer->vocab_size(), 302u);
  EXPECT_EQ(tokenizer->decode(Ids{300, 'a', 301, 299, -5, 1 << 30}, false), "<s>a<s>x");
  EXPECT_EQ(tokenizer->decode(Ids{300, 'a', 301}, true), "a<s>x");
  EXPECT_EQ(tokenizer->token_bytes(258), " a");
  EXPECT_EQ(tokenizer->token_id(" a"), 258);
  EXPECT_EQ(tokenizer->token_id("<s>"), 300);
  EXPECT_EQ(tokenizer->token_id("zz"), std::nullopt);
  EXPECT_FALSE(tokenizer->has_token(270));
  ASSERT_EQ(tokenizer->added_tokens().size(), 2u);
  EXPECT_EQ(tokenizer->added_tokens()[1].content, "<s>x");
}

TEST(TokenizerEncode, FlagsOfAddedTokens) {
  const auto tokenizer =
      load(byte_model(json::array({added("<L>", 300, "lstrip"), added("<R>", 301, "rstrip"),
                                   added("word", 302, "single_word")})));
  EXPECT_EQ(tokenizer->encode("x \t <L> y"), (Ids{'x', 300, ' ', 'y'}));
  EXPECT_EQ(tokenizer->encode("x <R> \n\u3000y"), (Ids{'x', ' ', 301, 'y'}));
  EXPECT_EQ(tokenizer->encode("<R>  <L>"), (Ids{301, 300}));
  EXPECT_EQ(tokenizer->encode("word,word"), (Ids{302, ',', 302}));
  EXPECT_EQ(tokenizer->encode("swordword").size(), 9u);
  EXPECT_EQ(tokenizer->encode("éword").size(), 6u);
}

TEST(TokenizerEncode, OnlyTrustedTextHasAddedTokens) {
  const auto tokenizer =
      load(byte_model(json::array({added_token("<s>", 300), added_token("<think>", 301, false)})));
  const auto encode = [&](std::vector<TextPiece> pieces) { return tokenizer->encode(pieces); };
  EXPECT_EQ(encode({{"<s>", true}, {"<s>", false}, {"<s>", true}}), (Ids{300, '<', 's', '>', 300}));
  // Across pieces: only where all of it is trusted.
  EXPECT_EQ(encode({{"<", true}, {"s>", true}}), (Ids{300}));
  EXPECT_EQ(encode({{"<", true}, {"s>", false}}), (Ids{'<', 's', '>'}));
  EXPECT_EQ(encode({{"<s", false}, {">", true}}), (Ids{'<', 's', '>'}));
  EXPECT_EQ(encode({{"<think>", false}}), tokenizer->encode("<think>", SpecialTokens::kPlainText));
  EXPECT_EQ(encode({}), Ids{});
  // Everything else does not see the borders.
  EXPECT_EQ(encode({{"a", true}, {"b", false}, {"c", true}, {" ", false}, {"a", true}}),
            (Ids{257, 258}));
  EXPECT_EQ(encode({{"\xC3", false}, {"\xA9", true}}), tokenizer->encode("é"));
}

TEST(TokenizerEncode, PiecesWithoutAddedTokensEqualTheWhole) {
  for (const char* family : {"qwen2", "deepseek-v3", "kimi-k2"}) {
    const auto tokenizer = load_tokenizer(data_folder() / family);
    RandomText random(3);
    for (int i = 0; i < 500; ++i) {
      const std::string text = random(20);
      std::vector<TextPiece> pieces;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = std::min<std::size_t>(1 + random.number() % 9, text.size() - at);
        pieces.push_back({std::string_view(text).substr(at, size), false});
        at += size;
      }
      ASSERT_EQ(tokenizer->encode(pieces), tokenizer->encode(text, SpecialTokens::kPlainText))
          << ::testing::PrintToString(text);
      for (TextPiece& piece : pieces) piece.trusted = true;
      ASSERT_EQ(tokenizer->encode(pieces), tokenizer->encode(text));
    }
  }
}

TEST(TokenizerEncode, TrustGoesThroughNormalization) {
  json file = byte_model(json::array({added_token("<\u00e9>", 300)}));
  file["normalizer"] = {{"type", "NFC"}};
  file["added_tokens"][0]["normalized"] = true;
  const auto tokenizer = load(file);
  const auto encode = [&](std::vector<TextPiece> pieces) { return tokenizer->encode(pieces); };
  EXPECT_EQ(tokenizer->encode("x<e\u0301>y"), (Ids{'x', 300, 'y'}));
  const Ids plain = tokenizer->encode("<\u00e9>", SpecialTokens::kPlainText);
  EXPECT_EQ(encode({{"<e\u0301>", false}}), plain);
  EXPECT_EQ(encode({{"<e", true}, {"\u0301>", false}}), plain);
  EXPECT_EQ(encode({{"<e", true}, {"\u0301", false}, {">", true}}), plain);
  EXPECT_EQ(encode({{"<e", true}, {"\u0301>", true}}), (Ids{300}));
  EXPECT_EQ(
      encode({{"e\u0301", false}, {"<\u00e9>", true}, {"e\u0301", false}, {"<\u00e9>", false}})
          .size(),
      2 + 1 + 2 + plain.size());
}

TEST(TokenizerEncode, TheSizeOfATextBoundsItsTokens) {
  const auto plain = load(byte_model(json::array({added_token("<|a long added token|>", 259)})));
  EXPECT_EQ(plain->least_tokens(0), 0u);
  EXPECT_EQ(plain->least_tokens(22), 1u);
  EXPECT_EQ(plain->least_tokens(23), 2u);
  EXPECT_EQ(plain->least_tokens(220), 10u);
  for (const std::string& text : {std::string(1000, 'x'), std::string("<|a long added token|>"),
                                  std::string("abcabcabc"), std::string()})
    EXPECT_LE(plain->least_tokens(text.size()), plain->encode(text).size());

  // White space that an added token takes along can be of any length.
  EXPECT_EQ(load(byte_model(json::array({added("<mask>", 259, "lstrip")})))->least_tokens(1 << 20),
            0u);
  // Bytes without a token are left out.
  json lacking = byte_model();
  lacking["model"]["vocab"].erase("x");
  EXPECT_EQ(load(lacking)->least_tokens(1 << 20), 0u);

  json nfc = byte_model();
  nfc["normalizer"] = {{"type", "NFC"}};
  const auto composing = load(nfc);
  std::string shrinking;
  for (int i = 0; i < 100; ++i) shrinking += "\xE1\xBE\xBE\xCC\x88\xCC\x81";
  EXPECT_EQ(composing->encode(shrinking).size(), 200u);
  EXPECT_LE(composing->least_tokens(shrinking.size()), 200u);
  EXPECT_EQ(composing->least_tokens(1200), 100u);
}

TEST(TokenizerEncode, ManyThreadsShareATokenizer) {
  const auto tokenizer = load_tokenizer(data_folder() / "qwen2");
  std::vector<std::string> texts;
  std::vector<Ids> wanted;
  RandomText random(9);
  for (int i = 0; i < 300; ++i) texts.push_back(random(40));
  const auto reference = load_tokenizer(data_folder() / "qwen2");
  for (const std::string& text : texts) wanted.push_back(reference->encode(text));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::size_t at = (i * (t + 1)) % texts.size();
        wrong[t] += tokenizer->encode(texts[at]) != wanted[at];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::vector<int>{0, 0, 0, 0}));
}

std::string repeated(std::string_view part, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += part;
  return text;
}

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Four times the text takes about four times as long (16 if it were quadratic), for every family
// and bad text.
TEST(TokenizerEncode, TimeIsNearLinearOnBadTexts) {
  const std::string sixth(3000, ' ');
  for (const char* family : {"qwen2", "llama4", "deepseek-v3", "deepseek-llm", "kimi-k2"}) {
    const auto tokenizer = load_tokenizer(data_folder() / family);
    for (const std::string& part :
         {std::string("a"), std::string(" "), std::string("啊"), std::string("👩‍👩‍👧"),
          std::string("!"), std::string("\n"), std::string("e\u0323\u0301"), std::string("A"),
          std::string("1"), std::string("ab"), std::string("<|im_start|"), std::string("\u0301"),
          std::string("\xFF"), sixth + "x", std::string("'s")}) {
      const auto seconds = [&](std::size_t bytes) {
        const std::string text = repeated(part, bytes);
        const double start = cpu_seconds();
        tokenizer->encode(text);
        return cpu_seconds() - start;
      };
      seconds(20'000);
      const double small = seconds(20'000);
      const double large = seconds(80'000);
      EXPECT_LT(large, 10 * small + 0.05)
          << family << " on " << ::testing::PrintToString(part.substr(0, 10));
    }
  }
}

}  // namespace
}  // namespace sampan
