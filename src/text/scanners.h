#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sampan {

// Splits a region of text into pieces that cover it, and appends them. Matches of the pattern and
// the stretches between matches both become pieces (the "Isolated" behaviour of tokenizers' Split).
// Thread-safe.
class PieceSplitter {
 public:
  virtual ~PieceSplitter() = default;
  virtual void split(std::string_view region, std::vector<std::string_view>& pieces) const = 0;
};

// A hand-written equivalent of a published pre-tokenizer pattern.
struct KnownPattern {
  std::string_view name;     // the family, as GGUF's tokenizer.ggml.pre where it has a name there
  std::string_view pattern;  // as it stands in the family's tokenizer.json or Python file
  std::unique_ptr<PieceSplitter> (*make)();
};

// The scanner for exactly this pattern, or nullptr.
const KnownPattern* find_known_pattern(std::string_view pattern);
const std::vector<KnownPattern>& known_patterns();

// Published patterns that other files of this folder refer to.
extern const std::string_view kGpt2Pattern;
extern const std::string_view kLlama3Pattern;
extern const std::string_view kQwen2Pattern;
extern const std::string_view kQwen35Pattern;
extern const std::string_view kO200kPattern;
extern const std::string_view kKimiPattern;
extern const std::string_view kDeepSeekV3Pattern;  // the last of DeepSeek-V3's three
extern const std::string_view kSeedPattern;

}  // namespace sampan
