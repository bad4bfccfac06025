#include <array>

#include "models/family.h"

namespace sampan {
namespace {

struct NamePair {
  std::string_view hf;
  std::string_view gguf;
};

constexpr std::array<NamePair, 3> kModelNames = {{
    {"model.embed_tokens.", "token_embd."},
    {"model.norm.", "output_norm."},
    {"lm_head.", "output."},
}};

constexpr auto kLayerNames = std::to_array<NamePair>({
    {"input_layernorm.", "attn_norm."},
    // The layer of multi-token prediction.
    {"enorm.", "nextn.enorm."},
    {"hnorm.", "nextn.hnorm."},
    {"eh_proj.", "nextn.eh_proj."},
    {"embed_tokens.", "nextn.embed_tokens."},
    {"shared_head.norm.", "nextn.shared_head_norm."},
    {"shared_head.head.", "nextn.shared_head_head."},
    {"self_attn.q_proj.", "attn_q."},
    {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},
    {"self_attn.o_proj.", "attn_output."},
    {"self_attn.q_norm.", "attn_q_norm."},
    {"self_attn.k_norm.", "attn_k_norm."},
    {"mlp.gate_proj.", "ffn_gate."},
    {"mlp.up_proj.", "ffn_up."},
    {"mlp.down_proj.", "ffn_down."},
    // Latent attention. Newer files have kv_b in two tensors, for keys (transposed head by head) and values.
    {"self_attn.q_a_proj.", "attn_q_a."},
    {"self_attn.q_a_layernorm.", "attn_q_a_norm."},
    {"self_attn.q_b_proj.", "attn_q_b."},
    {"self_attn.kv_a_proj_with_mqa.", "attn_kv_a_mqa."},
    {"self_attn.kv_a_layernorm.", "attn_kv_a_norm."},
    {"self_attn.kv_b_proj.", "attn_kv_b."},
    {"self_attn.k_b_proj.", "attn_k_b."},
    {"self_attn.v_b_proj.", "attn_v_b."},
    // Experts: the names without a number are of all experts stacked.
    {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.gate.", "ffn_gate_inp."},
    {"mlp.experts.gate_up_proj", "ffn_gate_up_exps.weight"},
    {"mlp.experts.gate_proj.", "ffn_gate_exps."},
    {"mlp.experts.up_proj.", "ffn_up_exps."},
    {"mlp.experts.down_proj.", "ffn_down_exps."},
    {"mlp.shared_experts.gate_proj.", "ffn_gate_shexp."},
    {"mlp.shared_experts.up_proj.", "ffn_up_shexp."},
    {"mlp.shared_experts.down_proj.", "ffn_down_shexp."},
    {"mlp.shared_expert_gate.", "ffn_gate_inp_shexp."},
    {"mlp.shared_expert.gate_proj.", "ffn_gate_shexp."},
    {"mlp.shared_expert.up_proj.", "ffn_up_shexp."},
    {"mlp.shared_expert.down_proj.", "ffn_down_shexp."},
});

constexpr std::string_view kLayerPrefix = "model.layers.";
constexpr std::string_view kFfnNorm = "post_attention_layernorm.";

template <std::size_t N>
std::string translate(std::string_view name, const std::array<NamePair, N>& table) {
  for (const NamePair& pair : table) {
    if (name.starts_with(pair.hf)) {
      return std::string(pair.gguf) + std::string(name.substr(pair.hf.size()));
    }
  }
  return std::string(name);
}

}  // namespace

std::string gguf_tensor_name(std::string_view hf_name, const Family& family) {
  if (!hf_name.starts_with(kLayerPrefix)) return translate(hf_name, kModelNames);
  const std::string_view rest = hf_name.substr(kLayerPrefix.size());
  const std::size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return std::string(hf_name);
  const std::string_view layer_name = rest.substr(dot + 1);
  const std::string block = "blk." + std::string(rest.substr(0, dot + 1));
  if (layer_name.starts_with(kFfnNorm)) {
    return block + std::string(family.gguf_ffn_norm) + "." + std::string(layer_name.substr(kFfnNorm.size()));
  }
  return block + translate(layer_name, kLayerNames);
}

}  // namespace sampan
