// The files that tokenizers are loaded from. The input is parts separated by NUL bytes, after a
// letter that says which:
//   {…          tokenizer.json, tokenizer_config.json
//   T…          tiktoken.model, tokenizer_config.json
//   V…          vocab.json, merges.txt, tokenizer_config.json, added_tokens.json,
//   special_tokens_map.json G…          GGUF: tokenizer.ggml.pre, tokens a line, token types (one
//   digit each), merges a line
// Whatever loads must encode and decode.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/gguf_tokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace {

using namespace sampan;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::shared_ptr<const Tokenizer> load_gguf(const std::vector<std::string_view>& parts) {
  const auto part = [&parts](std::size_t i) {
    return i < parts.size() ? parts[i] : std::string_view();
  };
  GgufTokenizerData data;
  data.model = "gpt2";
  data.pre = part(0);
  data.tokens = split(part(1), '\n');
  for (const char type : part(2)) data.token_types.push_back(type - '0');
  if (!part(3).empty()) data.merges = split(part(3), '\n');
  data.bos_id = 0;
  return tokenizer_from_gguf(data);
}

std::shared_ptr<const Tokenizer> load(std::string_view input) {
  const char kind = input[0];
  const std::vector<std::string_view> parts = split(kind == '{' ? input : input.substr(1), '\0');
  const auto part = [&parts](std::size_t i) {
    return i < parts.size() ? parts[i] : std::string_view();
  };
  if (kind == 'G') return load_gguf(parts);
  if (kind != 'T' && kind != 'V') return load_tokenizer_json(part(0), part(1));
  TokenizerConfig config;
  const std::size_t first = kind == 'T' ? 1 : 2;
  if (!part(first).empty()) read_tokenizer_config(part(first), config);
  if (!part(first + 1).empty()) read_added_tokens(part(first + 1), config);
  if (!part(first + 2).empty()) read_special_tokens_map(part(first + 2), config);
  return kind == 'T' ? load_tiktoken(part(0), config)
                     : load_vocab_and_merges(part(0), part(1), config);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    const auto tokenizer = load({reinterpret_cast<const char*>(data), size});
    std::string text = "Hello wo\u0301rld's  12345 \n 中文<|end|> \xFF";
    for (const AddedToken& token : tokenizer->added_tokens()) {
      if (text.size() < 4096) text += token.content + " ";
    }
    const auto ids = tokenizer->encode(text);
    tokenizer->encode(text, SpecialTokens::kPlainText);
    tokenizer->decode(ids, true);
    for (const std::int32_t id : ids) SAMPAN_CHECK(tokenizer->has_token(id));
    tokenizer->description();
  } catch (const Error&) {
    // a clean refusal
  }
  return 0;
}
