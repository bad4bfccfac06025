#include "models/decoder.h"

#include "base/error.h"
#include "kernels/block_codec.h"
#include "kernels/ops.h"
#include "models/load.h"
#include "models/rope.h"

namespace sampan {

struct DecoderModel::Scratch : public Workspace {
  std::vector<float> x;        // (tokens, hidden) residual stream
  std::vector<float> h;        // (tokens, hidden) normed input of a block
  std::vector<float> y;        // (tokens, hidden) output of a block
  std::vector<float> cos_sin;  // (tokens, 2, rotary_dim / 2)
  std::vector<std::int32_t> positions;
  Activations activations;
  AttentionScratch attention;
  MlaScratch mla;
  MlpScratch mlp;
  MoeScratch moe;

  void resize(const ModelConfig& config, std::int64_t tokens) {
    x.resize(static_cast<std::size_t>(tokens * config.hidden_size));
    h.resize(x.size());
    y.resize(x.size());
    cos_sin.resize(static_cast<std::size_t>(tokens * config.rotary_dim()));
    positions.resize(static_cast<std::size_t>(tokens));
    if (config.mla) {
      mla.resize(config, tokens);
    } else {
      attention.resize(config, tokens);
    }
    mlp.resize(config.intermediate_size, tokens);
    if (config.moe) moe.resize(config, tokens);
  }
};

DecoderModel::DecoderModel(Checkpoint checkpoint, std::int64_t expert_budget, ThreadPool& pool)
    : checkpoint_(std::move(checkpoint)) {
  const ModelConfig& c = config();
  embedding_ = checkpoint_.tensor("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  layers_.reserve(static_cast<std::size_t>(c.layers));
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string name = fmt::format("model.layers.{}.", i);
    Layer layer;
    layer.attention_norm = checkpoint_.vector(name + "input_layernorm.weight", c.hidden_size);
    layer.mlp_norm = checkpoint_.vector(name + "post_attention_layernorm.weight", c.hidden_size);
    if (c.mla) {
      layer.attention = load_mla(checkpoint_, i, pool);
    } else {
      layer.attention = load_attention(checkpoint_, i, pool);
    }
    if (c.is_sparse(i)) {
      layer.mlp = load_moe(checkpoint_, i, pool);
    } else {
      layer.mlp = load_mlp(checkpoint_, name + "mlp.", c.intermediate_size, pool);
    }
    layers_.push_back(std::move(layer));
  }
  if (c.moe) experts_ = make_expert_store(checkpoint_, expert_budget, pool);
  final_norm_ = checkpoint_.vector("model.norm.weight", c.hidden_size);
  head_ = checkpoint_.matrix(c.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight", c.vocab_size,
                             c.hidden_size, pool);
  if (!rope_depends_on_length(c.rope)) {
    inverse_frequencies_ = rope_inverse_frequencies(c.rope, c.rotary_dim(), 0);
  }
}

std::int64_t DecoderModel::kv_page_bytes(DType kv_dtype) const { return sampan::kv_page_bytes(config(), kv_dtype); }

std::unique_ptr<Workspace> DecoderModel::make_workspace() const { return std::make_unique<Scratch>(); }

namespace {

std::int64_t bytes_of(const AttentionBlock& block) {
  return block.wq.bytes() + block.wk.bytes() + block.wv.bytes() + block.wo.bytes();
}

std::int64_t bytes_of(const MlaBlock& block) {
  std::int64_t bytes = block.wq.bytes() + block.wq_a.bytes() + block.wkv_a.bytes() + block.wk_pe.bytes() + block.wo.bytes();
  for (const WeightMatrix& w : block.wuk) bytes += w.bytes();
  for (const WeightMatrix& w : block.wuv) bytes += w.bytes();
  return bytes;
}

std::int64_t bytes_of(const MlpBlock& block) { return block.gate.bytes() + block.up.bytes() + block.down.bytes(); }

// Without the experts.
std::int64_t bytes_of(const MoeBlock& block) {
  return block.router.bytes() + bytes_of(block.shared) + block.shared_gate.bytes();
}

// Multiply-accumulates of one token in the attention's products with weights.
std::int64_t attention_macs(const ModelConfig& c) {
  if (!c.mla) return 2 * c.hidden_size * (c.q_size() + c.kv_size());
  const MlaConfig& mla = *c.mla;
  const std::int64_t queries =
      mla.q_lora_rank == 0 ? c.hidden_size * c.q_size() : mla.q_lora_rank * (c.hidden_size + c.q_size());
  return queries + c.hidden_size * (mla.kv_lora_rank + mla.rope_dim) +
         c.heads * (mla.kv_lora_rank * (mla.nope_dim + mla.value_dim) + c.hidden_size * mla.value_dim);
}

std::int64_t mlp_macs(const ModelConfig& c, std::int64_t layer) {
  if (!c.is_sparse(layer)) return 3 * c.hidden_size * c.intermediate_size;
  const MoeConfig& moe = *c.moe;
  return c.hidden_size *
         (moe.experts + 3 * (moe.experts_per_token * moe.intermediate_size + moe.shared_intermediate_size));
}

}  // namespace

std::int64_t DecoderModel::bytes_per_token() const {
  std::int64_t bytes = head_.bytes();
  for (const Layer& layer : layers_) {
    bytes += std::visit([](const auto& block) { return bytes_of(block); }, layer.attention);
    bytes += std::visit([](const auto& block) { return bytes_of(block); }, layer.mlp);
    if (std::holds_alternative<MoeBlock>(layer.mlp)) bytes += config().moe->experts_per_token * experts_->bytes_per_expert();
  }
  return bytes;
}

std::int64_t DecoderModel::macs_per_token() const {
  const ModelConfig& c = config();
  std::int64_t macs = c.layers * attention_macs(c);
  for (std::int64_t i = 0; i < c.layers; ++i) macs += mlp_macs(c, i);
  return macs;
}

DType DecoderModel::default_kv_dtype() const { return sampan::default_kv_dtype(checkpoint_); }

void DecoderModel::embed(const Batch& batch, float* x) const {
  const ModelConfig& c = config();
  const std::int64_t stride = row_bytes(embedding_.dtype, c.hidden_size);
  for (const Batch::Token& token : batch.tokens) {
    SAMPAN_CHECK(token.id >= 0 && token.id < c.vocab_size);
    dequantize_row(embedding_.dtype, embedding_.data + token.id * stride, c.hidden_size, x);
    x += c.hidden_size;
  }
}

void DecoderModel::rope_angles_of(const Batch& batch, Scratch& scratch) const {
  const ModelConfig& c = config();
  const std::int64_t half = c.rotary_dim() / 2;
  const auto magnitude = static_cast<float>(c.rope.attention_factor);
  if (!inverse_frequencies_.empty()) {
    rope_angles(scratch.positions.data(), batch.size(), inverse_frequencies_.data(), half, magnitude, scratch.cos_sin.data());
    return;
  }
  std::int64_t begin = 0;
  while (begin < batch.size()) {  // runs of tokens that share a length, hence a base
    const std::int32_t length = batch.tokens[static_cast<std::size_t>(begin)].rope_length;
    std::int64_t end = begin;
    while (end < batch.size() && batch.tokens[static_cast<std::size_t>(end)].rope_length == length) ++end;
    const std::vector<float> frequencies = rope_inverse_frequencies(c.rope, c.rotary_dim(), length);
    rope_angles(scratch.positions.data() + begin, end - begin, frequencies.data(), half, magnitude,
                scratch.cos_sin.data() + begin * c.rotary_dim());
    begin = end;
  }
}

void DecoderModel::forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool,
                         float* logits) const {
  const ModelConfig& c = config();
  auto& s = static_cast<Scratch&>(workspace);
  const std::int64_t tokens = batch.size();
  s.resize(c, tokens);
  for (std::size_t t = 0; t < batch.tokens.size(); ++t) s.positions[t] = batch.tokens[t].position;
  embed(batch, s.x.data());
  rope_angles_of(batch, s);
  const AttentionContext context = {&c, &batch, kv_dtype, s.positions.data(), s.cos_sin.data()};

  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    rms_norm(s.x.data(), layer.attention_norm.data(), tokens, c.hidden_size, c.rms_norm_eps, s.h.data(), pool);
    s.activations.set(s.h.data(), tokens, c.hidden_size);
    attend(layer, context, s, pool);
    add_in_place(s.x.data(), s.y.data(), tokens * c.hidden_size, pool);

    rms_norm(s.x.data(), layer.mlp_norm.data(), tokens, c.hidden_size, c.rms_norm_eps, s.h.data(), pool);
    s.activations.set(s.h.data(), tokens, c.hidden_size);
    feed_forward(i, s, pool);
    add_in_place(s.x.data(), s.y.data(), tokens * c.hidden_size, pool);
  }
  head(batch, s, pool, logits);
}

