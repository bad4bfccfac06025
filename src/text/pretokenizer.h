#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/scanners.h"

namespace sampan {

// What tokenizers' Split does with matches and with what lies between them.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// One step of a pre-tokenizer: every piece that it is given is split further.
struct PreTokenizerStep {
  std::shared_ptr<const PieceSplitter> splitter;
  bool add_prefix_space =
      false;  // first puts a space in front of pieces that do not start with one
};

// The buffers of PreTokenizer::split, kept to be used again.
struct PreTokenizerScratch {
  std::vector<std::string_view> pieces, next;
  std::deque<std::string> prefixed;  // owns the pieces that were given a space
};

// The sequence of splits that a family applies to text before merging. Read-only, thread-safe.
class PreTokenizer {
 public:
  // `family`: a word for people, as "qwen2".
  PreTokenizer(std::vector<PreTokenizerStep> steps, std::string family)
      : steps_(std::move(steps)), family_(std::move(family)) {}

  // Leaves the pieces of `text`, none empty, in scratch.pieces; they are views of `text` or of the
  // scratch.
  void split(std::string_view text, PreTokenizerScratch& scratch) const;

  const std::string& family() const { return family_; }

 private:
  std::vector<PreTokenizerStep> steps_;
  std::string family_;
};

// A Split step. A pattern that is known gets its scanner; others run in PCRE2. Throws as Regex
// does.
std::shared_ptr<const PieceSplitter> make_split(std::string_view pattern, bool is_regex,
                                                SplitBehavior behavior, bool invert);
// The same without scanners: what they are tested against.
std::shared_ptr<const PieceSplitter> make_regex_split(std::string_view pattern,
                                                      SplitBehavior behavior, bool invert);

// tokenizers' Digits and Punctuation.
std::shared_ptr<const PieceSplitter> make_digits(bool individual);
std::shared_ptr<const PieceSplitter> make_punctuation(SplitBehavior behavior);

// The pre-tokenizer of a family by its GGUF name (tokenizer.ggml.pre); throws Error kUnsupported
// for an unknown name. llama.cpp's table of names, with the patterns of the families' own
// tokenizer.json.
std::shared_ptr<const PreTokenizer> pre_tokenizer_by_name(std::string_view name);

}  // namespace sampan
