#include <utility>

#include "base/error.h"
#include "text/json_access.h"
#include "text/token_table.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_parts.h"

namespace sampan {
namespace {

// Calls line(text) for the lines of `text`, without line end.
template <typename Line>
void for_each_line(std::string_view text, Line line) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view current = text.substr(0, end);
    if (current.ends_with('\r')) current.remove_suffix(1);
    line(current);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

bool is_class(std::string_view tokenizer_class, std::string_view name) {
  return tokenizer_class == name ||
         (tokenizer_class.starts_with(name) && tokenizer_class.substr(name.size()) == "Fast");
}

}  // namespace

std::shared_ptr<const Tokenizer> load_vocab_and_merges(std::string_view vocab,
                                                       std::string_view merges_text,
                                                       const TokenizerConfig& config) {
  const std::string_view name = config.tokenizer_class;
  const bool gpt2 = is_class(name, "GPT2Tokenizer");
  if (!gpt2 && !name.empty() && !is_class(name, "Qwen2Tokenizer")) {
    fail(ErrorCode::kUnsupported,
         "tokenizer_config.json: a '{}' of vocab.json and merges.txt is not supported; "
         "tokenizer.json would be",
         printable(name));
  }
  const JsonDocument document(vocab, "vocab.json");
  TokenizerParts parts;
  TokenTable table("vocab.json");
  for (const auto entry : document.root())
    table.add(entry.key, json::to_int(entry.value, "vocab.json"));
  parts.added_tokens = config.added_tokens;
  for (const AddedToken& token : parts.added_tokens) table.reserve_id(token.id, token.content);
  parts.vocabulary = table.build();
  MergeTable merges("merges.txt", *parts.vocabulary);
  for_each_line(merges_text, [&merges](std::string_view line) {
    if (!line.empty() && !line.starts_with("#version")) merges.add(line);
  });
  parts.bpe = std::make_unique<Bpe>(parts.vocabulary, merges.merges(), Bpe::Options{});
  parts.pre_tokenizer = pre_tokenizer_by_name(gpt2 ? "gpt-2" : "qwen2");
  parts.nfc = !gpt2;
  apply_config(config, parts);
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sampan
