#pragma once

#include <memory>
#include <string_view>

#include "text/tokenizer.h"
#include "text/tokenizer_config.h"

namespace sampan {

// From the texts of vocab.json and merges.txt, as the tokenizer class in the config reads them:
// Qwen2Tokenizer (NFC, Qwen2's pattern) or GPT2Tokenizer, with or without "Fast"; Qwen2's without a
// class. Throws Error kUnsupported for another class.
std::shared_ptr<const Tokenizer> load_vocab_and_merges(std::string_view vocab,
                                                       std::string_view merges,
                                                       const TokenizerConfig& config);

// Kimi's tokenizer from the text of tiktoken.model (lines "base64 rank"). The 256 ids behind the
// ranks are special tokens: those that the config's added_tokens_decoder names,
// <|reserved_token_ID|> the others. Ids equal tiktoken's with the pattern of Kimi's
// tokenization_kimi.py; that file cuts texts of more than 400,000 characters, or 25,000 without (or
// of nothing but) white space, before it tokenizes them, which is not repeated here.
std::shared_ptr<const Tokenizer> load_tiktoken(std::string_view ranks,
                                               const TokenizerConfig& config);

}  // namespace sampan
