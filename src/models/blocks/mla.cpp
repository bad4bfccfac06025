#include "models/blocks/mla.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "kernels/ops.h"
#include "models/blocks/project.h"

namespace sampan {
namespace {

// The width of a query head's part in the latent's space, and of a cache entry.
std::int64_t latent_width(const MlaConfig& mla) { return mla.kv_lora_rank + mla.rope_dim; }

void load_queries(const Checkpoint& checkpoint, const std::string& name, MlaBlock& block,
                  ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const MlaConfig& mla = *c.mla;
  if (mla.q_lora_rank == 0) {
    block.wq = checkpoint.matrix(name + "q_proj.weight", c.q_size(), c.hidden_size, pool);
    return;
  }
  block.wq_a = checkpoint.matrix(name + "q_a_proj.weight", mla.q_lora_rank, c.hidden_size, pool);
  block.q_a_norm = checkpoint.vector(name + "q_a_layernorm.weight", mla.q_lora_rank);
  block.wq = checkpoint.matrix(name + "q_b_proj.weight", c.q_size(), mla.q_lora_rank, pool);
  if (c.qkv_bias) block.q_a_bias = checkpoint.vector(name + "q_a_proj.bias", mla.q_lora_rank);
}

std::string attention_name(std::int64_t layer) {
  return fmt::format("model.layers.{}.self_attn.", layer);
}

bool absorbs(const MlaConfig& mla) { return mla.mode != MlaMode::kExpanded; }
bool expands(const MlaConfig& mla) { return mla.mode != MlaMode::kAbsorbed; }

// A head's keys and values are made from the latent by rows [nope_dim | value_dim] of kv_b; GGUF
// may have them in two tensors, the keys' part transposed already.
bool has_split_heads(const Checkpoint& checkpoint, const std::string& name) {
  return checkpoint.has(name + "k_b_proj.weight") && checkpoint.has(name + "v_b_proj.weight");
}

void load_split_heads(const Checkpoint& checkpoint, const std::string& name, MlaBlock& block,
                      ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const MlaConfig& mla = *c.mla;
  const std::string k_b = name + "k_b_proj.weight";
  for (std::int64_t h = 0; h < c.heads; ++h) {
    if (absorbs(mla))
      block.wuk.push_back(
          checkpoint.stacked_matrix(k_b, h, c.heads, mla.kv_lora_rank, mla.nope_dim, pool));
    if (expands(mla)) {
      block.wuk_rows.push_back(
          checkpoint.transposed_stacked(k_b, h, c.heads, mla.kv_lora_rank, mla.nope_dim, pool));
    }
    block.wuv.push_back(checkpoint.stacked_matrix(name + "v_b_proj.weight", h, c.heads,
                                                  mla.value_dim, mla.kv_lora_rank, pool));
  }
}

void load_heads(const Checkpoint& checkpoint, const std::string& name, MlaBlock& block,
                ThreadPool& pool) {
  if (has_split_heads(checkpoint, name)) return load_split_heads(checkpoint, name, block, pool);
  const ModelConfig& c = checkpoint.config();
  const MlaConfig& mla = *c.mla;
  const std::string kv_b = name + "kv_b_proj.weight";
  const std::int64_t head_rows = mla.nope_dim + mla.value_dim;
  const std::int64_t all_rows = c.heads * head_rows;
  for (std::int64_t row = 0; row < all_rows; row += head_rows) {
    if (absorbs(mla))
      block.wuk.push_back(
          checkpoint.transposed_rows(kv_b, all_rows, row, mla.nope_dim, mla.kv_lora_rank, pool));
    if (expands(mla))
      block.wuk_rows.push_back(
          checkpoint.matrix_rows(kv_b, all_rows, row, mla.nope_dim, mla.kv_lora_rank, pool));
    block.wuv.push_back(checkpoint.matrix_rows(kv_b, all_rows, row + mla.nope_dim, mla.value_dim,
                                               mla.kv_lora_rank, pool));
  }
}

// What the queries are made of: themselves, or their latent.
MatmulTask query_task(const MlaBlock& block, std::int64_t tokens, MlaScratch& s) {
  if (block.q_a_norm.empty()) return project(block.wq, {}, tokens, s.q.data());
  return project(block.wq_a, block.q_a_bias, tokens, s.q_latent.data());
}

// The cache entries of the batch: (tokens, [normed latent | k_pe]), k_pe not rotated yet; the
// queries, not rotated either.
void latents_and_queries(const MlaBlock& block, const MlaConfig& mla, Activations& h,
                         MlaScratch& s, ThreadPool& pool) {
  const std::int64_t tokens = h.rows();
  const std::int64_t width = latent_width(mla);
  float* const kv = s.kv.data();
  const float* const bias = block.kv_a_bias.empty() ? nullptr : block.kv_a_bias.data();
  const float* const pe_bias = bias == nullptr ? nullptr : bias + mla.kv_lora_rank;
  s.tasks = {{&block.wkv_a, 0, tokens, 0, kv, width, bias},
             {&block.wk_pe, 0, tokens, 0, kv + mla.kv_lora_rank, width, pe_bias},
             query_task(block, tokens, s)};
  matmul_tasks(s.tasks, h, pool);
  for (std::int64_t t = 0; t < tokens; ++t) {
    float* latent = kv + t * width;
    rms_norm(latent, block.kv_norm.data(), 1, mla.kv_lora_rank, mla.latent_norm_eps, latent, pool);
  }
  if (block.q_a_norm.empty()) return;
  float* const latent = s.q_latent.data();
  rms_norm(latent, block.q_a_norm.data(), tokens, mla.q_lora_rank, mla.latent_norm_eps, latent,
           pool);
  s.activations.set(latent, tokens, mla.q_lora_rank);
  matmul(block.wq, s.activations, s.q.data(), block.wq.rows(), pool);
}

void rotate(const MlaConfig& mla, float* x, std::int64_t tokens, std::int64_t heads,
            std::int64_t stride, const float* cos_sin, ThreadPool& pool) {
  const auto rope = mla.interleaved ? rope_interleaved : rope_half;
  rope(x, tokens, heads, stride, cos_sin, mla.rope_dim / 2, pool);
}

// Tokens [begin, begin + count) of a batch.
struct TokenRange {
  std::int64_t begin;
  std::int64_t count;
};

// Queries in the latent's space: [W_ukᵀ q_nope | q_pe] a head.
void absorb(const MlaBlock& block, const ModelConfig& c, const float* q, std::int64_t tokens,
            MlaScratch& s, ThreadPool& pool) {
  const MlaConfig& mla = *c.mla;
  const std::int64_t width = latent_width(mla);
  s.activations.set(q, tokens, c.q_size());
  s.tasks.clear();
  for (std::int64_t h = 0; h < c.heads; ++h) {
    s.tasks.push_back({&block.wuk[static_cast<std::size_t>(h)], 0, tokens, h * c.head_dim,
                       s.absorbed.data() + h * width, c.heads * width});
  }
  matmul_tasks(s.tasks, s.activations, pool);
  for (std::int64_t i = 0; i < tokens * c.heads; ++i) {
    std::copy_n(q + i * c.head_dim + mla.nope_dim, mla.rope_dim,
                s.absorbed.data() + i * width + mla.kv_lora_rank);
  }
}

void values_of(const MlaBlock& block, const ModelConfig& c, std::int64_t tokens, MlaScratch& s,
               float* out, ThreadPool& pool) {
  const MlaConfig& mla = *c.mla;
  s.activations.set(s.context.data(), tokens, c.heads * mla.kv_lora_rank);
  s.tasks.clear();
  for (std::int64_t h = 0; h < c.heads; ++h) {
    s.tasks.push_back({&block.wuv[static_cast<std::size_t>(h)], 0, tokens, h * mla.kv_lora_rank,
                       out + h * mla.value_dim, c.heads * mla.value_dim});
  }
  matmul_tasks(s.tasks, s.activations, pool);
}

void absorbed_range(const MlaBlock& block, const ModelConfig& c, const LatentLayout& layout,
                    TokenRange range, MlaScratch& s, ThreadPool& pool) {
  const float* q = s.q.data() + range.begin * c.q_size();
  absorb(block, c, q, range.count, s, pool);
  LatentAttentionArgs args;
  args.layout = layout;
  args.heads = c.heads;
  args.scale = static_cast<float>(c.attention_scale);
  const auto queries =
      std::span(s.pages.queries)
          .subspan(static_cast<std::size_t>(range.begin), static_cast<std::size_t>(range.count));
  latent_attention(args, s.absorbed.data(), queries, s.context.data(), pool);
  values_of(block, c, range.count, s, s.out.data() + range.begin * c.heads * c.mla->value_dim,
            pool);
}

// The tokens from `begin` on that are one sequence's.
TokenRange run_from(const std::vector<AttentionQuery>& queries, std::int64_t begin) {
  const auto first = static_cast<std::size_t>(begin);
  std::size_t end = first + 1;
  while (end < queries.size() && queries[end].pages == queries[first].pages) ++end;
  return {begin, static_cast<std::int64_t>(end - first)};
}

// Rows of a sequence from which on they are expanded.
std::int64_t least_expanded(MlaMode mode) {
  switch (mode) {
    case MlaMode::kAbsorbed:
      break;
    case MlaMode::kExpanded:
      return 1;
    case MlaMode::kByLength:
      return kExpandedRows + 1;
  }
  return std::numeric_limits<std::int64_t>::max();
}

// Sequences that are to be expanded go one by one, what lies between them together.
void attend_runs(const MlaBlock& block, const ModelConfig& c, const LatentLayout& layout,
                 std::int64_t tokens, MlaScratch& s, ThreadPool& pool) {
  const std::int64_t least = least_expanded(c.mla->mode);
  TokenRange waiting = {0, 0};
  const auto absorb_waiting = [&] {
    if (waiting.count > 0) absorbed_range(block, c, layout, waiting, s, pool);
  };
  for (std::int64_t begin = 0; begin < tokens;) {
    const TokenRange run = run_from(s.pages.queries, begin);
    begin += run.count;
    if (run.count < least) {
      waiting.count += run.count;
      continue;
    }
    absorb_waiting();
    waiting = {begin, 0};
    const auto queries =
        std::span(s.pages.queries)
            .subspan(static_cast<std::size_t>(run.begin), static_cast<std::size_t>(run.count));
    expanded_attention(block, c, layout, s.q.data() + run.begin * c.q_size(), queries,
                       s.out.data() + run.begin * c.heads * c.mla->value_dim, s.expanded, pool);
  }
  absorb_waiting();
}

}  // namespace

MlaBlock load_mla(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const MlaConfig& mla = *c.mla;
  const std::string name = attention_name(layer);
  MlaBlock block;
  block.layer = layer;
  load_queries(checkpoint, name, block, pool);
  const std::string kv_a = name + "kv_a_proj_with_mqa.weight";
  block.wkv_a =
      checkpoint.matrix_rows(kv_a, latent_width(mla), 0, mla.kv_lora_rank, c.hidden_size, pool);
  block.wk_pe = checkpoint.matrix_rows(kv_a, latent_width(mla), mla.kv_lora_rank, mla.rope_dim,
                                       c.hidden_size, pool);
  block.kv_norm = checkpoint.vector(name + "kv_a_layernorm.weight", mla.kv_lora_rank);
  if (c.qkv_bias)
    block.kv_a_bias = checkpoint.vector(name + "kv_a_proj_with_mqa.bias", latent_width(mla));
  load_heads(checkpoint, name, block, pool);
  block.wo =
      checkpoint.matrix(name + "o_proj.weight", c.hidden_size, c.heads * mla.value_dim, pool);
  if (c.attention_out_bias) block.bo = checkpoint.vector(name + "o_proj.bias", c.hidden_size);
  return block;
}

std::int64_t transposed_mla_bytes(const Checkpoint& checkpoint, std::int64_t layer) {
  const ModelConfig& c = checkpoint.config();
  const MlaConfig& mla = *c.mla;
  const std::string name = attention_name(layer);
  const bool split = has_split_heads(checkpoint, name);
  if (!(split ? expands(mla) : absorbs(mla))) return 0;
  const std::int64_t size =
      checkpoint.transposed_element_bytes(name + (split ? "k_b_proj.weight" : "kv_b_proj.weight"));
  return c.heads * mla.nope_dim * mla.kv_lora_rank * size;
}

LatentLayout latent_layout(const ModelConfig& config, DType dtype) {
  return {config.mla->kv_lora_rank, config.mla->rope_dim, dtype};
}

void MlaScratch::resize(const ModelConfig& config, std::int64_t tokens) {
  const MlaConfig& mla = *config.mla;
  const auto rows = static_cast<std::size_t>(tokens);
  const auto heads = rows * static_cast<std::size_t>(config.heads);
  q_latent.resize(rows * static_cast<std::size_t>(mla.q_lora_rank));
  q.resize(heads * static_cast<std::size_t>(config.head_dim));
  kv.resize(rows * static_cast<std::size_t>(latent_width(mla)));
  if (absorbs(mla)) {
    absorbed.resize(heads * static_cast<std::size_t>(latent_width(mla)));
    context.resize(heads * static_cast<std::size_t>(mla.kv_lora_rank));
  }
  out.resize(heads * static_cast<std::size_t>(mla.value_dim));
}

void mla_forward(const MlaBlock& block, const AttentionContext& context, Activations& h,
                 MlaScratch& scratch, float* y, ThreadPool& pool) {
  const ModelConfig& c = *context.config;
  const MlaConfig& mla = *c.mla;
  const std::int64_t tokens = h.rows();
  latents_and_queries(block, mla, h, scratch, pool);
  rotate(mla, scratch.q.data() + mla.nope_dim, tokens, c.heads, c.head_dim, context.cos_sin, pool);
  rotate(mla, scratch.kv.data() + mla.kv_lora_rank, tokens, 1, latent_width(mla), context.cos_sin,
         pool);

  const LatentLayout layout = latent_layout(c, context.kv_dtype);
  scratch.pages.set(context, block.layer);
  store_latent(layout, scratch.kv.data(), latent_width(mla), tokens, context.positions,
               scratch.pages.tables.data(), pool);
  attend_runs(block, c, layout, tokens, scratch, pool);

  scratch.activations.set(scratch.out.data(), tokens, c.heads * mla.value_dim);
  const MatmulTask out = project(block.wo, block.bo, tokens, y);
  matmul_tasks({&out, 1}, scratch.activations, pool);
}

}  // namespace sampan
