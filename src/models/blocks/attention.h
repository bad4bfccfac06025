#pragma once

#include <vector>

#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "models/batch.h"
#include "models/checkpoint.h"
#include "models/config.h"

namespace sampan {

// Grouped-query attention with rotary embedding (Ainslie et al. 2023), biases and per-head norms where the family has them.
struct AttentionBlock {
  WeightMatrix wq;            // (heads * head_dim, hidden)
  WeightMatrix wk;            // (kv_heads * head_dim, hidden)
  WeightMatrix wv;            // (kv_heads * head_dim, hidden)
  WeightMatrix wo;            // (hidden, heads * head_dim)
  std::vector<float> bq, bk, bv, bo;  // (rows of the matrix) or empty
  std::vector<float> q_norm, k_norm;  // (head_dim) or empty
  std::int64_t window = 0;    // sliding window in positions; 0 = full
  std::int64_t layer = 0;
};

AttentionBlock load_attention(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool);

// What the attention of every layer of one forward shares.
struct AttentionContext {
  const ModelConfig* config = nullptr;
  const Batch* batch = nullptr;
  DType kv_dtype = DType::kF32;
  const std::int32_t* positions = nullptr;  // (tokens)
  const float* cos_sin = nullptr;           // (tokens, 2, rotary_dim / 2)
};

// A layer's page tables of the tokens of a batch.
struct PageTables {
  std::vector<std::byte* const*> tables;  // (tokens)
  std::vector<AttentionQuery> queries;    // (tokens)

  void set(const AttentionContext& context, std::int64_t layer);
};

// Scratch of attention; sizes in floats for a batch of `tokens`.
struct AttentionScratch {
  std::vector<float> q;    // (tokens, heads * head_dim)
  std::vector<float> k;    // (tokens, kv_heads * head_dim)
  std::vector<float> v;    // (tokens, kv_heads * head_dim)
  std::vector<float> out;  // (tokens, heads * head_dim)
  Activations activations;
  PageTables pages;

  void resize(const ModelConfig& config, std::int64_t tokens);
};

// y (tokens, hidden) = Wo attention(rope(Wq h), rope(Wk h), Wv h); h is given as activations. Writes the layer's keys and values.
void attention_forward(const AttentionBlock& block, const AttentionContext& context, Activations& h,
                       AttentionScratch& scratch, float* y, ThreadPool& pool);

}  // namespace sampan
