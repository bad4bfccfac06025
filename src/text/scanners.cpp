#include "text/scanners.h"

#include <utility>

#include "text/unicode_table.h"

// Every scanner walks a region once. At each position it decides by the character there which
// alternative of the pattern matches, in the pattern's order, with the outcome that a backtracking
// engine would reach; the comments give the alternatives. Long runs are looked at no more than
// twice, so that a scan is linear in the text.

namespace sampan {
namespace {

// A position in a region and the character there.
class Cursor {
 public:
  Cursor(const UnicodeTable& table, const char* p, const char* end)
      : table_(&table), p_(p), end_(end) {}

  const char* position() const { return p_; }
  bool at_end() const { return p_ >= end_; }
  // The character here; all bits clear at the end.
  Char peek() const { return at_end() ? Char{0, 0} : char_at(*table_, p_, end_); }
  Cursor after(const Char& c) const { return {*table_, p_ + c.size, end_}; }
  bool starts_with(char c) const { return !at_end() && *p_ == c; }
  // The position after the run of characters that have a bit of `mask`.
  Cursor skip(std::uint64_t mask) const {
    Cursor cursor = *this;
    for (Char c = cursor.peek(); (c.mask & mask) != 0; c = cursor.peek()) cursor.p_ += c.size;
    return cursor;
  }
  // The same for characters that have none of the bits.
  Cursor skip_unless(std::uint64_t mask) const {
    Cursor cursor = *this;
    while (!cursor.at_end()) {
      const Char c = cursor.peek();
      if ((c.mask & mask) != 0) break;
      cursor.p_ += c.size;
    }
    return cursor;
  }
  Cursor skip_at_most(std::uint64_t mask, int count) const {
    Cursor cursor = *this;
    for (int i = 0; i < count; ++i) {
      const Char c = cursor.peek();
      if ((c.mask & mask) == 0) break;
      cursor.p_ += c.size;
    }
    return cursor;
  }
  const char* end() const { return end_; }

