#pragma once

#include <span>

#include "kernels/attention.h"
#include "kernels/attention_table.h"
#include "kernels/latent_attention.h"

namespace sampan {

// attention(), attention_piece() (piece: not null) and latent_attention() with given tables: what
// those call with the active ones, and tests with others.
void attention_with(const AttentionTable& table, const AttentionArgs& args,
                    const AttentionPiece* piece, const float* q,
                    std::span<const AttentionQuery> queries, float* out, ThreadPool& pool);
void latent_attention_with(const AttentionTable& table, const LatentAttentionArgs& args,
                           const float* q, std::span<const AttentionQuery> queries, float* out,
                           ThreadPool& pool);

}  // namespace sampan
