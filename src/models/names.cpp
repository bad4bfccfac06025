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

constexpr std::array<NamePair, 10> kLayerNames = {{
    {"input_layernorm.", "attn_norm."},
    {"self_attn.q_proj.", "attn_q."},
    {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},
    {"self_attn.o_proj.", "attn_output."},
    {"self_attn.q_norm.", "attn_q_norm."},
    {"self_attn.k_norm.", "attn_k_norm."},
    {"mlp.gate_proj.", "ffn_gate."},
    {"mlp.up_proj.", "ffn_up."},
    {"mlp.down_proj.", "ffn_down."},
}};

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
