#include "models/decoder.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/block_codec.h"
#include "kernels/ops.h"
#include "models/load.h"
#include "models/rope.h"

namespace sampan {

struct DecoderModel::Scratch : public Workspace {
  std::vector<float> x;        // (tokens, hidden) residual stream
  std::vector<float> cos_sin;  // (tokens, 2, rotary_dim / 2)
  std::vector<std::int32_t> positions;
  std::vector<float> joined;  // (tokens, 2 * hidden) input of multi-token prediction
  LayerScratch layer;

  void resize(const ModelConfig& config, std::int64_t tokens) {
    x.resize(static_cast<std::size_t>(tokens * config.hidden_size));
    cos_sin.resize(static_cast<std::size_t>(tokens * config.rotary_dim()));
    positions.resize(static_cast<std::size_t>(tokens));
    layer.resize(config, tokens);
  }
};

DecoderModel::DecoderModel(Checkpoint checkpoint, std::int64_t expert_budget, ThreadPool& pool)
    : checkpoint_(std::move(checkpoint)) {
  const ModelConfig& c = config();
  embedding_ = checkpoint_.tensor("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  layers_.reserve(static_cast<std::size_t>(c.layers));
  for (std::int64_t i = 0; i < c.layers; ++i) layers_.push_back(load_layer(checkpoint_, i, pool));
  if (c.moe) experts_ = make_expert_store(checkpoint_, expert_budget, pool);
  final_norm_ = checkpoint_.vector("model.norm.weight", c.hidden_size);
  const std::string head_name = c.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  head_ = checkpoint_.matrix(head_name, c.vocab_size, c.hidden_size, pool);
  if (c.mtp_layers > 0) mtp_ = load_mtp(checkpoint_, {embedding_, head_name, head_}, pool);
  if (!rope_depends_on_length(c.rope)) {
    inverse_frequencies_ = rope_inverse_frequencies(c.rope, c.rotary_dim(), 0);
  }
}

std::int64_t DecoderModel::kv_page_bytes(DType kv_dtype) const { return sampan::kv_page_bytes(config(), kv_dtype); }

std::unique_ptr<Workspace> DecoderModel::make_workspace() const { return std::make_unique<Scratch>(); }

namespace {

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
  for (const DecoderLayer& layer : layers_) {
    bytes += weight_bytes(layer);
    if (layer.mixture() != nullptr) bytes += config().moe->experts_per_token * experts_->bytes_per_expert();
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

namespace {

// x (tokens, hidden)
void embed(const TensorView& table, const Batch& batch, float* x) {
  const std::int64_t hidden = table.columns();
  const std::int64_t stride = row_bytes(table.dtype, hidden);
  for (const Batch::Token& token : batch.tokens) {
    SAMPAN_CHECK(token.id >= 0 && token.id < table.rows());
    dequantize_row(table.dtype, table.data + token.id * stride, hidden, x);
    x += hidden;
  }
}

}  // namespace

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

AttentionContext DecoderModel::begin(const Batch& batch, DType kv_dtype, Scratch& s) const {
  s.resize(config(), batch.size());
  for (std::size_t t = 0; t < batch.tokens.size(); ++t) s.positions[t] = batch.tokens[t].position;
  rope_angles_of(batch, s);
  return {&config(), &batch, kv_dtype, s.positions.data(), s.cos_sin.data()};
}

void DecoderModel::forward(const Batch& batch, DType kv_dtype, Workspace& workspace, ThreadPool& pool, ForwardOutput output) const {
  auto& s = static_cast<Scratch&>(workspace);
  const AttentionContext context = begin(batch, kv_dtype, s);
  embed(embedding_, batch, s.x.data());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const MoeBlock* const next = i + 1 < layers_.size() ? layers_[i + 1].mixture() : nullptr;
    layer_forward(layers_[i], context, experts_.get(), next, s.layer, s.x.data(), pool);
  }
  finish(batch, final_norm_, head_, s, pool, output);
}

void DecoderModel::forward_mtp(const Batch& batch, const float* hidden, DType kv_dtype, Workspace& workspace, ThreadPool& pool,
                               ForwardOutput output) const {
  SAMPAN_CHECK(mtp_.has_value());
  auto& s = static_cast<Scratch&>(workspace);
  const AttentionContext context = begin(batch, kv_dtype, s);
  embed(mtp_->embedding, batch, s.x.data());
  mtp_input(*mtp_, config().rms_norm_eps, hidden, s.x.data(), batch.size(), s.joined, s.layer.activations, s.x.data(), pool);
  layer_forward(mtp_->layer, context, experts_.get(), nullptr, s.layer, s.x.data(), pool);
  finish(batch, mtp_->norm, mtp_->head, s, pool, output);
}

void DecoderModel::finish(const Batch& batch, const std::vector<float>& norm, const WeightMatrix& head, Scratch& s,
                          ThreadPool& pool, ForwardOutput output) const {
  const ModelConfig& c = config();
  std::vector<float>& wanted = s.layer.h;
  std::int64_t rows = 0;
  const auto row = [&](std::int64_t i) { return wanted.data() + i * c.hidden_size; };
  for (std::int64_t t = 0; t < batch.size(); ++t) {
    const Batch::Token& token = batch.tokens[static_cast<std::size_t>(t)];
    if (token.wants_logits || token.wants_hidden) std::copy_n(s.x.data() + t * c.hidden_size, c.hidden_size, row(rows++));
  }
  if (rows == 0) return;
  rms_norm(wanted.data(), norm.data(), rows, c.hidden_size, c.rms_norm_eps, wanted.data(), pool);

  std::int64_t from = 0, logit_rows = 0;
  float* hidden = output.hidden;
  for (const Batch::Token& token : batch.tokens) {
    if (!token.wants_logits && !token.wants_hidden) continue;
    if (token.wants_hidden) hidden = std::copy_n(row(from), c.hidden_size, hidden);
    if (token.wants_logits && logit_rows++ != from) std::copy_n(row(from), c.hidden_size, row(logit_rows - 1));
    ++from;
  }
  if (logit_rows == 0) return;
  s.layer.activations.set(wanted.data(), logit_rows, c.hidden_size);
  matmul(head, s.layer.activations, output.logits, c.vocab_size, pool);
}

}  // namespace sampan
