#include <gtest/gtest.h>

#include <map>

#include "text/nfc.h"
#include "text/tokenizer_test_util.h"
#include "text/unicode_table.h"

namespace sampan {
namespace {

// Counts of Hugging Face tokenizers 0.23's Oniguruma (Unicode 16), surrogates left out.
TEST(TokenizerUnicode, ClassesHaveTheSizesOfOniguruma) {
  const std::map<std::string, int> wanted = {
      {"Lu", 1858},   {"Ll", 2258},   {"Lt", 31},    {"Lm", 404}, {"Lo", 136477}, {"Mn", 2020},
      {"Mc", 468},    {"Me", 13},     {"Nd", 760},   {"Nl", 236}, {"No", 915},    {"Pc", 10},
      {"Po", 640},    {"Sm", 950},    {"So", 7376},  {"Zs", 17},  {"Cc", 65},     {"Cf", 170},
      {"Cn", 819533}, {"Co", 137468}, {"L", 141028}, {"N", 1911}, {"M", 2501},    {"P", 855},
      {"S", 8514},    {"Han", 99030}, {"C", 957236}};
  const UnicodeTable& table = UnicodeTable::get();
  for (const auto& [name, count] : wanted) {
    const auto mask = property_mask(name);
    ASSERT_TRUE(mask) << name;
    int found = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
      const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
      found += !surrogate && (table.mask(c) & *mask) != 0;
    }
    EXPECT_EQ(found, count) << name;
  }
  EXPECT_FALSE(property_mask("Foo"));
  EXPECT_FALSE(property_mask(""));
  EXPECT_FALSE(property_mask("l"));
}

TEST(TokenizerUnicode, EveryCodePointHasOneCategoryAndTheSpacesAreWhiteSpace) {
  const UnicodeTable& table = UnicodeTable::get();
  int spaces = 0;
  for (char32_t c = 0; c <= kInvalidByte; ++c) {
    const std::uint64_t categories = table.mask(c) & ((1ull << 30) - 1);
    ASSERT_EQ(__builtin_popcountll(categories), 1) << static_cast<unsigned>(c);
    spaces += (table.mask(c) & kSpace) != 0;
  }
  EXPECT_EQ(spaces, 25);
  EXPECT_EQ(table.mask('\n') & (kSpace | kNewline), kSpace | kNewline);
  EXPECT_EQ(table.mask(0x0B) & (kSpace | kNewline), kSpace);
  EXPECT_EQ(table.mask(0x1C) & kSpace, 0u);
  EXPECT_EQ(table.mask(kInvalidByte), table.mask(1));
}

TEST(TokenizerUnicode, Utf8DecodesOnlyWellFormedSequences) {
  const auto decode = [](std::string_view text) {
    const CodePoint c = decode_utf8(text.data(), text.data() + text.size());
    return std::pair<std::uint32_t, std::uint32_t>(c.value, c.size);
  };
  using Pair = std::pair<std::uint32_t, std::uint32_t>;
  EXPECT_EQ(decode("é"), Pair(0xE9, 2));
  EXPECT_EQ(decode("中"), Pair(0x4E2D, 3));
  EXPECT_EQ(decode("\U0010FFFF"), Pair(0x10FFFF, 4));
  for (const char* bad :
       {"\x80", "\xC1\x80", "\xC3", "\xC3x", "\xE0\x80\x80", "\xED\xA0\x80", "\xE4\xB8",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x9F\x91"}) {
    EXPECT_EQ(decode(bad), Pair(kInvalidByte, 1)) << ::testing::PrintToString(bad);
  }
}

TEST(TokenizerNfc, ComposesReordersAndLeavesTheRest) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"plain", "plain"},
      {"e\u0301", "é"},
      {"x e\u0301 y", "x é y"},
      {"a\u0301\u0323", "ạ\u0301"},
      {"\u1100\u1161\u11a8", "각"},
      {"\u212b\u2126\u212a", "ÅΩK"},
      {"\u0344", "\u0308\u0301"},
      {"\u0915\u093c", "\u0915\u093c"},
      {"\u0958", "\u0915\u093c"},
      {"\uf900", "\u8c48"},
      {"e\xFF\u0301", "e\xFF\u0301"},
      {"\xC3\u0301\u0323", "\xC3\u0323\u0301"},
      // Marks newer than Unicode 9 stay where they are, as in tokenizers.
      {"a\u1df6\u0323", "a\u1df6\u0323"},
      {"a\u0301\U0001E4EC\u0323", "á\U0001E4EC\u0323"},
      {"\U00011935\U00011930", "\U00011935\U00011930"},
  };
  for (const auto& [text, wanted] : cases) {
    EXPECT_EQ(nfc(text), wanted) << ::testing::PrintToString(text);
    if (surely_nfc(text)) {
      EXPECT_EQ(std::string_view(text), wanted);
    }
  }
  EXPECT_TRUE(surely_nfc("é中 plain ก็"));
}

TEST(TokenizerNfc, IsIdempotentAndReportsWhatItChanged) {
  tokenizer_test::RandomText random(7);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random(20);
    std::vector<NfcSpan> spans;
    const std::string normal = nfc(text, &spans);
    EXPECT_EQ(nfc(normal), normal);
    if (surely_nfc(text)) {
      EXPECT_EQ(normal, text);
    }
    std::string rebuilt;
    std::size_t in = 0;
    for (const NfcSpan& span : spans) {
      rebuilt += text.substr(in, span.in_begin - in);
      ASSERT_EQ(rebuilt.size(), span.out_begin);
      rebuilt += normal.substr(span.out_begin, span.out_end - span.out_begin);
      in = span.in_end;
    }
    EXPECT_EQ(rebuilt + text.substr(in), normal);
  }
}

TEST(TokenizerNfc, LongRunsOfMarksAreSortedQuickly) {
  std::string text = "e";
  for (int i = 0; i < 200000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";
  const std::string normal = nfc(text);
  EXPECT_EQ(normal.substr(0, 3), "ẹ");
  EXPECT_EQ(normal.substr(normal.size() - 2), "\u0301");
}

}  // namespace
}  // namespace sampan
