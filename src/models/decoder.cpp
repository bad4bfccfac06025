#include "models/dense.h"

#include "base/error.h"
#include "kernels/block_codec.h"
#include "kernels/ops.h"
#include "models/load.h"
#include "models/rope.h"

namespace sampan {

struct DenseModel::Scratch : public Workspace {
  std::vector<float> x;        // (tokens, hidden) residual stream
  std::vector<float> h;        // (tokens, hidden) normed input of a block
  std::vector<float> y;        // (tokens, hidden) output of a block
  std::vector<float> cos_sin;  // (tokens, 2, head_dim / 2)
  std::vector<std::int32_t> positions;
  Activations activations;
  AttentionScratch attention;
  MlpScratch mlp;

  void resize(const ModelConfig& config, std::int64_t tokens) {
    x.resize(static_cast<std::size_t>(tokens * config.hidden_size));
    h.resize(x.size());
    y.resize(x.size());
    cos_sin.resize(static_cast<std::size_t>(tokens * config.head_dim));
    positions.resize(static_cast<std::size_t>(tokens));
    attention.resize(config, tokens);
    mlp.resize(config.intermediate_size, tokens);
  }
};

DenseModel::DenseModel(Checkpoint checkpoint, ThreadPool& pool) : checkpoint_(std::move(checkpoint)) {
  const ModelConfig& c = config();
  embedding_ = checkpoint_.tensor("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  layers_.reserve(static_cast<std::size_t>(c.layers));
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string name = fmt::format("model.layers.{}.", i);
    Layer layer;
    layer.attention_norm = checkpoint_.vector(name + "input_layernorm.weight", c.hidden_size);
    layer.mlp_norm = checkpoint_.vector(name + "post_attention_layernorm.weight", c.hidden_size);
    layer.attention = load_attention(checkpoint_, i, pool);
    layer.mlp = load_mlp(checkpoint_, name + "mlp.", c.intermediate_size, pool);
    layers_.push_back(std::move(layer));
  }
  final_norm_ = checkpoint_.vector("model.norm.weight", c.hidden_size);
  head_ = checkpoint_.matrix(c.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight", c.vocab_size,
                             c.hidden_size, pool);
  if (!rope_depends_on_length(c.rope)) {
    inverse_frequencies_ = rope_inverse_frequencies(c.rope, c.head_dim, 0);
  }
}

KvLayout DenseModel::kv_layout(DType kv_dtype) const { return {config().kv_heads, config().head_dim, kv_dtype}; }

std::unique_ptr<Workspace> DenseModel::make_workspace() const { return std::make_unique<Scratch>(); }

std::int64_t DenseModel::bytes_per_token() const {
  std::int64_t bytes = head_.bytes();
  for (const Layer& layer : layers_) {
    for (const WeightMatrix* w : {&layer.attention.wq, &layer.attention.wk, &layer.attention.wv, &layer.attention.wo,
                                  &layer.mlp.gate, &layer.mlp.up, &layer.mlp.down}) {
      bytes += w->bytes();
    }
  }
  return bytes;
}

std::int64_t DenseModel::macs_per_token() const {
  const ModelConfig& c = config();
  const std::int64_t attention = 2 * c.hidden_size * (c.q_size() + c.kv_size());
  return c.layers * (attention + 3 * c.hidden_size * c.intermediate_size);
}

DType DenseModel::default_kv_dtype() const { return sampan::default_kv_dtype(checkpoint_); }

void DenseModel::embed(const Batch& batch, float* x) const {
  const ModelConfig& c = config();
  const std::int64_t stride = row_bytes(embedding_.dtype, c.hidden_size);
  for (const Batch::Token& token : batch.tokens) {
    SAMPAN_CHECK(token.id >= 0 && token.id < c.vocab_size);
    dequantize_row(embedding_.dtype, embedding_.data + token.id * stride, c.hidden_size, x);
    x += c.hidden_size;
  }
}

void DenseModel::rope_angles_of(const Batch& batch, Scratch& scratch) const {
  const ModelConfig& c = config();
  const std::int64_t half = c.head_dim / 2;
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
    const std::vector<float> frequencies = rope_inverse_frequencies(c.rope, c.head_dim, length);
    rope_angles(scratch.positions.data() + begin, end - begin, frequencies.data(), half, magnitude,
                scratch.cos_sin.data() + begin * c.head_dim);
    begin = end;
  }
}

void DenseModel::forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool,
                         float* logits) const {
  const ModelConfig& c = config();
  auto& s = static_cast<Scratch&>(workspace);
  const std::int64_t tokens = batch.size();
  s.resize(c, tokens);
  for (std::size_t t = 0; t < batch.tokens.size(); ++t) s.positions[t] = batch.tokens[t].position;
  embed(batch, s.x.data());
  rope_angles_of(batch, s);
  const AttentionContext context = {&c, &batch, kv_layout(kv_dtype), s.positions.data(), s.cos_sin.data()};

  for (const Layer& layer : layers_) {
    rms_norm(s.x.data(), layer.attention_norm.data(), tokens, c.hidden_size, c.rms_norm_eps, s.h.data(), pool);
    s.activations.set(s.h.data(), tokens, c.hidden_size);
    attention_forward(layer.attention, context, s.activations, s.attention, s.y.data(), pool);
    add_in_place(s.x.data(), s.y.data(), tokens * c.hidden_size, pool);

    rms_norm(s.x.data(), layer.mlp_norm.data(), tokens, c.hidden_size, c.rms_norm_eps, s.h.data(), pool);
    s.activations.set(s.h.data(), tokens, c.hidden_size);
    mlp_forward(layer.mlp, s.activations, s.mlp, s.y.data(), pool);
    add_in_place(s.x.data(), s.y.data(), tokens * c.hidden_size, pool);
  }
  head(batch, s, pool, logits);
}

void DenseModel::head(const Batch& batch, Scratch& s, ThreadPool& pool, float* logits) const {
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
