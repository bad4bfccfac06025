#include <gtest/gtest.h>

#include "text/stream_decoder.h"
#include "text/tokenizer_test_models.h"
#include "text/tokenizer_test_util.h"
#include "text/utf8.h"

namespace sampan {
namespace {

using tokenizer_test::added_token;
using tokenizer_test::byte_model;
using tokenizer_test::RandomText;

const std::string kBad = "\uFFFD";

std::string decode_whole(std::string_view bytes) {
  Utf8Stream stream;
  std::string text = stream.append(bytes);
  return text + stream.flush();
}

// What Python 3's bytes.decode("utf-8", errors="replace") gives.
TEST(TokenizerStream, InvalidBytesBecomeReplacementCharactersAsInPython) {
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"aé中👍", "aé中👍"},
      {"\x80", kBad},
      {"a\xFF\xFE", "a" + kBad + kBad},
      {"\xC0\xAF", kBad + kBad},
      {"\xE2\x82", kBad},
      {"\xE2\x82x", kBad + "x"},
      {"\xE2(\x82)", kBad + "(" + kBad + ")"},
      {"\xF0\x9F\x91", kBad},
      {"\xF0\x9F\x91\xF0\x9F\x91\x8D", kBad + "👍"},
      {"\xF0\x80\x80\x80", kBad + kBad + kBad + kBad},
      {"\xED\xA0\x80", kBad + kBad + kBad},
      {"\xF4\x90\x80\x80", kBad + kBad + kBad + kBad},
      {"\xF4\x8F\xBF", kBad},
      {"\xF8\x88\x80\x80\x80", kBad + kBad + kBad + kBad + kBad},
      {"\xE0\x9F\x80", kBad + kBad + kBad},
      {"\xC3\xC3\xA9", kBad + "é"},
  };
  for (const auto& [bytes, wanted] : cases) {
    EXPECT_EQ(decode_whole(bytes), wanted) << ::testing::PrintToString(bytes);
  }
}

TEST(TokenizerStream, HoldsBackWhatMayStillBecomeACharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.append("a\xE4"), "a");
  EXPECT_EQ(stream.append("\xB8"), "");
  EXPECT_EQ(stream.append("\xAD"
                          "b\xF0\x9F"),
            "中b");
  EXPECT_EQ(stream.append("x"), kBad + "x");
  EXPECT_EQ(stream.append("\xC3"), "");
  EXPECT_EQ(stream.flush(), kBad);
  EXPECT_EQ(stream.flush(), "");
  EXPECT_EQ(stream.append("\xA9"), kBad);
}

bool well_formed(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode_utf8(text.data() + i, text.data() + text.size());
    if (c.value == kInvalidByte) return false;
    i += c.size;
  }
  return true;
}

TEST(TokenizerStream, AnyCutsGiveTheTextOfTheWhole) {
  RandomText random(11);
  for (int i = 0; i < 3000; ++i) {
    const std::string bytes = random(12);
    Utf8Stream stream;
    std::string text;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t size = random.number() % 4;
      const std::string part = stream.append(std::string_view(bytes).substr(at, size));
      ASSERT_TRUE(well_formed(part));
      text += part;
      at += size;
    }
    text += stream.flush();
    ASSERT_EQ(text, decode_whole(bytes));
  }
}

TEST(TokenizerStream, DecodesIdsOneByOne) {
  const auto tokenizer = tokenizer_test::load(byte_model(
      nlohmann::json::array({added_token("<s>", 300), added_token("<think>", 301, false)})));
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.append(300), "");
  EXPECT_EQ(decoder.append(301), "<think>");
  EXPECT_EQ(decoder.append(0xE4), "");
  EXPECT_EQ(decoder.append(0xB8), "");
  EXPECT_EQ(decoder.append(290), "");  // no such token
  EXPECT_EQ(decoder.append(0xAD), "中");
  EXPECT_EQ(decoder.append(0xE4), "");
  EXPECT_EQ(decoder.append(300), "");
  EXPECT_EQ(decoder.append(257), kBad + "abc");
  EXPECT_EQ(decoder.append(0xF0), "");
  EXPECT_EQ(decoder.flush(), kBad);
  StreamDecoder with_special(tokenizer, false);
  EXPECT_EQ(with_special.append(300), "<s>");
}

}  // namespace
}  // namespace sampan
