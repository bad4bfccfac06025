#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"

namespace sampan {

struct TokenizerParts;

// What becomes of added tokens that are written out in a text.
enum class SpecialTokens {
  kParse,      // they are those tokens
  kPlainText,  // they are text like any other, special or not: <|im_start|>, <think>, <tool_call>
};

// A part of a rendered prompt. In trusted parts (from the template) added tokens are parsed, in
// others (from the conversation) they are plain text, so that nobody can forge a turn.
struct TextPiece {
  std::string_view text;
  bool trusted;
};

// A byte-level BPE tokenizer: text to ids and back, with the ids that Hugging Face `tokenizers`
// (for Kimi: tiktoken) gives. Immutable after loading and thread-safe. Loaded by load_tokenizer,
// load_tokenizer_json or tokenizer_from_gguf.
//
// Text is UTF-8. Bytes that are not UTF-8 are tokenized as the bytes they are (to the pre-tokenizer
// they are control characters), so that decode(encode(text)) restores every byte; Hugging Face has
// no such input. The exceptions to that round trip are the published ones: NFC in Qwen's
// tokenizers, and a vocabulary that lacks tokens for bytes which UTF-8 never contains (DeepSeek LLM
// and Coder lack 13 of them): such a byte is left out. Lone surrogates cannot be written in UTF-8;
// whoever reads JSON decides whether "\ud800" is an error or U+FFFD before calling encode.
class Tokenizer {
 public:
  explicit Tokenizer(TokenizerParts parts);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // The ids of `text`; neither BOS nor EOS is added. Near-linear in the text's length. Throws Error
  // kLimit for a text above 2^31 - 1 bytes and when a pre-tokenizer pattern without scanner exceeds
  // its limits (regex.h).
  std::vector<std::int32_t> encode(std::string_view text,
                                   SpecialTokens special = SpecialTokens::kParse) const;
  // The ids of the concatenated pieces. An added token is recognised where it lies wholly within
  // trusted text, be it across pieces; all else is split and merged as if there were no borders.
  std::vector<std::int32_t> encode(std::span<const TextPiece> pieces) const;

  // How many ids encode() gives at least for `bytes` of well-formed UTF-8, known without looking at
  // them; 0 where nothing is sure.
  std::size_t least_tokens(std::size_t bytes) const;

  // The bytes of the tokens, one after the other; the result may break UTF-8 at its ends. Ids
  // without a token give nothing. With skip_special, tokens that are special give nothing.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const;

  // A token's bytes (an added token's content); empty for an id without token. Valid as long as the
  // tokenizer.
  std::string_view token_bytes(std::int32_t id) const;
  bool has_token(std::int32_t id) const;
  bool is_special(std::int32_t id) const;
  // The id of an added token's content or else of a vocabulary token's bytes.
  std::optional<std::int32_t> token_id(std::string_view content) const;
  // One more than the largest id.
  std::size_t vocab_size() const;
  // By ascending id.
  std::span<const AddedToken> added_tokens() const;

  // As the files declare them.
  std::optional<std::int32_t> bos_id() const;
  std::optional<std::int32_t> eos_id() const;
  std::optional<std::int32_t> pad_id() const;
  std::optional<std::int32_t> eot_id() const;  // end of turn; only GGUF declares one
  // Whether the model's own tokenizer puts BOS before, EOS behind a text when asked to add special
  // tokens.
  bool adds_bos() const;
  bool adds_eos() const;

  // The pre-tokenizer's family, as "qwen2" or "llama-bpe".
  std::string_view pattern_family() const;
  // One line for people, as "byte-level BPE, 151,669 tokens (26 added), 151,387 merges, qwen2
  // pattern, NFC".
  std::string description() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The tokenizer of a model folder: tokenizer.json; else tiktoken.model (Kimi) with
// tokenizer_config.json; else vocab.json with merges.txt (Qwen2Tokenizer and GPT2Tokenizer).
// tokenizer_config.json, special_tokens_map.json and added_tokens.json add what they know. Throws
// Error kNotFound if there is none of them, kInvalidData, kUnsupported or kLimit with the file's
// name.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& folder);

// From the text of a tokenizer.json and, if not empty, of the tokenizer_config.json beside it.
std::shared_ptr<const Tokenizer> load_tokenizer_json(std::string_view tokenizer_json,
                                                     std::string_view tokenizer_config = {});

}  // namespace sampan
