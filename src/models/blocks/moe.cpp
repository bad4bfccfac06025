#include "models/blocks/moe.h"

#include <algorithm>

#include "kernels/math.h"

namespace sampan {
namespace {

// Tokens that one thread combines at a time; fewer are not worth waking others.
constexpr std::int64_t kCombineTokens = 16;
// Batches of more tokens need nearly all experts, which needs no foretelling.
constexpr std::int64_t kHintTokens = 8;

// routes (tokens, experts_per_token); logits is scratch.
void route_tokens(const MoeBlock& block, const MoeConfig& moe, Activations& x, RouterScratch& scratch, std::vector<float>& logits,
                  std::vector<Route>& routes, ThreadPool& pool) {
  logits.resize(static_cast<std::size_t>(x.rows() * moe.experts));
  routes.resize(static_cast<std::size_t>(x.rows() * moe.experts_per_token));
  matmul(block.router, x, logits.data(), moe.experts, pool);
  const float* bias = block.bias.empty() ? nullptr : block.bias.data();
  for (std::int64_t t = 0; t < x.rows(); ++t) {
    route(moe, logits.data() + t * moe.experts, bias, scratch, routes.data() + t * moe.experts_per_token);
  }
}

// A counting sort of (token, expert) by expert.
void group_by_expert(const MoeConfig& moe, MoeScratch& s) {
  s.expert_begins.assign(static_cast<std::size_t>(moe.experts) + 1, 0);
  for (const Route& route : s.routes) ++s.expert_begins[static_cast<std::size_t>(route.expert) + 1];
  for (std::size_t e = 0; e < static_cast<std::size_t>(moe.experts); ++e) s.expert_begins[e + 1] += s.expert_begins[e];
  std::vector<std::int64_t> next(s.expert_begins.begin(), s.expert_begins.end() - 1);
  for (std::size_t i = 0; i < s.routes.size(); ++i) {
    const std::int64_t pair = next[static_cast<std::size_t>(s.routes[i].expert)]++;
    s.pair_tokens[static_cast<std::size_t>(pair)] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / moe.experts_per_token);
    s.token_pairs[i] = static_cast<std::int32_t>(pair);
  }
}

// The pairs of some experts that are at hand: rows [first, end) of the pairs.
void run_some_experts(const MoeConfig& moe, std::span<const ExpertUse> uses, const ExpertLease& experts, MoeScratch& s,
                      ThreadPool& pool) {
  const std::int64_t width = moe.intermediate_size;
  const std::int64_t hidden = s.pairs.columns();
  const std::int64_t first = s.expert_begins[static_cast<std::size_t>(uses.front().expert)];
  std::int64_t end = first;
  s.tasks.clear();
  for (std::size_t i = 0; i < uses.size(); ++i) {
    MatmulTask gated = {&experts[i].gate, end, uses[i].tokens, 0, s.gated.data() + end * width, width};
    gated.up = &experts[i].up;
    s.tasks.push_back(gated);
    end += uses[i].tokens;
  }
  matmul_tasks(s.tasks, s.pairs, pool);

  s.inner.set(s.gated.data() + first * width, end - first, width);
  s.tasks.clear();
  std::int64_t row = 0;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    s.tasks.push_back({&experts[i].down, row, uses[i].tokens, 0, s.out.data() + (first + row) * hidden, hidden});
    row += uses[i].tokens;
  }
  matmul_tasks(s.tasks, s.inner, pool);
}

void run_experts(const MoeBlock& block, const MoeConfig& moe, ExpertStore& store, Activations& x, MoeScratch& s, ThreadPool& pool) {
  s.pairs.set_rows_of(x, s.pair_tokens);
  s.uses.clear();
  for (std::size_t e = 0; e < static_cast<std::size_t>(moe.experts); ++e) {
    const std::int64_t tokens = s.expert_begins[e + 1] - s.expert_begins[e];
    if (tokens > 0) s.uses.push_back({static_cast<std::int32_t>(e), tokens});
  }
  const auto most = static_cast<std::size_t>(std::min<std::int64_t>(store.capacity(), moe.experts));
  for (std::size_t begin = 0; begin < s.uses.size(); begin += most) {
    const auto uses = std::span<const ExpertUse>(s.uses).subspan(begin, std::min(most, s.uses.size() - begin));
    run_some_experts(moe, uses, ExpertLease(store, block.layer, uses, pool), s, pool);
  }
}

// Experts change little from a layer's input to the next one's, so the next router applied here foretells most of its choice.
void announce_experts(const MoeBlock& next, const MoeConfig& moe, ExpertStore& store, Activations& x, MoeScratch& s, ThreadPool& pool) {
  std::vector<float> logits;
  std::vector<Route> routes;
  route_tokens(next, moe, x, s.router, logits, routes, pool);
  std::vector<std::int32_t> experts;
  for (const Route& route : routes) experts.push_back(route.expert);
  store.hint(next.layer, experts);
}

