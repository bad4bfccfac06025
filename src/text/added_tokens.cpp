#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode_table.h"

namespace sampan {
namespace {

// The start of the last character that ends at `end` (an invalid byte counts as one).
std::size_t previous_char(std::string_view text, std::size_t end) {
  for (std::size_t size = 2; size <= 4 && size <= end; ++size) {
    const char* p = text.data() + end - size;
    if (decode_utf8(p, text.data() + end).size == size) return end - size;
  }
  return end - 1;
}

std::uint64_t mask_at(std::string_view text, std::size_t i) {
  return char_at(UnicodeTable::get(), text.data() + i, text.data() + text.size()).mask;
}

bool word_before(std::string_view text, std::size_t i) {
  return i > 0 && (mask_at(text, previous_char(text, i)) & kWordChar) != 0;
}

bool word_at(std::string_view text, std::size_t i) {
  return i < text.size() && (mask_at(text, i) & kWordChar) != 0;
}

std::size_t skip_space_back(std::string_view text, std::size_t i, std::size_t limit) {
  while (i > limit) {
    const std::size_t previous = previous_char(text, i);
    if (previous < limit || (mask_at(text, previous) & kSpace) == 0) break;
    i = previous;
  }
  return i;
}

std::size_t skip_space(std::string_view text, std::size_t i) {
  while (i < text.size()) {
    const Char c = char_at(UnicodeTable::get(), text.data() + i, text.data() + text.size());
    if ((c.mask & kSpace) == 0) break;
    i += c.size;
  }
  return i;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<const AddedToken*> tokens) {
  std::erase_if(tokens, [](const AddedToken* token) { return token->content.empty(); });
  if (tokens.empty()) return;
  for (const AddedToken* token : tokens) {
    if (token->content.size() > kMaxContentBytes) {
      fail(ErrorCode::kLimit, "tokenizer: added token '{}' has {} bytes, at most {} are supported",
           printable(token->content, 40), token->content.size(), kMaxContentBytes);
    }
    starts_[static_cast<unsigned char>(token->content[0])] = true;
  }
  std::stable_sort(tokens.begin(), tokens.end(), [](const AddedToken* a, const AddedToken* b) {
    return a->content < b->content;
  });
  nodes_.emplace_back();
  build(tokens, 0, 0);
}

// Lays out the subtree of the tokens (sorted) that share their first `depth` bytes.
void AddedTokenFinder::build(std::span<const AddedToken* const> tokens, std::size_t depth,
                             std::uint32_t node) {
  while (!tokens.empty() && tokens.front()->content.size() == depth) {
    nodes_[node].token = tokens.front();
    tokens = tokens.subspan(1);
  }
  const auto byte_of = [depth](const AddedToken* token) { return token->content[depth]; };
  const auto group_end = [&](std::size_t begin) {
    std::size_t end = begin;
    while (end < tokens.size() && byte_of(tokens[end]) == byte_of(tokens[begin])) ++end;
    return end;
  };
  const auto first_child = static_cast<std::uint32_t>(nodes_.size());
  nodes_[node].first_child = first_child;
  for (std::size_t i = 0; i < tokens.size(); i = group_end(i)) {
    ++nodes_[node].child_count;
    nodes_.emplace_back().byte = static_cast<unsigned char>(byte_of(tokens[i]));
  }
  std::uint32_t child = first_child;
  for (std::size_t i = 0; i < tokens.size();) {
    const std::size_t end = group_end(i);
    build(tokens.subspan(i, end - i), depth + 1, child++);
    i = end;
  }
}

const AddedToken* AddedTokenFinder::longest_match(std::string_view text) const {
  const AddedToken* found = nullptr;
  const Node* node = &nodes_[0];
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const Node* const first = nodes_.data() + node->first_child;
    const Node* const last = first + node->child_count;
    const Node* const child = std::lower_bound(
        first, last, byte, [](const Node& n, unsigned char b) { return n.byte < b; });
    if (child == last || child->byte != byte) break;
    node = child;
    if (node->token != nullptr) found = node->token;
  }
  return found;
}

// Applies the token's flags to a match of its content; `taken` is where the previous match ends.
bool AddedTokenFinder::accept(std::string_view text, std::size_t taken, Match& match) const {
  const AddedToken& token = *match.token;
  TextRange& range = match.range;
  if (token.single_word && (word_before(text, range.begin) || word_at(text, range.end)))
    return false;
  if (token.lstrip) range.begin = std::max(taken, skip_space_back(text, range.begin, taken));
  if (token.rstrip) range.end = skip_space(text, range.end);
  return true;
}

void AddedTokenFinder::find(std::string_view text, std::span<const TextRange> allowed,
                            std::vector<Match>& matches) const {
  if (nodes_.empty()) return;
  std::size_t taken = 0;
  for (const TextRange& part : allowed) {
    std::size_t i = part.begin;
    while (i < part.end) {
      if (!starts_[static_cast<unsigned char>(text[i])]) {
        ++i;
        continue;
      }
      const AddedToken* token = longest_match(text.substr(i, part.end - i));
      if (token == nullptr) {
        ++i;
        continue;
      }
      Match match{{i, i + token->content.size()}, token};
      i = match.range.end;  // also when it is not accepted: the search goes on behind it
      if (accept(text, taken, match)) {
        taken = match.range.end;
        matches.push_back(match);
      }
    }
  }
}

}  // namespace sampan
