#include "text/class_runs.h"

#include <algorithm>
#include <bitset>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "text/unicode_table.h"

namespace sampan {
namespace {

// A set of characters.
class CharClass {
 public:
  void add_mask(std::uint64_t mask) { mask_ |= mask; }
  void add_range(char32_t first, char32_t last) { ranges_.push_back({first, last}); }

  // Call once after the last add_.
  void finish() {
    std::sort(ranges_.begin(), ranges_.end());
    std::vector<std::pair<char32_t, char32_t>> joined;
    for (const auto& range : ranges_) {
      if (!joined.empty() && range.first <= joined.back().second + 1) {
        joined.back().second = std::max(joined.back().second, range.second);
      } else {
        joined.push_back(range);
      }
    }
    ranges_ = std::move(joined);
    for (char32_t c = 0; c < kSmall; ++c) small_[c] = contains_slowly(c);
  }

  bool contains(char32_t c) const { return c < kSmall ? small_[c] : contains_slowly(c); }

 private:
  static constexpr char32_t kSmall = 0x800;

  bool contains_slowly(char32_t c) const {
    if ((UnicodeTable::get().mask(c) & mask_) != 0) return true;
    const auto after =
        std::upper_bound(ranges_.begin(), ranges_.end(), c,
                         [](char32_t value, const auto& range) { return value < range.first; });
    return after != ranges_.begin() && c <= std::prev(after)->second;
  }

  std::uint64_t mask_ = 0;
  std::vector<std::pair<char32_t, char32_t>> ranges_;  // sorted, disjoint
  std::bitset<kSmall> small_;                          // contains() for the small code points
};

// [\s?]CLASS{1,most}: matches and the stretches between them are pieces.
class ClassRunSplitter final : public PieceSplitter {
 public:
  ClassRunSplitter(CharClass members, bool space_prefix, std::size_t most)
      : members_(std::move(members)), space_prefix_(space_prefix), most_(most) {}

  void split(std::string_view region, std::vector<std::string_view>& pieces) const override {
    const char* p = region.data();
    const char* const end = p + region.size();
    const char* gap = p;
    const auto add = [&pieces](const char* from, const char* to) {
      if (from < to) pieces.emplace_back(from, static_cast<std::size_t>(to - from));
    };
    while (p < end) {
      const CodePoint c = decode_utf8(p, end);
      const char* const match = match_end(p, c, end);
      if (match == nullptr) {
        p += c.size;
        continue;
      }
      add(gap, p);
      add(p, match);
      gap = p = match;
    }
    add(gap, end);
  }

 private:
  const char* match_end(const char* p, CodePoint c, const char* end) const {
    if (space_prefix_ && (UnicodeTable::get().mask(c.value) & kSpace) != 0) {
      if (const char* after = run_end(p + c.size, end)) return after;
    }
    return members_.contains(c.value) ? run_end(p, end) : nullptr;
  }
  // The end of the run of at most most_ members at p, nullptr if there is none.
  const char* run_end(const char* p, const char* end) const {
    std::size_t count = 0;
    while (p < end && count < most_) {
      const CodePoint c = decode_utf8(p, end);
      if (!members_.contains(c.value)) break;
      p += c.size;
      ++count;
    }
    return count > 0 ? p : nullptr;
  }

  CharClass members_;
  bool space_prefix_;
  std::size_t most_;
};

// \s+$, where $ is before a line feed or at the end, as in Oniguruma.
class TrailingSpaceSplitter final : public PieceSplitter {
 public:
  void split(std::string_view region, std::vector<std::string_view>& pieces) const override {
    const UnicodeTable& table = UnicodeTable::get();
    const char* const end = region.data() + region.size();
    const char* p = region.data();
    const char* gap = p;
    const auto add = [&pieces](const char* from, const char* to) {
      if (from < to) pieces.emplace_back(from, static_cast<std::size_t>(to - from));
    };
    while (p < end) {
      const char* const run = p;
      const char* last_feed = nullptr;  // a line feed that is not the run's first character
      while (p < end) {
        const Char c = char_at(table, p, end);
        if ((c.mask & kSpace) == 0) break;
        if (*p == '\n' && p != run) last_feed = p;
        p += c.size;
      }
      const char* const match = p == end ? end : last_feed;
      if (p != run && match != nullptr) {
        add(gap, run);
        add(run, match);
        gap = match;
      }
      if (p < end) p += char_at(table, p, end).size;
    }
    add(gap, end);
  }
};

// Reads the patterns that class_runs.h describes; every function returns false or nothing where the
// text is no such pattern.
class ClassPatternReader {
 public:
  explicit ClassPatternReader(std::string_view pattern) : rest_(pattern) {}