void DecoderModel::attend(const Layer& layer, const AttentionContext& context, Scratch& s, ThreadPool& pool) const {
  if (const auto* latent = std::get_if<MlaBlock>(&layer.attention)) {
    mla_forward(*latent, context, s.activations, s.mla, s.y.data(), pool);
  } else {
    attention_forward(std::get<AttentionBlock>(layer.attention), context, s.activations, s.attention, s.y.data(), pool);
  }
}

const MoeBlock* DecoderModel::mixture(std::size_t layer) const {
  return layer < layers_.size() ? std::get_if<MoeBlock>(&layers_[layer].mlp) : nullptr;
}

void DecoderModel::feed_forward(std::size_t layer, Scratch& s, ThreadPool& pool) const {
  if (const MoeBlock* block = mixture(layer)) {
    moe_forward(*block, config(), *experts_, mixture(layer + 1), s.activations, s.moe, s.y.data(), pool);
  } else {
    mlp_forward(std::get<MlpBlock>(layers_[layer].mlp), s.activations, s.mlp, s.y.data(), pool);
  }
}

void DecoderModel::head(const Batch& batch, Scratch& s, ThreadPool& pool, float* logits) const {
  const ModelConfig& c = config();
  std::int64_t rows = 0;
  for (std::int64_t t = 0; t < batch.size(); ++t) {
    if (!batch.tokens[static_cast<std::size_t>(t)].wants_logits) continue;
    const float* x = s.x.data() + t * c.hidden_size;
    std::copy(x, x + c.hidden_size, s.h.data() + rows * c.hidden_size);
    ++rows;
  }
  if (rows == 0) return;
  rms_norm(s.h.data(), final_norm_.data(), rows, c.hidden_size, c.rms_norm_eps, s.h.data(), pool);
  s.activations.set(s.h.data(), rows, c.hidden_size);
  matmul(head_, s.activations, logits, c.vocab_size, pool);
}

}  // namespace sampan
