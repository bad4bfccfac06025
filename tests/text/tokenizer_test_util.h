#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sampan::tokenizer_test {

using Ids = std::vector<std::int32_t>;

inline std::filesystem::path data_folder() {
  return std::filesystem::path(SAMPAN_TEST_DATA) / "tokenizers";
}

inline std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// Runs `action`, which must throw an Error of this code whose message contains `part`.
template <typename Action>
void expect_error(ErrorCode code, std::string_view part, Action action) {
  try {
    action();
    ADD_FAILURE() << "no error; expected one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos) << error.what();
  }
}

// Random text that is rich in what pre-tokenizers decide by: letters of both cases, titles and
// marks, digits of several scripts, white space, apostrophes, Han, unassigned and invalid bytes.
class RandomText {
 public:
  explicit RandomText(std::uint32_t seed) : random_(seed) {}

  std::string operator()(std::size_t most_parts, bool valid_only = false) {
    static const std::vector<std::string> parts = {
        "a",          "b",          "Z",          "A",          "'",          "'s",
        "'S",         "'ſ",         "'ll",        "'Re",        "'VE",        "s",
        " ",          " ",          "  ",         "\t",         "\n",         "\r\n",
        "\r",         "1",          "23",         "456",        ".",          ",",
        "!",          "/",          "-",          "(",          "é",          "e\u0301",
        "\u0301",     "\u093c",     "ß",          "ǅ",          "ʰ",          "ª",
        "İ",          "中",         "文",         "々",         "〇",         "⼀",
        "あ",         "ー",         "가",         "ㅋ",         "\u1161",     "\u11a8",
        "ا",          "م",          "١",          "½",          "Ⅷ",          "①",
        "\u0085",     "\u00a0",     "\u2003",     "\u3000",     "\u2028",     "\u180e",
        "\u200b",     "\u200d",     "👩",          "🏽",       "\ufe0f",     "€",
        "+",          "<",          "_",          "\x01",       "\x7f",       "\u0378",
        "\U000323AF", "\U0001E4D0", "\U0001FA77", "\U0001171E", "\U00010D4A", "\U00010D50",
        "\ufdd0",     "\U0010ffff", "\ue000",     "\u1c89",     "，",         "。",
        "“",          "”",          "３",         "Ａ",         "ａ",         "Ω",
        "K"};
    static const std::vector<std::string> broken = {
        "\x80", "\xC3", "\xE4\xB8", "\xF0\x9F\x91", "\xFF", "\xED\xA0\x80", "\xC0\xAF"};
    std::string text;
    const std::size_t count = random_() % (most_parts + 1);
    for (std::size_t i = 0; i < count; ++i) {
      const bool break_it = !valid_only && random_() % 24 == 0;
      const auto& from = break_it ? broken : parts;
      const std::string& part = from[random_() % from.size()];
      for (std::size_t n = random_() % 6 == 0 ? 1 + random_() % 5 : 1; n > 0; --n) text += part;
    }
    return text;
  }

  std::uint32_t number() { return static_cast<std::uint32_t>(random_()); }

 private:
  std::mt19937 random_;
};

}  // namespace sampan::tokenizer_test
