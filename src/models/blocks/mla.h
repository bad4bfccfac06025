#pragma once

#include <vector>

#include "kernels/latent_attention.h"
#include "kernels/matmul.h"
#include "models/blocks/attention.h"
#include "models/blocks/mla_expanded.h"
#include "models/checkpoint.h"

namespace sampan {

// Multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1). The cache holds, a
// position, the normed latent c and one rotated key part that all heads share. Absorbed form: a
// head's query is taken into the latent's space, where it meets c itself, and the head's values are
// made from the latents' weighted sum:
//   q = [q_nope | rope(q_pe)],  score_j = scale * (W_ukᵀ q_nope · c_j + q_pe · k_pe_j),  o = W_uv Σ
//   p_j c_j
// Expanded form (blocks/mla_expanded.h): score_j = scale * q · [W_uk c_j | k_pe_j],  o = Σ p_j W_uv
// c_j Which one runs is the configuration's MlaMode.
struct MlaBlock {
  WeightMatrix wq;                        // (heads * head_dim, q_lora_rank or hidden)
  WeightMatrix wq_a;                      // (q_lora_rank, hidden), where queries have a latent too
  std::vector<float> q_a_bias, q_a_norm;  // (q_lora_rank) or empty
  WeightMatrix wkv_a;                     // (kv_lora_rank, hidden)
  WeightMatrix wk_pe;                     // (rope_dim, hidden)
  std::vector<float> kv_a_bias;           // (kv_lora_rank + rope_dim) or empty
  std::vector<float> kv_norm;             // (kv_lora_rank)
  std::vector<WeightMatrix> wuk;  // (heads) of (kv_lora_rank, nope_dim); where the mode absorbs
  std::vector<WeightMatrix>
      wuk_rows;                   // (heads) of (nope_dim, kv_lora_rank); where the mode expands
  std::vector<WeightMatrix> wuv;  // (heads) of (value_dim, kv_lora_rank)
  WeightMatrix wo;                // (hidden, heads * value_dim)
  std::vector<float> bo;          // (hidden) or empty
  std::int64_t layer = 0;
};

// A sequence's rows of a batch above which MlaMode::kByLength expands
// (bench/results/2026-11-25-deepseek-v2-lite-zen5.md).
inline constexpr std::int64_t kExpandedRows = 192;

MlaBlock load_mla(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool);

// Bytes of the transposed copies that load_mla() makes beside what the files hold.
std::int64_t transposed_mla_bytes(const Checkpoint& checkpoint, std::int64_t layer);

LatentLayout latent_layout(const ModelConfig& config, DType dtype);

struct MlaScratch {
  std::vector<float> q_latent;  // (tokens, q_lora_rank)
  std::vector<float> q;         // (tokens, heads, head_dim)
  std::vector<float> kv;        // (tokens, kv_lora_rank + rope_dim)
  std::vector<float> absorbed;  // (tokens, heads, kv_lora_rank + rope_dim); where the mode absorbs
  std::vector<float> context;   // (tokens, heads, kv_lora_rank); where the mode absorbs
  std::vector<float> out;       // (tokens, heads, value_dim)
  Activations activations;
  std::vector<MatmulTask> tasks;
  PageTables pages;
  ExpandedScratch expanded;

  void resize(const ModelConfig& config, std::int64_t tokens);
};

// y (tokens, hidden); h is given as activations. Writes the layer's latents.
void mla_forward(const MlaBlock& block, const AttentionContext& context, Activations& h,
                 MlaScratch& scratch, float* y, ThreadPool& pool);

}  // namespace sampan
