#include "base/error.h"

#include <gtest/gtest.h>

#include <string>

namespace sampan {
namespace {

TEST(Fail, ThrowsItsCodeAndItsFormattedLine) {
  try {
    fail(ErrorCode::kInvalidData, "gguf: version {} is not {} or {}", 7, 2, 3);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidData);
    EXPECT_EQ(std::string(error.what()), "gguf: version 7 is not 2 or 3");
  }
}

TEST(Check, IsABugOfOursAndNamesTheCondition) {
  const int columns = 5;
  SAMPAN_CHECK(columns == 5);
  try {
    SAMPAN_CHECK(columns % 2 == 0);
    FAIL() << "nothing was thrown";
  } catch (const InternalError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("check failed: columns % 2 == 0"), std::string::npos) << message;
    EXPECT_NE(message.find("error_test.cpp:"), std::string::npos) << message;
  }
}

TEST(Printable, LeavesTextAlone) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable("blk.3.attn_q"), "blk.3.attn_q");
  EXPECT_EQ(printable("héllo 世界 🚀"), "héllo 世界 🚀");
}

TEST(Printable, EscapesControlCharacters) {
  EXPECT_EQ(printable(std::string("a\0b\n\r\t\x1b[31m\x7f", 12)),
            "a\\x00b\\x0a\\x0d\\x09\\x1b[31m\\x7f");
}

// C1 controls (U+009B is a terminal's escape sequence in one character), line and paragraph
// separators and the marks that turn the reading direction.
TEST(Printable, EscapesWhatATerminalOrALogWouldObey) {
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(printable("\xC2\x80\xC2\xA0"), "\\xc2\\x80\xC2\xA0");
  EXPECT_EQ(printable("\xE2\x80\xA8\xE2\x80\xA9"), "\\xe2\\x80\\xa8\\xe2\\x80\\xa9");
  EXPECT_EQ(printable("a\xE2\x80\xAE"
                      "b\xE2\x81\xA6"),
            "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa6");
  EXPECT_EQ(printable("\xE2\x80\xA7\xE2\x80\xAF\xE2\x81\xA5\xE2\x81\xAA"),
            "\xE2\x80\xA7\xE2\x80\xAF\xE2\x81\xA5\xE2\x81\xAA");
}

TEST(Printable, EscapesBrokenUtf8) {
  EXPECT_EQ(printable("\x80"), "\\x80");
  EXPECT_EQ(printable("\xC3"), "\\xc3");
  EXPECT_EQ(printable("\xC0\xAF"), "\\xc0\\xaf");
  EXPECT_EQ(printable("\xE0\x80\xAF"), "\\xe0\\x80\\xaf");
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(printable("\xF0\x9F\x9A"), "\\xf0\\x9f\\x9a");
  EXPECT_EQ(printable("\xFF\xFE"), "\\xff\\xfe");
  EXPECT_EQ(printable("\xF4\x8F\xBF\xBF"), "\xF4\x8F\xBF\xBF");
}

TEST(Printable, StopsAtItsLimitBetweenCharacters) {
  EXPECT_EQ(printable("abcdef", 3), "abc…");
  EXPECT_EQ(printable("abc", 3), "abc");
  EXPECT_EQ(printable("ab世界", 3), "ab…");
  EXPECT_EQ(printable("ab世", 5), "ab世");
  EXPECT_EQ(printable("a\n", 3), "a…");
  EXPECT_EQ(printable(std::string(1000000, '\n'), 80).size(), 80 + std::string("…").size());
}

}  // namespace
}  // namespace sampan
