#include "models/blocks/layer.h"

#include "base/error.h"
#include "kernels/ops.h"

namespace sampan {
namespace {

std::int64_t bytes_of(const AttentionBlock& block) {
  return block.wq.bytes() + block.wk.bytes() + block.wv.bytes() + block.wo.bytes();
}

std::int64_t bytes_of(const MlaBlock& block) {
  std::int64_t bytes = block.wq.bytes() + block.wq_a.bytes() + block.wkv_a.bytes() +
                       block.wk_pe.bytes() + block.wo.bytes();
  for (const WeightMatrix& w : block.wuk.empty() ? block.wuk_rows : block.wuk) bytes += w.bytes();
  for (const WeightMatrix& w : block.wuv) bytes += w.bytes();
  return bytes;
}

std::int64_t bytes_of(const MlpBlock& block) {
  return block.gate.bytes() + block.up.bytes() + block.down.bytes();
}

std::int64_t bytes_of(const MoeBlock& block) {
  return block.router.bytes() + bytes_of(block.shared) + block.shared_gate.bytes();
}

// y = attention(h), h given as activations.
void attend(const DecoderLayer& layer, const AttentionContext& context, LayerScratch& s,
            ThreadPool& pool) {
  if (const auto* latent = std::get_if<MlaBlock>(&layer.attention)) {
    mla_forward(*latent, context, s.activations, s.mla, s.y.data(), pool);
  } else {
    attention_forward(std::get<AttentionBlock>(layer.attention), context, s.activations,
                      s.attention, s.y.data(), pool);
  }
}

}  // namespace

DecoderLayer load_layer(const Checkpoint& checkpoint, std::int64_t layer, ThreadPool& pool) {
  const ModelConfig& c = checkpoint.config();
  const std::string name = fmt::format("model.layers.{}.", layer);
  DecoderLayer loaded;
  loaded.attention_norm = checkpoint.vector(name + "input_layernorm.weight", c.hidden_size);
  loaded.mlp_norm = checkpoint.vector(name + "post_attention_layernorm.weight", c.hidden_size);
  if (c.mla) {
    loaded.attention = load_mla(checkpoint, layer, pool);
  } else {
    loaded.attention = load_attention(checkpoint, layer, pool);
  }
  if (c.is_sparse(layer)) {
    loaded.mlp = load_moe(checkpoint, layer, pool);
  } else {
    loaded.mlp = load_mlp(checkpoint, name + "mlp.", c.intermediate_size, pool);
  }
  return loaded;
}

void LayerScratch::resize(const ModelConfig& config, std::int64_t tokens) {
  h.resize(static_cast<std::size_t>(tokens * config.hidden_size));
  y.resize(h.size());
  if (config.mla) {
    mla.resize(config, tokens);
  } else {
    attention.resize(config, tokens);
  }
  mlp.resize(config.intermediate_size, tokens);
  if (config.moe) moe.resize(config, tokens);
}

void layer_forward(const DecoderLayer& layer, const AttentionContext& context, ExpertStore* experts,
                   const MoeBlock* next, LayerScratch& s, float* x, ThreadPool& pool) {
  const ModelConfig& c = *context.config;
  const std::int64_t tokens = context.batch->size();
  rms_norm(x, layer.attention_norm.data(), tokens, c.hidden_size, c.rms_norm_eps, s.h.data(), pool);
  s.activations.set(s.h.data(), tokens, c.hidden_size);
  attend(layer, context, s, pool);
  add_in_place(x, s.y.data(), tokens * c.hidden_size, pool);

  rms_norm(x, layer.mlp_norm.data(), tokens, c.hidden_size, c.rms_norm_eps, s.h.data(), pool);
  s.activations.set(s.h.data(), tokens, c.hidden_size);
  if (const MoeBlock* mixture = layer.mixture()) {
    moe_forward(*mixture, c, *experts, next, s.activations, s.moe, s.y.data(), pool);
  } else {
    mlp_forward(std::get<MlpBlock>(layer.mlp), s.activations, s.mlp, s.y.data(), pool);
  }
  add_in_place(x, s.y.data(), tokens * c.hidden_size, pool);
}

std::int64_t weight_bytes(const DecoderLayer& layer) {
  const auto bytes = [](const auto& block) { return bytes_of(block); };
  return std::visit(bytes, layer.attention) + std::visit(bytes, layer.mlp);
}

}  // namespace sampan
