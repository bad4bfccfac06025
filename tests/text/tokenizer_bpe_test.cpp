#include <gtest/gtest.h>

#include <map>
#include <set>

#include "text/bpe.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_test_util.h"

namespace sampan {
namespace {

using tokenizer_test::Ids;
using tokenizer_test::RandomText;

// A vocabulary of the letters a-d and random merges of it.
struct RandomModel {
  std::shared_ptr<Vocabulary> vocabulary;
  std::vector<Bpe::Merge> merges;
  std::vector<std::string> tokens;

  explicit RandomModel(std::uint32_t seed) {
    RandomText random(seed);
    tokens = {"a", "b", "c", "d"};
    std::map<std::string, std::int32_t> ids{{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}};
    std::set<std::pair<std::int32_t, std::int32_t>> seen;
    for (int i = 0; i < 60; ++i) {
      const auto left = static_cast<std::int32_t>(random.number() % tokens.size());
      const auto right = static_cast<std::int32_t>(random.number() % tokens.size());
      const std::string whole =
          tokens[static_cast<std::size_t>(left)] + tokens[static_cast<std::size_t>(right)];
      if (whole.size() > 12 || !seen.insert({left, right}).second) continue;
      const auto [at, added] = ids.emplace(whole, static_cast<std::int32_t>(tokens.size()));
      if (added) tokens.push_back(whole);
      merges.push_back({left, right, at->second});
    }
    vocabulary = std::make_shared<Vocabulary>(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i)
      vocabulary->set(static_cast<std::int32_t>(i), tokens[i], true);
  }
};

// The definition: again and again the leftmost pair of the lowest rank. `rank` gives rank and id of
// a pair's merge.
template <typename Rank>
Ids merge_by_definition(const RandomModel& model, std::string_view text, Rank rank) {
  Ids ids;
  for (const char c : text) ids.push_back(model.vocabulary->find({&c, 1}));
  while (true) {
    std::size_t best = ids.size();
    std::pair<std::size_t, std::int32_t> best_merge{SIZE_MAX, -1};
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto merge = rank(ids[i], ids[i + 1]);
      if (merge.first < best_merge.first) {
        best = i;
        best_merge = merge;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = best_merge.second;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::string random_letters(RandomText& random, std::size_t most) {
  std::string text(1 + random.number() % most, 'a');
  const bool runs = random.number() % 3 == 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[i] = runs && i > 0 && random.number() % 8 != 0
                  ? text[i - 1]
                  : static_cast<char>('a' + random.number() % 4);
  }
  return text;
}

TEST(TokenizerBpe, MergesAreThoseOfTheDefinition) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const RandomModel model(seed);
    const Bpe bpe(model.vocabulary, model.merges, {});
    std::map<std::pair<std::int32_t, std::int32_t>, std::pair<std::size_t, std::int32_t>> ranks;
    for (std::size_t i = 0; i < model.merges.size(); ++i) {
      ranks[{model.merges[i].left, model.merges[i].right}] = {i, model.merges[i].merged};
    }
    const auto rank = [&](std::int32_t left, std::int32_t right) {
      const auto found = ranks.find({left, right});
      return found == ranks.end() ? std::pair<std::size_t, std::int32_t>(SIZE_MAX, -1)
                                  : found->second;
    };
    BpeScratch scratch;
    RandomText random(seed + 1000);
    for (int i = 0; i < 120; ++i) {
      const std::string text = random_letters(random, i % 3 == 0 ? 200 : 24);
      Ids ids;
      bpe.encode(text, scratch, ids);
      ASSERT_EQ(ids, merge_by_definition(model, text, rank)) << text;
    }
  }
}

TEST(TokenizerBpe, RanksAreThoseOfTheDefinition) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const RandomModel model(seed);
    const Bpe bpe(model.vocabulary);
    const auto rank = [&](std::int32_t left, std::int32_t right) {
      const std::int32_t id = model.vocabulary->find(model.tokens[static_cast<std::size_t>(left)] +
                                                     model.tokens[static_cast<std::size_t>(right)]);
      return std::pair<std::size_t, std::int32_t>(id < 0 ? SIZE_MAX : static_cast<std::size_t>(id),
                                                  id);
    };
    BpeScratch scratch;
    RandomText random(seed + 2000);
    for (int i = 0; i < 120; ++i) {
      const std::string text = random_letters(random, i % 3 == 0 ? 200 : 24);
      Ids ids;
      bpe.encode(text, scratch, ids);
      const std::int32_t whole = model.vocabulary->find(text);
      ASSERT_EQ(ids, whole >= 0 ? Ids{whole} : merge_by_definition(model, text, rank)) << text;
    }
  }
}

