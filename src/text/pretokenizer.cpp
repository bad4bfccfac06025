#include "text/pretokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/class_runs.h"
#include "text/regex.h"
#include "text/unicode_table.h"

namespace sampan {
namespace {

struct Stretch {
  TextRange range;
  bool is_match;
};

// The matches and the gaps between them, in order; `matches` ascend and do not overlap.
std::vector<Stretch> with_gaps(std::size_t size, const std::vector<TextRange>& matches,
                               bool invert) {
  std::vector<Stretch> stretches;
  std::size_t previous = 0;
  for (const TextRange& match : matches) {
    if (previous != match.begin) stretches.push_back({{previous, match.begin}, invert});
    stretches.push_back({match, !invert});
    previous = match.end;
  }
  if (previous != size) stretches.push_back({{previous, size}, invert});
  return stretches;
}

// The three merging behaviours of tokenizers' NormalizedString::split: a stretch joins the one
// before it in the order of the walk, or starts a piece.
template <typename Joins>
void merge_stretches(std::vector<Stretch>& stretches, Joins joins) {
  std::vector<Stretch> out;
  bool previous_match = false;
  for (const Stretch& stretch : stretches) {
    if (!out.empty() && joins(stretch.is_match, previous_match)) {
      out.back().range.begin = std::min(out.back().range.begin, stretch.range.begin);
      out.back().range.end = std::max(out.back().range.end, stretch.range.end);
    } else {
      out.push_back({stretch.range, false});
    }
    previous_match = stretch.is_match;
  }
  stretches = std::move(out);
}

void apply_behavior(std::vector<Stretch>& stretches, SplitBehavior behavior) {
  const auto match_joins = [](bool is_match, bool previous) { return is_match && !previous; };
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(stretches, [](const Stretch& s) { return s.is_match; });
      return;
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kMergedWithPrevious:
      return merge_stretches(stretches, match_joins);
    case SplitBehavior::kMergedWithNext:
      std::reverse(stretches.begin(), stretches.end());
      merge_stretches(stretches, match_joins);
      std::reverse(stretches.begin(), stretches.end());
      return;
    case SplitBehavior::kContiguous:
      return merge_stretches(stretches,
                             [](bool is_match, bool previous) { return is_match == previous; });
  }
}

// Splits by what Find(text, matches) finds.
template <typename Find>
class MatchSplitter final : public PieceSplitter {
 public:
  MatchSplitter(Find find, SplitBehavior behavior, bool invert)
      : find_(std::move(find)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view region, std::vector<std::string_view>& pieces) const override {
    std::vector<TextRange> matches;
    find_(region, matches);
    std::vector<Stretch> stretches = with_gaps(region.size(), matches, invert_);
    apply_behavior(stretches, behavior_);
    for (const Stretch& s : stretches) {
      if (s.range.begin < s.range.end) {
        pieces.push_back(region.substr(s.range.begin, s.range.end - s.range.begin));
      }
    }
  }

 private:
  Find find_;
  SplitBehavior behavior_;
  bool invert_;
};

template <typename Find>
std::shared_ptr<const PieceSplitter> make_match_splitter(Find find, SplitBehavior behavior,
                                                         bool invert) {
  return std::make_shared<MatchSplitter<Find>>(std::move(find), behavior, invert);
}

std::shared_ptr<const PieceSplitter> make_literal_split(std::string text, SplitBehavior behavior,
                                                        bool invert) {
  const auto find = [literal = std::move(text)](std::string_view region,
                                                std::vector<TextRange>& matches) {
    for (std::size_t at = region.find(literal); at != std::string_view::npos;
         at = region.find(literal, at + literal.size())) {
      matches.push_back({at, at + literal.size()});
    }
  };
  return make_match_splitter(find, behavior, invert);
}

// Matches every region whole: the patterns whose matches leave no gap.
bool covers_all(std::string_view pattern) {
  const KnownPattern* known = find_known_pattern(pattern);
  return known != nullptr && known->name != "deepseek-v3";
}

}  // namespace

void PreTokenizer::split(std::string_view text, PreTokenizerScratch& scratch) const {
  scratch.prefixed.clear();
  scratch.pieces.clear();
  if (text.empty()) return;
  scratch.pieces.push_back(text);
  for (const PreTokenizerStep& step : steps_) {
    if (step.add_prefix_space) {
      for (std::string_view& piece : scratch.pieces) {
        if (!piece.starts_with(' ')) piece = scratch.prefixed.emplace_back(" ").append(piece);
      }
    }
    if (step.splitter == nullptr) continue;
    scratch.next.clear();
    for (const std::string_view piece : scratch.pieces) step.splitter->split(piece, scratch.next);
    scratch.pieces.swap(scratch.next);
  }
}

std::shared_ptr<const PieceSplitter> make_regex_split(std::string_view pattern,
                                                      SplitBehavior behavior, bool invert) {
  const auto find = [regex = std::make_shared<const Regex>(pattern)](
                        std::string_view region, std::vector<TextRange>& matches) {
    regex->find_all(region, matches);
  };
  return make_match_splitter(find, behavior, invert);
}

