#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/vocabulary.h"

namespace sampan {

// Collects what a vocabulary file lists and checks the ids before anything is allocated for them.
class TokenTable {
 public:
  // `name` is what messages call the file.
  explicit TokenTable(std::string name) : name_(std::move(name)) {}

  // A vocabulary entry; `text` must stay valid until build(). Written in the byte alphabet, or
  // outside of it (a special token of the vocabulary, which no text merges to).
  void add(std::string_view text, std::int64_t id);
  // An added token; the same for `content`.
  void reserve_id(std::int64_t id, std::string_view content);

  // The vocabulary of all entries. Throws Error kInvalidData when an id is negative, doubly used by
  // vocabulary entries, or so large that most ids would have no token.
  std::shared_ptr<Vocabulary> build() const;

 private:
  struct Entry {
    std::string_view text;
    std::int64_t id;
  };
  void note_id(std::int64_t id, std::string_view text);

  std::string name_;
  std::vector<Entry> entries_;
  std::size_t reserved_ = 0;
  std::int64_t largest_ = -1;
  std::string_view largest_text_;
};

// Turns a list of "left right" or (left, right) merges in the byte alphabet into ids.
class MergeTable {
 public:
  MergeTable(std::string name, const Vocabulary& vocabulary)
      : name_(std::move(name)), vocabulary_(vocabulary) {}

  // Throws Error kInvalidData when a part or the whole is no token, or (first form) there are not
  // two parts.
  void add(std::string_view line);
  void add(std::string_view left, std::string_view right);

  std::span<const Bpe::Merge> merges() const { return merges_; }

 private:
  std::string name_;
  const Vocabulary& vocabulary_;
  std::vector<Bpe::Merge> merges_;
  std::string bytes_;
};

}  // namespace sampan
