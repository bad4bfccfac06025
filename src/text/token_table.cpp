#include "text/token_table.h"

#include <algorithm>

#include "base/error.h"
#include "text/byte_alphabet.h"

namespace sampan {

void TokenTable::add(std::string_view text, std::int64_t id) {
  note_id(id, text);
  entries_.push_back({text, id});
}

void TokenTable::reserve_id(std::int64_t id, std::string_view content) {
  note_id(id, content);
  ++reserved_;
}

void TokenTable::note_id(std::int64_t id, std::string_view text) {
  if (id < 0)
    fail(ErrorCode::kInvalidData, "{}: token '{}' has the id {}", name_, printable(text), id);
  if (id <= largest_) return;
  largest_ = id;
  largest_text_ = text;
}

std::shared_ptr<Vocabulary> TokenTable::build() const {
  const std::size_t count = entries_.size() + reserved_;
  // Published files leave few ids unused (Kimi's reserved ones, padding); memory is in proportion
  // to the largest.
  const std::size_t most = std::min<std::size_t>(2 * count + 65536, Vocabulary::kMaxTokens);
  if (largest_ >= static_cast<std::int64_t>(most)) {
    fail(ErrorCode::kInvalidData, "{}: token '{}' has the id {}, too large for {} tokens", name_,
         printable(largest_text_), largest_, count);
  }
  auto vocabulary = std::make_shared<Vocabulary>(static_cast<std::size_t>(largest_ + 1));
  std::string bytes;
  for (const Entry& entry : entries_) {
    const auto id = static_cast<std::int32_t>(entry.id);
    if (vocabulary->has(id)) {
      fail(ErrorCode::kInvalidData, "{}: tokens '{}' and '{}' have the same id {}", name_,
           printable(vocabulary->bytes(id)), printable(entry.text), id);
    }
    bytes.clear();
    const bool in_alphabet = append_alphabet_bytes(entry.text, bytes);
    vocabulary->set(id, in_alphabet ? bytes : entry.text, in_alphabet);
  }
  return vocabulary;
}

void MergeTable::add(std::string_view line) {
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    fail(ErrorCode::kInvalidData, "{}: merge {} '{}' is not two tokens", name_, merges_.size() + 1,
         printable(line));
  }
  add(line.substr(0, space), line.substr(space + 1));
}

void MergeTable::add(std::string_view left, std::string_view right) {
  bytes_.clear();
  Bpe::Merge merge{Vocabulary::kNone, Vocabulary::kNone, Vocabulary::kNone};
  if (append_alphabet_bytes(left, bytes_)) {
    const std::size_t left_bytes = bytes_.size();
    if (append_alphabet_bytes(right, bytes_)) {
      const std::string_view whole = bytes_;
      merge = {vocabulary_.find(whole.substr(0, left_bytes)),
               vocabulary_.find(whole.substr(left_bytes)), vocabulary_.find(whole)};
    }
  }
  if (merge.left == Vocabulary::kNone || merge.right == Vocabulary::kNone ||
      merge.merged == Vocabulary::kNone) {
    fail(ErrorCode::kInvalidData,
         "{}: merge {} '{} {}': a part or the whole is not in the vocabulary", name_,
         merges_.size() + 1, printable(left), printable(right));
  }
  merges_.push_back(merge);
}

}  // namespace sampan
