#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sampan {

// The tokenizer metadata of a GGUF file, keys tokenizer.ggml.*. The views must be valid during
// tokenizer_from_gguf.
struct GgufTokenizerData {
  std::string_view model;                // tokenizer.ggml.model; only "gpt2" is byte-level BPE
  std::string_view pre;                  // tokenizer.ggml.pre; empty or "default" if absent
  std::vector<std::string_view> tokens;  // by id
  std::vector<std::int32_t>
      token_types;  // one a token, or empty: 1 normal, 3 control, 4 user-defined, 5 unused
  std::vector<std::string_view> merges;  // "left right"
  std::optional<std::int64_t> bos_id, eos_id, eot_id, padding_id;
  std::optional<bool> add_bos, add_eos;
};

// The same ids as the tokenizer.json that the file was converted from: control and user-defined
// tokens are added tokens, Qwen's text is put into NFC (which GGUF does not record), and
// placeholders "[PAD<id>]" that converters fill gaps with are no tokens. Throws Error kUnsupported
// for another model or an unknown pre-tokenizer, kInvalidData for inconsistent lists.
std::shared_ptr<const Tokenizer> tokenizer_from_gguf(const GgufTokenizerData& data);

}  // namespace sampan
