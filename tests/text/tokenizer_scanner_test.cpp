// The hand-written scanners against the same patterns in PCRE2.
#include <gtest/gtest.h>

#include "text/class_runs.h"
#include "text/pretokenizer.h"
#include "text/regex.h"
#include "text/scanners.h"
#include "text/tokenizer_test_util.h"
#include "text/utf8.h"

namespace sampan {
namespace {

using tokenizer_test::expect_error;
using tokenizer_test::RandomText;
using Pieces = std::vector<std::string_view>;

// PCRE2 has no class intersections; a lookahead in front of the class says the same.
std::string without_intersections(std::string_view pattern) {
  std::string out(pattern);
  constexpr std::string_view kIntersection = "&&[^\\p{Han}]]";
  for (std::size_t at = out.find(kIntersection); at != std::string::npos;
       at = out.find(kIntersection)) {
    const std::size_t open = out.rfind('[', at - 1);
    const std::string inner = out.substr(open, at - open) + "]";
    out.replace(open, at - open + kIntersection.size(), "(?:(?!\\p{Han})" + inner + ")");
  }
  return out;
}

Pieces split(const PieceSplitter& splitter, std::string_view text) {
  Pieces pieces;
  splitter.split(text, pieces);
  return pieces;
}

void expect_same_split(const PieceSplitter& scanner, const PieceSplitter& regex,
                       const std::string& text) {
  const Pieces wanted = split(regex, text), got = split(scanner, text);
  if (wanted != got) {
    ADD_FAILURE() << ::testing::PrintToString(text) << "\nregex " << ::testing::PrintToString(wanted)
                  << "\nscanner " << ::testing::PrintToString(got);
  }
}

// A text in which a code point meets every neighbour that patterns ask for.
std::string around(char32_t code_point) {
  std::string c;
  append_utf8(c, code_point);
  return " " + c + "a" + c + "1" + c + "\n" + c + c + "'" + c + "B" + c + "." + c + "\u0301" + c +
         " ";
}

void expect_equal_on_random_text(const PieceSplitter& scanner, const PieceSplitter& regex,
                                 std::uint32_t seed) {
  RandomText random(seed);
  for (int i = 0; i < 1500 && !::testing::Test::HasFailure(); ++i) {
    expect_same_split(scanner, regex, random(14));
  }
}

// On every code point of the planes that have any, in texts of 64.
void expect_equal_on_all_code_points(const PieceSplitter& scanner, const PieceSplitter& regex) {
  std::string text;
  for (char32_t c = 0; c < 0x110000 && !::testing::Test::HasFailure(); ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    if (c >= 0x4E00 && c < 0x9F00) continue;  // alike, as are the syllables
    if (c >= 0xAC00 && c < 0xD700) continue;
    if (c >= 0x20000 && c < 0x2A000) continue;
    if (c >= 0x33480 && c < 0xE0000) continue;
    if (c >= 0xE0200 && c < 0x10FFF0) continue;
    text += around(c);
    if (c % 64 == 63) {
      expect_same_split(scanner, regex, text);
      text.clear();
    }
  }
}

TEST(TokenizerScanner, KnownPatternsEqualPcre2) {
  std::uint32_t seed = 1;
  for (const KnownPattern& known : known_patterns()) {
    SCOPED_TRACE(known.name);
    const auto regex =
        make_regex_split(without_intersections(known.pattern), SplitBehavior::kIsolated, false);
    expect_equal_on_random_text(*known.make(), *regex, seed++);
    // These ask for all the properties that patterns ask for.
    if (known.name == "qwen35" || known.name == "kimi-k2" || known.name == "deepseek-v3") {
      expect_equal_on_all_code_points(*known.make(), *regex);
    }
  }
}

TEST(TokenizerScanner, ClassRunsEqualPcre2) {
  std::uint32_t seed = 100;
  for (const char* pattern :
       {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "\\p{N}{1,3}", "\\p{N}", "\\s+$",
        "[一-龥ࠀ-一가-퟿]+", "[一-龥぀-ゟ゠-ヿ]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
        "\\s?[A-Za-zµÀ-ÖØ-öｦ-ﾟ\\-\\]\\p{Lu}]{1,2}", "[a\\t \\u3000-]+"}) {
    SCOPED_TRACE(pattern);
    const auto runs = make_class_run_splitter(pattern);
    if (runs == nullptr) {
      EXPECT_STREQ(pattern, "[a\\t \\u3000-]+");
      continue;
    }
    expect_equal_on_random_text(*runs, *make_regex_split(pattern, SplitBehavior::kIsolated, false),
                                seed++);
  }
}

TEST(TokenizerScanner, PatternsThatAreNoClassRuns) {
  for (const char* pattern :
       {"", "a", "[^a]+", "[]", "[a", "[a]*", "[a]+b", "\\p{Foo}+", "[b-a]", "[a&&b]", "[[a]]+",
        "\\s?", "\\s+", "[\\d]+", "\\p{L}{2,3}", "\\p{L}{1,0}", "\\p", "[\\p{L]"}) {
    EXPECT_EQ(make_class_run_splitter(pattern), nullptr) << pattern;
  }
}

TEST(TokenizerScanner, KnownPatternsAreFoundWithEitherSpellingOfLineEnds) {
  EXPECT_NE(find_known_pattern(kSeedPattern), nullptr);
  std::string escaped(kSeedPattern);
  for (std::size_t at = escaped.find("\r\n"); at != std::string::npos; at = escaped.find("\r\n")) {
    escaped.replace(at, 2, "\\r\\n");
  }
  EXPECT_EQ(find_known_pattern(escaped), find_known_pattern(kSeedPattern));
  EXPECT_EQ(find_known_pattern(std::string(kQwen2Pattern) + " "), nullptr);
}

TEST(TokenizerScanner, SplitBehaviors) {
  const auto pieces = [](SplitBehavior behavior, bool invert) {
    Pieces out = split(*make_regex_split("-", behavior, invert), "The-final--countdown-");
    EXPECT_EQ(out, split(*make_split("-", false, behavior, invert), "The-final--countdown-"));
    return out;
  };
  EXPECT_EQ(pieces(SplitBehavior::kRemoved, false), (Pieces{"The", "final", "countdown"}));
  EXPECT_EQ(pieces(SplitBehavior::kRemoved, true), (Pieces{"-", "-", "-", "-"}));
  EXPECT_EQ(pieces(SplitBehavior::kIsolated, false),
            (Pieces{"The", "-", "final", "-", "-", "countdown", "-"}));
  EXPECT_EQ(pieces(SplitBehavior::kMergedWithPrevious, false),
            (Pieces{"The-", "final-", "-", "countdown-"}));
  EXPECT_EQ(pieces(SplitBehavior::kMergedWithNext, false),
            (Pieces{"The", "-final", "-", "-countdown", "-"}));
  EXPECT_EQ(pieces(SplitBehavior::kContiguous, false),
            (Pieces{"The", "-", "final", "--", "countdown", "-"}));
}

TEST(TokenizerRegex, EmptyMatchesAreFoundOncePerPosition) {
  const Regex regex("a*");
  std::vector<TextRange> matches;
  regex.find_all("baaé", matches);
  std::vector<std::pair<std::size_t, std::size_t>> found;
  for (const TextRange& m : matches) found.emplace_back(m.begin, m.end);
  // As Oniguruma's find_iter: nothing right behind a match.
  EXPECT_EQ(found, (std::vector<std::pair<std::size_t, std::size_t>>{{0, 0}, {1, 3}, {5, 5}}));
}

TEST(TokenizerRegex, RefusesWhatOnigurumaReadsDifferently) {
  for (const char* pattern : {"[\\p{L}&&[^a]]",
                              "[a[b]]",
                              "\\w+",
                              "\\bx",
                              "(?m).",
                              "(*UTF)",
                              "a{,3}",
                              "a{1,2}+",
                              "a{2}?",
                              "\\h",
                              "\\R",
                              "\\X",
                              "\\K",
                              "\\1",
                              "(?<n>a)",
                              "\\xE9",
                              "[]a]",
                              "\\p{Ll",
                              "{",
                              "\\Qa\\E",
                              "\\C",
                              "[[:alpha:]]",
                              "\\pL",
                              "a\\",
                              "(?#c)",
                              "(?R)",
                              "\\G",
                              "\\A",
                              "\\z",
                              "(?i)a",
                              "\\p{Nonsense}",
                              "\\p{Greek}",
                              "[\\S]"}) {
    SCOPED_TRACE(pattern);
    expect_error(ErrorCode::kUnsupported, "not supported", [&] { const Regex regex(pattern); });
  }
  for (const char* pattern : {"(", "a)", "[b-a]", "a**b(", "(?<=a+)b", "+"}) {
    SCOPED_TRACE(pattern);
    expect_error(ErrorCode::kInvalidData, "pre-tokenizer pattern",
                 [&] { const Regex regex(pattern); });
  }
}

TEST(TokenizerRegex, HostilePatternsEndInAnError) {
  const std::string text = std::string(40, 'a') + "!";
  expect_error(ErrorCode::kLimit, "pre-tokenizer pattern", [&] {
    std::vector<TextRange> matches;
    Regex("(?:(?:a+)+)+[bc]").find_all(text, matches);
  });
  // Deep recursion beyond the JIT's stack still gives the match.
  std::vector<TextRange> matches;
  Regex("(?:a|b)*c").find_all(std::string(20000, 'a') + "c", matches);
  ASSERT_EQ(matches.size(), 1u);
  EXPECT_EQ(matches[0].end, 20001u);
}

}  // namespace
}  // namespace sampan
