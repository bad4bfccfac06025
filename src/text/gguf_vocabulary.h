#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sampan {

// A byte-level BPE tokenizer in the form in which GGUF carries it (tokenizer.ggml.*), for writing.
struct GgufVocabulary {
  std::string pre;                  // tokenizer.ggml.pre
  std::vector<std::string> tokens;  // by id, in GPT-2's byte alphabet; added tokens as they are
  std::vector<std::int32_t> token_types;  // 1 normal, 3 control, 4 user-defined, 5 unused
  std::vector<std::string> merges;        // "left right"
};

// Reads the tokenizer.json of a model folder. size: rows of the embedding; ids without a token become "[PAD<id>]", unused. Throws
// Error kNotFound without a tokenizer.json, kUnsupported for a pre-tokenizer that GGUF has no name for, kInvalidData for more tokens
// than rows.
GgufVocabulary read_gguf_vocabulary(const std::filesystem::path& folder, std::int64_t size);

}  // namespace sampan
