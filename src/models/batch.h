#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sampan {

// Page tables of one sequence's key-value cache: pages[layer][position / kKvPagePositions]. Filled by the engine, which owns the
// pages; read and written by forward().
struct KvPages {
  std::vector<std::vector<std::byte*>> layers;
};

// A flat batch of tokens of any number of sequences: prompt chunks and single decode steps side by side. A token's result
// depends on its own sequence only, never on the company. Tokens of one sequence come in ascending positions, and every earlier
// position is in the sequence's pages already or earlier in this batch.
struct Batch {
  struct Token {
    std::int32_t id = 0;
    std::int32_t position = 0;
    // Length of the text that sets the rotary base of dynamic NTK: the whole prompt's for its tokens, position + 1 for a
    // generated one (as transformers computes it); other models ignore it.
    std::int32_t rope_length = 0;
    const KvPages* sequence = nullptr;
    bool wants_logits = false;
    bool wants_hidden = false;
  };
  std::vector<Token> tokens;

  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t logit_rows() const {
    std::int64_t rows = 0;
    for (const Token& token : tokens) rows += token.wants_logits ? 1 : 0;
    return rows;
  }
  std::int64_t hidden_rows() const {
    std::int64_t rows = 0;
    for (const Token& token : tokens) rows += token.wants_hidden ? 1 : 0;
    return rows;
  }
};

}  // namespace sampan
