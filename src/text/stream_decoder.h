#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace sampan {

// Turns bytes that arrive in pieces into UTF-8 text: what is returned is always well-formed. An
// incomplete sequence at the end is held back until it is complete or broken; bytes that break a
// sequence become U+FFFD, one for each longest beginning of a sequence, as Python's
// errors="replace" gives for the whole.
class Utf8Stream {
 public:
  std::string append(std::string_view bytes);
  // What is held back, as U+FFFD; the stream starts afresh.
  std::string flush();

 private:
  std::string held_;  // at most 3 bytes, a beginning of a sequence
};

// Incremental detokenization of one sequence of ids. Not thread-safe.
class StreamDecoder {
 public:
  // With skip_special, tokens that are special give no text.
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special = true)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  // The text that has become certain with this id; empty for an id without token.
  std::string append(std::int32_t id);
  // The rest, at the end of the sequence.
  std::string flush() { return stream_.flush(); }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  Utf8Stream stream_;
};

}  // namespace sampan
