#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// A token that is recognised in the text as it stands, before the text is split and merged.
struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool special = false;      // left out by decode(ids, skip_special)
  bool normalized = false;   // looked for in the normalized text
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // takes the white space after it along
};

// A byte range.
struct TextRange {
  std::size_t begin, end;
};

// Finds a set of added tokens, the leftmost and there the longest first, as tokenizers'
// AddedVocabulary does. Read-only after construction, thread-safe.
class AddedTokenFinder {
 public:
  static constexpr std::size_t kMaxContentBytes = 1024;

  AddedTokenFinder() = default;
  // `tokens` must outlive the finder. A content that occurs twice belongs to the last one. Throws
  // Error kLimit for a content above kMaxContentBytes.
  explicit AddedTokenFinder(std::vector<const AddedToken*> tokens);

  bool empty() const { return nodes_.empty(); }

  struct Match {
    TextRange range;  // with the white space that the token takes along
    const AddedToken* token;
  };
  // Appends the matches in `text` that lie wholly within one of `allowed` (disjoint ascending
  // ranges; the white space that a match takes along may lie outside). A match may start inside the
  // white space that the one before took along (tokenizers finds it there too); text goes on behind
  // the end of the last match.
  void find(std::string_view text, std::span<const TextRange> allowed,
            std::vector<Match>& matches) const;

 private:
  struct Node {
    const AddedToken* token = nullptr;  // whose content ends here
    std::uint32_t first_child = 0;      // children are contiguous, by ascending byte
    std::uint16_t child_count = 0;
    unsigned char byte = 0;
  };
  void build(std::span<const AddedToken* const> tokens, std::size_t depth, std::uint32_t node);
  const AddedToken* longest_match(std::string_view text) const;
  bool accept(std::string_view text, std::size_t taken, Match& match) const;

  std::vector<Node> nodes_;  // nodes_[0] is the root
  std::array<bool, 256> starts_{};
};

}  // namespace sampan