TEST(TokenizerBpe, IgnoreMergesTakesAPieceThatIsAToken) {
  auto vocabulary = std::make_shared<Vocabulary>(4);
  for (const auto& [id, text] :
       std::map<int, const char*>{{0, "a"}, {1, "b"}, {2, "ab"}, {3, "abb"}}) {
    vocabulary->set(id, text, true);
  }
  const std::vector<Bpe::Merge> merges = {{0, 1, 2}};
  BpeScratch first, second;
  Ids with, without;
  Bpe(vocabulary, merges, {.ignore_merges = true}).encode("abb", first, with);
  Bpe(vocabulary, merges, {}).encode("abb", second, without);
  EXPECT_EQ(with, (Ids{3}));
  EXPECT_EQ(without, (Ids{2, 1}));
}

TEST(TokenizerBpe, BytesWithoutTokenAreLeftOutOrUnknown) {
  auto vocabulary = std::make_shared<Vocabulary>(3);
  vocabulary->set(0, "a", true);
  vocabulary->set(1, "aa", true);
  vocabulary->set(2, "?", false);
  const std::vector<Bpe::Merge> merges = {{0, 0, 1}};
  const auto encode = [&](Bpe::Options options, std::string_view text) {
    BpeScratch scratch;
    Ids ids;
    Bpe(vocabulary, merges, options).encode(text, scratch, ids);
    return ids;
  };
  EXPECT_EQ(encode({}, "axa"), (Ids{1}));  // as tokenizers
  EXPECT_EQ(encode({}, "xy"), Ids{});
  EXPECT_EQ(encode({.unknown = 2}, "axya"), (Ids{0, 2, 2, 0}));
  EXPECT_EQ(encode({.unknown = 2, .fuse_unknown = true}, "axyaz"), (Ids{0, 2, 0, 2}));
}

TEST(TokenizerBpe, ByteAlphabet) {
  std::string bytes;
  EXPECT_TRUE(append_alphabet_bytes("ĠaĊé¡Ń", bytes));
  EXPECT_EQ(bytes, " a\n\xE9\xA1\xAD");
  for (const char* outside : {" ", "\n", "▁", "ń", "中", "\xE9"}) {
    EXPECT_FALSE(append_alphabet_bytes(outside, bytes)) << outside;
  }
  EXPECT_EQ(bytes.size(), 6u);
}

TEST(TokenizerBpe, VocabularyFindsWhatItHolds) {
  Vocabulary vocabulary(20000);
  for (std::int32_t id = 0; id < 20000; ++id)
    vocabulary.set(id, "token" + std::to_string(id * 7), true);
  vocabulary.set(5, "token35", true);
  for (std::int32_t id = 0; id < 20000; ++id) {
    ASSERT_EQ(vocabulary.find("token" + std::to_string(id * 7)), id);
    ASSERT_EQ(vocabulary.find("tokem" + std::to_string(id * 7)), Vocabulary::kNone);
  }
  EXPECT_FALSE(vocabulary.has(20000));
  EXPECT_EQ(vocabulary.bytes(-1), "");
}

}  // namespace
}  // namespace sampan