void run_shared(const MoeBlock& block, const MoeConfig& moe, Activations& x, MoeScratch& s, ThreadPool& pool) {
  if (moe.shared_intermediate_size == 0) return;
  mlp_forward(block.shared, x, s.shared, s.shared_out.data(), pool);
  if (!moe.shared_gate) return;
  matmul(block.shared_gate, x, s.shared_gate.data(), 1, pool);
  for (float& gate : s.shared_gate) gate = 1.0f / (1.0f + exp_f32(-gate));
}

// y of one token: products and sums in this order, each rounded, whatever the batch.
void combine(const MoeConfig& moe, const MoeScratch& s, std::int64_t token, std::int64_t hidden, float* y) {
  std::fill_n(y, hidden, 0.0f);
  for (std::int64_t i = token * moe.experts_per_token; i < (token + 1) * moe.experts_per_token; ++i) {
    const float weight = s.routes[static_cast<std::size_t>(i)].weight;
    const float* out = s.out.data() + s.token_pairs[static_cast<std::size_t>(i)] * hidden;
    for (std::int64_t j = 0; j < hidden; ++j) y[j] += weight * out[j];
  }
  if (moe.shared_intermediate_size == 0) return;
  const float* shared = s.shared_out.data() + token * hidden;
  const float gate = moe.shared_gate ? s.shared_gate[static_cast<std::size_t>(token)] : 1.0f;
  for (std::int64_t j = 0; j < hidden; ++j) y[j] += gate * shared[j];
}

}  // namespace

MoeBlock load_moe(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const MoeConfig& moe = *c.moe;
  const std::string prefix = mlp_prefix(layer);
  MoeBlock block;
  block.layer = layer;
  block.router = checkpoint.matrix(prefix + "gate.weight", moe.experts, c.hidden_size, pool);
  block.router.set_products(Bf16Products::kExact);  // a rounded score would choose another expert
  if (moe.correction_bias) block.bias = checkpoint.vector(prefix + "gate.e_score_correction_bias", moe.experts);
  if (moe.shared_intermediate_size > 0) {
    const std::string shared = prefix + (moe.shared_gate ? "shared_expert." : "shared_experts.");
    block.shared = load_mlp(checkpoint, shared, moe.shared_intermediate_size, pool);
  }
  if (moe.shared_gate) block.shared_gate = checkpoint.row_matrix(prefix + "shared_expert_gate.weight", c.hidden_size, pool);
  return block;
}

void MoeScratch::resize(const ModelConfig& config, std::int64_t tokens) {
  const MoeConfig& moe = *config.moe;
  const auto rows = static_cast<std::size_t>(tokens);
  const auto pairs_count = rows * static_cast<std::size_t>(moe.experts_per_token);
  const auto hidden = static_cast<std::size_t>(config.hidden_size);
  pair_tokens.resize(pairs_count);
  token_pairs.resize(pairs_count);
  gated.resize(pairs_count * static_cast<std::size_t>(moe.intermediate_size));
  out.resize(pairs_count * hidden);
  if (moe.shared_intermediate_size > 0) {
    shared.resize(moe.shared_intermediate_size, tokens);
    shared_out.resize(rows * hidden);
    shared_gate.resize(moe.shared_gate ? rows : 0);
  }
}

void moe_forward(const MoeBlock& block, const ModelConfig& config, ExpertStore& store, const MoeBlock* next, Activations& x,
                 MoeScratch& scratch, float* y, ThreadPool& pool) {
  const MoeConfig& moe = *config.moe;
  const std::int64_t hidden = config.hidden_size;
  route_tokens(block, moe, x, scratch.router, scratch.logits, scratch.routes, pool);
  group_by_expert(moe, scratch);
  if (next != nullptr && store.wants_hints() && x.rows() <= kHintTokens) announce_experts(*next, moe, store, x, scratch, pool);
  run_experts(block, moe, store, x, scratch, pool);
  run_shared(block, moe, x, scratch, pool);
  const std::int64_t chunks = (x.rows() + kCombineTokens - 1) / kCombineTokens;
  const auto combine_chunk = [&](std::int64_t chunk, int) {
    const std::int64_t end = std::min(x.rows(), (chunk + 1) * kCombineTokens);
    for (std::int64_t t = chunk * kCombineTokens; t < end; ++t) combine(moe, scratch, t, hidden, y + t * hidden);
  };
  if (chunks == 1) return combine_chunk(0, 0);
  pool.parallel_for(chunks, combine_chunk);
}

}  // namespace sampan