 private:
  const UnicodeTable* table_;
  const char* p_;
  const char* end_;
};

// \s+(?!\S) | \s+ at white space: the run, without its last character where something else follows,
// unless that is all.
const char* match_spaces(const Cursor& start) {
  const char* last = start.position();
  Cursor cursor = start;
  for (Char c = cursor.peek(); (c.mask & kSpace) != 0; c = cursor.peek()) {
    last = cursor.position();
    cursor = cursor.after(c);
  }
  return cursor.at_end() || last == start.position() ? cursor.position() : last;
}

// \s*[\r\n]+ | \s+(?!\S) | \s+ at white space: up to behind the run's last line end if it has one.
const char* match_spaces_and_newlines(const Cursor& start) {
  const char* last = start.position();
  const char* after_newline = nullptr;
  Cursor cursor = start;
  for (Char c = cursor.peek(); (c.mask & kSpace) != 0; c = cursor.peek()) {
    last = cursor.position();
    cursor = cursor.after(c);
    if ((c.mask & kNewline) != 0) after_newline = cursor.position();
  }
  if (after_newline != nullptr) return after_newline;
  return cursor.at_end() || last == start.position() ? cursor.position() : last;
}

// Length in bytes of (?i:'s|'t|'re|'ve|'m|'ll|'d) at p, or 0. The long s (U+017F) folds to s, as
// everywhere in Unicode.
std::size_t contraction_length(const char* p, const char* end) {
  if (end - p < 2 || *p != '\'') return 0;
  const auto lower = [](char c) { return static_cast<char>(c | 0x20); };
  const char first = lower(p[1]);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (end - p < 3) return 0;
  const char second = lower(p[2]);
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  if (p[1] == '\xC5' && p[2] == '\xBF') return 3;
  return 0;
}

// The loop that all share: Rules::match(cursor) returns the end of the piece that starts at the
// cursor.
template <typename Rules>
class Scanner final : public PieceSplitter {
 public:
  void split(std::string_view region, std::vector<std::string_view>& pieces) const override {
    const UnicodeTable& table = UnicodeTable::get();
    const char* p = region.data();
    const char* const end = p + region.size();
    while (p < end) {
      const char* const next = Rules::match(Cursor(table, p, end));
      pieces.emplace_back(p, static_cast<std::size_t>(next - p));
      p = next;
    }
  }
};

template <typename Rules>
std::unique_ptr<PieceSplitter> make_scanner() {
  return std::make_unique<Scanner<Rules>>();
}

// 's|'t|'re|'ve|'m|'ll|'d | ?\p{L}+ | ?\p{N}+ | ?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
struct Gpt2Rules {
  static const char* match(const Cursor& start) {
    if (start.starts_with('\'')) {
      const std::size_t length = contraction_length(start.position(), start.end());
      // Here the letters are lower case only.
      const std::string_view found(start.position(), length);
      if (length > 0 && found[1] >= 'a' && (length == 2 || found[2] >= 'a') && found[1] <= 'z') {
        return start.position() + length;
      }
    }
    Char c = start.peek();
    Cursor cursor = start;
    if (start.starts_with(' ')) {
      const Char next = start.after(c).peek();
      if (next.size == 0 || (next.mask & kSpace) != 0) return match_spaces(start);
      cursor = start.after(c);
      c = next;
    } else if ((c.mask & kSpace) != 0) {
      return match_spaces(start);
    }
    if ((c.mask & kLetter) != 0) return cursor.skip(kLetter).position();
    if ((c.mask & kNumber) != 0) return cursor.skip(kNumber).position();
    return cursor.skip_unless(kSpace | kLetter | kNumber).position();
  }
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?LETTERS+ | \p{N}{1,Digits} | ?[^\s LETTERS
// \p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+, where LETTERS is \p{L}, with Marks also \p{M}.
// Without NewlineTail (Seed) the fourth alternative has no [\r\n]*.
template <bool Marks, int Digits, bool NewlineTail>
struct Llama3Rules {
  static constexpr std::uint64_t kLetters = Marks ? kLetter | kMark : kLetter;

  static const char* match(const Cursor& start) {
    if (start.starts_with('\'')) {
      const std::size_t length = contraction_length(start.position(), start.end());
      if (length > 0) return start.position() + length;
    }
    const Char c = start.peek();
    if ((c.mask & kLetters) != 0) return start.skip(kLetters).position();
    if ((c.mask & kNumber) != 0) return start.skip_at_most(kNumber, Digits).position();
    const Cursor second = start.after(c);
    const std::uint64_t next = second.peek().mask;
    if ((c.mask & kNewline) == 0 && (next & kLetters) != 0) return second.skip(kLetters).position();
    constexpr std::uint64_t kNotOther = kSpace | kLetters | kNumber;
    const bool space_before_other =
        start.starts_with(' ') && !second.at_end() && (next & kNotOther) == 0;
    if ((c.mask & kSpace) != 0 && !space_before_other) return match_spaces_and_newlines(start);
    const Cursor after = second.skip_unless(kNotOther);
    return NewlineTail ? after.skip(kNewline).position() : after.position();
  }
};

// The o200k family. With W = [\p{Ll}\p{Lm}\p{Lo}\p{M}], U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and C
// the contractions:
// [^\r\n\p{L}\p{N}]?U*W+C? | [^\r\n\p{L}\p{N}]?U+W*C? | \p{N}{1,3} | ?[^\s\p{L}\p{N}]+[\r\n SLASH]*
// | \s*[\r\n]+ | \s+(?!\S) | \s+. Kimi: first of all [\p{Han}]+, and no Han in U and W.
template <bool Kimi>
struct O200kRules {
  static bool upperish(const Char& c) {
    return (c.mask & kUpperish) != 0 && !(Kimi && (c.mask & kHanScript));
  }
  static bool lowerish(const Char& c) {
    return (c.mask & kLowerish) != 0 && !(Kimi && (c.mask & kHanScript));
  }

  // The end of U*W+ at `start`, or nullptr. U* takes the whole run and gives back characters until
  // W+ has one.
  static const char* match_lower_word(const Cursor& start) {
    Cursor cursor = start;
    const char* after_last_lowerish = nullptr;
    for (Char c = cursor.peek(); upperish(c); c = cursor.peek()) {
      cursor = cursor.after(c);
      if (lowerish(c)) after_last_lowerish = cursor.position();
    }
    if (!lowerish(cursor.peek())) return after_last_lowerish;
    for (Char c = cursor.peek(); lowerish(c); c = cursor.peek()) cursor = cursor.after(c);
    return cursor.position();
  }
  // The end of U+W* where U*W+ does not match: then what follows U+ is no W.
  static const char* match_upper_word(const Cursor& start) {
    Cursor cursor = start;
    for (Char c = cursor.peek(); upperish(c); c = cursor.peek()) cursor = cursor.after(c);
    return cursor.position() == start.position() ? nullptr : cursor.position();
  }
  template <typename Match>
  static const char* with_optional_prefix(const Cursor& start, Match match) {
    const Char c = start.peek();
    const char* end = nullptr;
    if ((c.mask & (kNewline | kLetter | kNumber)) == 0) end = match(start.after(c));
    return end != nullptr ? end : match(start);
  }
  static const char* match_word(const Cursor& start) {
    const char* end = with_optional_prefix(start, match_lower_word);
    if (end == nullptr) end = with_optional_prefix(start, match_upper_word);
    return end == nullptr ? nullptr : end + contraction_length(end, start.end());
  }

  static const char* match(const Cursor& start) {
    const Char c = start.peek();
    if (Kimi && (c.mask & kHanScript) != 0) return start.skip(kHanScript).position();
    if (const char* end = match_word(start)) return end;
    if ((c.mask & kNumber) != 0) return start.skip_at_most(kNumber, 3).position();
    const Cursor second = start.after(c);
    constexpr std::uint64_t kNotOther = kSpace | kLetter | kNumber;
    const bool space_before_other =
        start.starts_with(' ') && !second.at_end() && (second.peek().mask & kNotOther) == 0;
    if ((c.mask & kSpace) != 0 && !space_before_other) return match_spaces_and_newlines(start);
    Cursor after = second.skip_unless(kNotOther);
    while (after.starts_with('\r') || after.starts_with('\n') ||
           (!Kimi && after.starts_with('/'))) {
      after = after.after(after.peek());
    }
    return after.position();
  }
};

// The last of DeepSeek-V3's three patterns: [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+ |
// [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ | ?[\p{P}\p{S}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+. Not
// every character matches: control characters, digits and unassigned ones can be left over.
struct DeepSeekV3Rules {
  static bool is_ascii_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
  static bool is_ascii_mark(char c) {
    return c > ' ' && c < 0x7F && !(c >= '0' && c <= '9') && !is_ascii_letter(c);
  }
  // The end of the match at `start`, or nullptr.
  static const char* match_here(const Cursor& start) {
    constexpr std::uint64_t kLetters = kLetter | kMark;
    const Char c = start.peek();
    const Cursor second = start.after(c);
    if (is_ascii_mark(*start.position()) && !second.at_end() &&
        is_ascii_letter(*second.position())) {
      const char* p = second.position();
      while (p < start.end() && is_ascii_letter(*p)) ++p;
      return p;
    }
    const std::uint64_t next = second.peek().mask;
    const bool may_precede = (c.mask & (kNewline | kLetter | kPunctuation | kSymbol)) == 0;
    if (may_precede && (next & kLetters) != 0) return second.skip(kLetters).position();
    if ((c.mask & kLetters) != 0) return start.skip(kLetters).position();
    constexpr std::uint64_t kMarks = kPunctuation | kSymbol;
    if ((c.mask & kMarks) != 0) return start.skip(kMarks).skip(kNewline).position();
    if (start.starts_with(' ') && (next & kMarks) != 0)
      return second.skip(kMarks).skip(kNewline).position();
    if ((c.mask & kSpace) != 0) return match_spaces_and_newlines(start);
    return nullptr;
  }
  static const char* match(const Cursor& start) {
    if (const char* end = match_here(start)) return end;
    Cursor cursor = start.after(start.peek());
    while (!cursor.at_end() && match_here(cursor) == nullptr) cursor = cursor.after(cursor.peek());
    return cursor.position();
  }
};

}  // namespace

const std::string_view kGpt2Pattern =
    R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re";
const std::string_view kLlama3Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})re"
    R"re(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kQwen2Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})re"
    R"re(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kQwen35Pattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})re"
    R"re(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kO200kPattern =
    R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)re"
    R"re(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)re"
    R"re(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kKimiPattern =
    R"re([\p{Han}]+)re"
    R"re(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)re"
    R"re([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)re"
    R"re(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)re"
    R"re([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)re"
    R"re(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
