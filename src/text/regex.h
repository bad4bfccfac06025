#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"

namespace sampan {

// A pre-tokenizer pattern run by PCRE2, for published patterns that have no scanner of their own
// (scanners.h). Read-only after construction, thread-safe.
//
// Agrees with Oniguruma as tokenizers builds it, also on characters newer than PCRE2's Unicode data
// (pattern_syntax.h). Bytes that are no UTF-8 are control characters to the pattern.
class Regex {
 public:
  // Throws Error kUnsupported for constructs of Oniguruma that are not translated
  // (pattern_syntax.h), kInvalidData for a pattern that does not compile, kLimit for one above 64
  // KiB.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Appends all matches in `text`, from left to right, as Oniguruma's find_iter gives them. Throws
  // Error kLimit when the pattern backtracks beyond its limits or runs longer than a minute.
  void find_all(std::string_view text, std::vector<TextRange>& matches) const;

 private:
  struct Code;
  std::string pattern_;
  std::unique_ptr<Code> code_;
};

}  // namespace sampan
