#include "text/gguf_vocabulary.h"

#include <array>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/gguf_token_types.h"
#include "text/json_access.h"
#include "text/tokenizer.h"

namespace sampan {
namespace {

// Families (Tokenizer::pattern_family) whose name is GGUF's too.
constexpr std::array<std::string_view, 8> kNamedInGguf = {"llama-bpe", "qwen2", "qwen35", "llama4", "deepseek-v3", "deepseek-llm", "deepseek-coder", "gpt-2"};

std::string gguf_pre(const Tokenizer& tokenizer) {
  std::string family(tokenizer.pattern_family());
  for (const std::string_view name : kNamedInGguf) {
    if (name == family) return family;
  }
  fail(ErrorCode::kUnsupported, "tokenizer.json: GGUF has no name for its pre-tokenizer ({})", printable(family));
}

std::string merge_text(json::Element merge, std::string_view where) {
  if (merge.is_string()) return std::string(json::to_string(merge, where));
  const json::Array pair = json::to_array(merge, where);
  if (pair.size() != 2) fail(ErrorCode::kInvalidData, "{}: a merge has {} parts, not 2", where, pair.size());
  return std::string(json::to_string(pair.at(0), where)) + " " + std::string(json::to_string(pair.at(1), where));
}

}  // namespace

GgufVocabulary read_gguf_vocabulary(const std::filesystem::path& folder, std::int64_t size) {
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder);
  if (static_cast<std::int64_t>(tokenizer->vocab_size()) > size) {
    fail(ErrorCode::kInvalidData, "the tokenizer has {} tokens, the embedding {} rows", tokenizer->vocab_size(), size);
  }
  GgufVocabulary vocabulary;
  vocabulary.pre = gguf_pre(*tokenizer);
  const std::string text = read_file(folder / "tokenizer.json");
  const JsonDocument document(text, "tokenizer.json");
  const json::Object model = json::to_object(json::get(document.root(), "model", "tokenizer.json"), "tokenizer.json: model");

  for (std::int64_t id = 0; id < size; ++id) vocabulary.tokens.push_back(fmt::format("[PAD{}]", id));
  vocabulary.token_types.assign(static_cast<std::size_t>(size), kGgufUnused);
  const auto set = [&](std::int64_t id, std::string_view token, std::int32_t type) {
    if (id < 0 || id >= size) fail(ErrorCode::kInvalidData, "tokenizer.json: id {} is beyond the embedding's {} rows", id, size);
    vocabulary.tokens[static_cast<std::size_t>(id)] = token;
    vocabulary.token_types[static_cast<std::size_t>(id)] = type;
  };
  const json::Object vocab = json::to_object(json::get(model, "vocab", "tokenizer.json: model"), "tokenizer.json: model.vocab");
  for (const auto& entry : vocab) set(json::to_int(entry.value, "tokenizer.json: model.vocab"), entry.key, kGgufNormal);
  for (const AddedToken& token : tokenizer->added_tokens()) set(token.id, token.content, token.special ? kGgufControl : kGgufUserDefined);
  for (const json::Element merge : json::to_array(json::get(model, "merges", "tokenizer.json: model"), "tokenizer.json: model.merges")) {
    vocabulary.merges.push_back(merge_text(merge, "tokenizer.json: model.merges"));
  }
  return vocabulary;
}

}  // namespace sampan
