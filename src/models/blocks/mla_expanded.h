#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/latent_attention.h"
#include "kernels/matmul.h"
#include "models/config.h"
#include "tensor/tensor.h"

namespace sampan {

struct MlaBlock;

// What the expanded form works in, the same for any length: keys and values of some heads for some
// positions.
struct ExpandedScratch {
  std::vector<float> rows;    // (positions, kv_lora_rank + rope_dim) as cached
  std::vector<float> latent;  // (positions, kv_lora_rank)
  std::vector<float> keys;    // (positions, heads, head_dim)
  std::vector<float> values;  // (positions, heads, value_dim)
  Buffer pages;               // the same as attention() reads them
  std::vector<std::byte*> table;
  std::vector<std::byte* const*> tables;  // (positions)
  std::vector<std::int32_t> positions;
  std::vector<float> m, l;  // (queries, all heads)
  std::vector<AttentionQuery> queries;
  Activations activations;
  std::vector<MatmulTask> tasks;
};

// Bytes of ExpandedScratch, but for m and l.
std::int64_t expanded_scratch_bytes(const ModelConfig& config);

// Multi-head latent attention in its expanded form, for consecutive queries of one sequence whose
// latents are in the cache: keys and values are made of the latents again, by [W_uk c | k_pe] and
// W_uv c, and met by ordinary attention. q (queries, heads, head_dim), rotated; out (queries,
// heads, value_dim). A query's bits depend on its sequence alone.
void expanded_attention(const MlaBlock& block, const ModelConfig& config,
                        const LatentLayout& layout, const float* q,
                        std::span<const AttentionQuery> queries, float* out,
                        ExpandedScratch& scratch, ThreadPool& pool);

}  // namespace sampan