std::shared_ptr<const PieceSplitter> make_split(std::string_view pattern, bool is_regex,
                                                SplitBehavior behavior, bool invert) {
  if (!is_regex && !pattern.empty())
    return make_literal_split(std::string(pattern), behavior, invert);
  const bool keeps_matches_only =
      behavior == SplitBehavior::kRemoved && invert && covers_all(pattern);
  if (behavior == SplitBehavior::kIsolated || keeps_matches_only) {
    if (const KnownPattern* known = find_known_pattern(pattern)) return known->make();
  }
  if (behavior == SplitBehavior::kIsolated) {
    if (auto runs = make_class_run_splitter(pattern)) return runs;
  }
  return make_regex_split(pattern, behavior, invert);
}

std::shared_ptr<const PieceSplitter> make_digits(bool individual) {
  return make_digit_splitter(individual);
}

std::shared_ptr<const PieceSplitter> make_punctuation(SplitBehavior behavior) {
  const auto find = [](std::string_view region, std::vector<TextRange>& matches) {
    const UnicodeTable& table = UnicodeTable::get();
    const char* const end = region.data() + region.size();
    for (std::size_t i = 0; i < region.size();) {
      const Char c = char_at(table, region.data() + i, end);
      if ((c.mask & kRustPunctuation) != 0) matches.push_back({i, i + c.size});
      i += c.size;
    }
  };
  return make_match_splitter(find, behavior, false);
}

namespace {

using Steps = std::vector<PreTokenizerStep>;

PreTokenizerStep isolated(std::string_view pattern) {
  return {make_split(pattern, true, SplitBehavior::kIsolated, false)};
}

// DeepSeek LLM, MoE, V2 and Coder-V2; the letters are an explicit list in their tokenizer.json.
// Singletons whose canonical form is another letter are written as escapes, so that no editor
// normalizes them away.
// clang-format off
constexpr std::string_view kDeepSeekLetters =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿ"
    "ᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-"
    "\xE1\xBD\xBD"  // U+1F7D
    "ᾀ-ᾴᾶ-ᾼ"
    "\xE1\xBE\xBE"  // U+1FBE
    "ῂ-ῄῆ-ῌῐ-"
    "\xE1\xBF\x93"  // U+1FD3
    "ῖ-"
    "\xE1\xBF\x9B"  // U+1FDB
    "ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ"
    "\xE2\x84\xA6"  // U+2126
    "ℨ"
    "\xE2\x84\xAA"  // U+212A
    "-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
// clang-format on
constexpr std::string_view kDeepSeekMarks = "\\s?[!-/:-~！-／：-～‘-‟　-。]+";
constexpr std::string_view kDeepSeekCjk = "[一-龥ࠀ-一가-퟿]+";

Steps deepseek_llm_steps() {
  return {isolated("[\r\n]"), isolated(kDeepSeekLetters), isolated(kDeepSeekMarks),
          isolated("\\s+$"),  isolated(kDeepSeekCjk),     {make_digits(true)}};
}

Steps deepseek_coder_steps() {
  return {isolated("[\r\n]"),
          isolated("\\s?\\p{L}+"),
          isolated("\\s?\\p{P}+"),
          isolated(kDeepSeekCjk),
          {make_digits(true)}};
}

Steps deepseek_v3_steps() {
  return {isolated("\\p{N}{1,3}"), isolated("[一-龥぀-ゟ゠-ヿ]+"),
          isolated(kDeepSeekV3Pattern)};
}

Steps one(std::string_view pattern) { return {isolated(pattern)}; }

struct NamedFamily {
  std::string_view name;    // tokenizer.ggml.pre
  std::string_view family;  // whose steps it has
};

constexpr NamedFamily kNames[] = {
    {"gpt-2", "gpt-2"},
    {"llama3", "llama-bpe"},
    {"llama-v3", "llama-bpe"},
    {"llama-bpe", "llama-bpe"},
    {"smaug-bpe", "llama-bpe"},
    {"dbrx", "llama-bpe"},
    {"qwen2", "qwen2"},
    {"deepseek-r1-qwen", "qwen2"},
    {"qwen35", "qwen35"},
    {"llama4", "llama4"},
    {"gpt-4o", "llama4"},
    {"kimi-k2", "kimi-k2"},
    {"deepseek-llm", "deepseek-llm"},
    {"deepseek-coder", "deepseek-coder"},
    {"deepseek-v3", "deepseek-v3"},
    {"seed-coder", "seed-coder"},
};

Steps family_steps(std::string_view family) {
  if (family == "deepseek-llm") return deepseek_llm_steps();
  if (family == "deepseek-coder") return deepseek_coder_steps();
  if (family == "deepseek-v3") return deepseek_v3_steps();
  for (const KnownPattern& known : known_patterns()) {
    if (known.name == family) return one(known.pattern);
  }
  SAMPAN_CHECK(false);
  return {};
}

}  // namespace

std::shared_ptr<const PreTokenizer> pre_tokenizer_by_name(std::string_view name) {
  for (const NamedFamily& entry : kNames) {
    if (entry.name == name) {
      return std::make_shared<PreTokenizer>(family_steps(entry.family), std::string(entry.family));
    }
  }
  fail(ErrorCode::kUnsupported, "tokenizer: pre-tokenizer '{}' is not known", printable(name));
}

}  // namespace sampan
