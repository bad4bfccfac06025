#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/tokenizer_parts.h"

namespace sampan {

// What tokenizer_config.json, special_tokens_map.json and added_tokens.json say beside a
// vocabulary.
struct TokenizerConfig {
  std::string tokenizer_class;
  std::optional<bool> add_bos_token, add_eos_token;
  std::string bos_token, eos_token, pad_token;  // contents, empty if not given
  std::vector<std::string> special_contents;    // all tokens that the files call special by content
  std::vector<AddedToken> added_tokens;  // added_tokens_decoder and added_tokens.json, with ids
};

// Each parses one file's text into `config`, adding to what is there. Throw Error kInvalidData.
void read_tokenizer_config(std::string_view text, TokenizerConfig& config);
void read_special_tokens_map(std::string_view text, TokenizerConfig& config);
void read_added_tokens(std::string_view text, TokenizerConfig& config);

// Adds the config's tokens to those that a tokenizer.json declares: flags in the config win, as in
// transformers.
void merge_added_tokens(const TokenizerConfig& config, std::vector<AddedToken>& tokens);

// Sets bos, eos, pad and adds_bos, adds_eos by content and marks special tokens. Call with all
// added tokens in place.
void apply_config(const TokenizerConfig& config, TokenizerParts& parts);

}  // namespace sampan