  std::unique_ptr<PieceSplitter> read() {
    if (rest_ == R"(\s+$)") return std::make_unique<TrailingSpaceSplitter>();
    const bool space_prefix = take(R"(\s?)");
    CharClass members;
    if (!read_class(members)) return nullptr;
    const std::optional<std::size_t> most = read_quantifier();
    if (!most || !rest_.empty()) return nullptr;
    members.finish();
    return std::make_unique<ClassRunSplitter>(std::move(members), space_prefix, *most);
  }

 private:
  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  bool read_class(CharClass& members) {
    if (rest_.starts_with(R"(\p)")) return read_property(members);
    if (!take("[") || rest_.starts_with('^') || rest_.starts_with(']')) return false;
    while (!take("]")) {
      if (rest_.starts_with(R"(\p)")) {
        if (!read_property(members)) return false;
      } else if (!read_range(members)) {
        return false;
      }
    }
    return true;
  }

  bool read_property(CharClass& members) {
    if (!take(R"(\p{)")) return false;
    const std::size_t close = rest_.find('}');
    if (close == std::string_view::npos) return false;
    const auto mask = property_mask(rest_.substr(0, close));
    rest_.remove_prefix(close + 1);
    if (mask) members.add_mask(*mask);
    return mask.has_value();
  }

  bool read_range(CharClass& members) {
    const auto first = read_char();
    if (!first) return false;
    auto last = first;
    if (rest_.size() >= 2 && rest_[0] == '-' && rest_[1] != ']') {
      rest_.remove_prefix(1);
      last = read_char();
    }
    if (!last || *last < *first) return false;
    members.add_range(*first, *last);
    return true;
  }

  std::optional<char32_t> read_char() {
    if (rest_.empty() || rest_.starts_with('[') || rest_.starts_with("&&")) return std::nullopt;
    if (rest_[0] == '\\') return read_escape();
    const CodePoint c = decode_utf8(rest_.data(), rest_.data() + rest_.size());
    if (c.value == kInvalidByte) return std::nullopt;
    rest_.remove_prefix(c.size);
    return c.value;
  }

  std::optional<char32_t> read_escape() {
    if (rest_.size() < 2) return std::nullopt;
    const char c = rest_[1];
    rest_.remove_prefix(2);
    if (c == 'r') return U'\r';
    if (c == 'n') return U'\n';
    if (c == 't') return U'\t';
    const bool alphanumeric = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    const auto code = static_cast<unsigned char>(c);
    if (alphanumeric || code < 0x20 || code >= 0x7F) return std::nullopt;
    return code;
  }

  std::optional<std::size_t> read_quantifier() {
    if (rest_.empty() || take("{1}")) return 1;
    if (take("+")) return std::numeric_limits<std::size_t>::max();
    if (rest_.size() == 5 && take("{1,") && rest_[0] >= '1' && rest_[0] <= '9' && rest_[1] == '}') {
      const auto most = static_cast<std::size_t>(rest_[0] - '0');
      rest_.remove_prefix(2);
      return most;
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

}  // namespace

std::unique_ptr<PieceSplitter> make_class_run_splitter(std::string_view pattern) {
  return ClassPatternReader(pattern).read();
}

std::unique_ptr<PieceSplitter> make_digit_splitter(bool individual) {
  CharClass digits;
  digits.add_mask(kRustNumeric);
  digits.finish();
  const std::size_t most = individual ? 1 : std::numeric_limits<std::size_t>::max();
  return std::make_unique<ClassRunSplitter>(std::move(digits), false, most);
}

}  // namespace sampan