const std::string_view kDeepSeekV3Pattern =
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const std::string_view kSeedPattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+"
    "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

const std::vector<KnownPattern>& known_patterns() {
  static const std::vector<KnownPattern> patterns = {
      {"gpt-2", kGpt2Pattern, make_scanner<Gpt2Rules>},
      {"llama-bpe", kLlama3Pattern, make_scanner<Llama3Rules<false, 3, true>>},
      {"qwen2", kQwen2Pattern, make_scanner<Llama3Rules<false, 1, true>>},
      {"qwen35", kQwen35Pattern, make_scanner<Llama3Rules<true, 1, true>>},
      {"llama4", kO200kPattern, make_scanner<O200kRules<false>>},
      {"kimi-k2", kKimiPattern, make_scanner<O200kRules<true>>},
      {"deepseek-v3", kDeepSeekV3Pattern, make_scanner<DeepSeekV3Rules>},
      {"seed-coder", kSeedPattern, make_scanner<Llama3Rules<false, 1, false>>},
  };
  return patterns;
}

namespace {

// Published files write line ends in a pattern as escapes or as themselves.
std::string with_escaped_newlines(std::string_view pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

const KnownPattern* find_known_pattern(std::string_view pattern) {
  const std::string wanted = with_escaped_newlines(pattern);
  for (const KnownPattern& known : known_patterns()) {
    if (with_escaped_newlines(known.pattern) == wanted) return &known;
  }
  return nullptr;
}

}  // namespace sampan
