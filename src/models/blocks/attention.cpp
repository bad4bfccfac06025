#include "models/blocks/attention.h"

#include "base/error.h"
#include "kernels/ops.h"
#include "models/blocks/project.h"

namespace sampan {
AttentionBlock load_attention(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const std::string name = fmt::format("model.layers.{}.self_attn.", layer);
  AttentionBlock block;
  block.layer = layer;
  block.window = c.windows[static_cast<std::size_t>(layer)];
  block.wq = checkpoint.matrix(name + "q_proj.weight", c.q_size(), c.hidden_size, pool, c.heads);
  block.wk = checkpoint.matrix(name + "k_proj.weight", c.kv_size(), c.hidden_size, pool, c.kv_heads);
  block.wv = checkpoint.matrix(name + "v_proj.weight", c.kv_size(), c.hidden_size, pool);
  block.wo = checkpoint.matrix(name + "o_proj.weight", c.hidden_size, c.q_size(), pool);
  if (c.qkv_bias) {
    block.bq = checkpoint.vector(name + "q_proj.bias", c.q_size(), c.heads);
    block.bk = checkpoint.vector(name + "k_proj.bias", c.kv_size(), c.kv_heads);
    block.bv = checkpoint.vector(name + "v_proj.bias", c.kv_size());
  }
  if (c.attention_out_bias) block.bo = checkpoint.vector(name + "o_proj.bias", c.hidden_size);
  if (c.qk_norm) {
    block.q_norm = checkpoint.vector(name + "q_norm.weight", c.head_dim);
    block.k_norm = checkpoint.vector(name + "k_norm.weight", c.head_dim);
  }
  return block;
}

void AttentionScratch::resize(const ModelConfig& config, std::int64_t tokens) {
  const auto rows = static_cast<std::size_t>(tokens);
  q.resize(rows * static_cast<std::size_t>(config.q_size()));
  out.resize(q.size());
  k.resize(rows * static_cast<std::size_t>(config.kv_size()));
  v.resize(k.size());
}

void PageTables::set(const AttentionContext& context, std::int64_t layer) {
  const std::vector<Batch::Token>& tokens = context.batch->tokens;
  tables.resize(tokens.size());
  queries.resize(tokens.size());
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    tables[t] = tokens[t].sequence->layers[static_cast<std::size_t>(layer)].data();
    queries[t] = {context.positions[t], tables[t]};
  }
}

void attention_forward(const AttentionBlock& block, const AttentionContext& context, Activations& h,
                       AttentionScratch& scratch, float* y, ThreadPool& pool) {
  const ModelConfig& c = *context.config;
  const std::int64_t tokens = h.rows();
  float* q = scratch.q.data();
  float* k = scratch.k.data();
  float* v = scratch.v.data();
  const MatmulTask qkv[] = {project(block.wq, block.bq, tokens, q), project(block.wk, block.bk, tokens, k),
                            project(block.wv, block.bv, tokens, v)};
  matmul_tasks(qkv, h, pool);
  if (!block.q_norm.empty()) {
    rms_norm(q, block.q_norm.data(), tokens * c.heads, c.head_dim, c.rms_norm_eps, q, pool);
    rms_norm(k, block.k_norm.data(), tokens * c.kv_heads, c.head_dim, c.rms_norm_eps, k, pool);
  }
  rope_half(q, tokens, c.heads, c.head_dim, context.cos_sin, c.head_dim / 2, pool);
  rope_half(k, tokens, c.kv_heads, c.head_dim, context.cos_sin, c.head_dim / 2, pool);

  AttentionArgs args;
  args.layout = {c.kv_heads, c.head_dim, context.kv_dtype};
  args.heads = c.heads;
  args.scale = static_cast<float>(c.attention_scale);
  args.window = block.window;
  scratch.pages.set(context, block.layer);
  store_kv(args.layout, k, v, tokens, context.positions, scratch.pages.tables.data(), pool);
  attention(args, q, scratch.pages.queries, scratch.out.data(), pool);

  scratch.activations.set(scratch.out.data(), tokens, c.q_size());
  const MatmulTask out = project(block.wo, block.bo, tokens, y);
  matmul_tasks({&out, 1}, scratch.activations, pool);
}

}  // namespace sampan
