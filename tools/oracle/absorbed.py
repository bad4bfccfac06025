"""Multi-head latent attention in its absorbed form, in place of transformers' expanded one.

With a head's rows of kv_b, [W_uk (nope, latent) | W_uv (value, latent)], and latents c_j:
  q' = W_uk^T q_nope,  score_j = scale * (q' . c_j + q_rope . k_rope_j),  o = W_uv sum_j p_j c_j
The same function, but what is multiplied with kv_b differs: it matters where activations are
rounded before products with quantised weights. Whole passes only, without a cache. Needs torch.
"""

import types

import torch
from transformers.models.deepseek_v2 import modeling_deepseek_v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3


def _rotated(attention, q_rope, k_rope, positions):
    """The rotated parts (1, heads, tokens, rope) and (1, 1, tokens, rope), as transformers does."""
    if isinstance(attention, modeling_deepseek_v2.DeepseekV2Attention):
        return modeling_deepseek_v2.apply_rotary_emb(q_rope, k_rope, positions)
    library = modeling_deepseek_v3
    interleaved = attention.config.rope_interleave
    rotate = (
        library.apply_rotary_pos_emb_interleave if interleaved else library.apply_rotary_pos_emb
    )
    return rotate(q_rope, k_rope, *positions)


def _queries(attention, hidden):
    if attention.q_lora_rank is None:
        return attention.q_proj(hidden)
    return attention.q_b_proj(attention.q_a_layernorm(attention.q_a_proj(hidden)))


def _forward(attention, hidden_states, position_embeddings=None, round_q=None, round_o=None, **_):
    nope, value = attention.qk_nope_head_dim, attention.v_head_dim
    tokens = hidden_states.shape[1]
    q = _queries(attention, hidden_states).view(1, tokens, attention.num_heads, -1).transpose(1, 2)
    q_nope, q_rope = q[..., :nope], q[..., nope:]
    kv = attention.kv_a_proj_with_mqa(hidden_states)
    latent = attention.kv_a_layernorm(kv[..., : attention.kv_lora_rank])[:, None]
    k_rope = kv[..., attention.kv_lora_rank :][:, None]
    q_rope, k_rope = _rotated(attention, q_rope, k_rope, position_embeddings)

    kv_b = attention.kv_b_proj.weight.view(attention.num_heads, nope + value, -1)
    w_uk, w_uv = kv_b[:, :nope], kv_b[:, nope:]
    if round_q is not None:
        q_nope = round_q(q_nope)
    scores = (q_nope @ w_uk) @ latent.transpose(2, 3) + q_rope @ k_rope.transpose(2, 3)
    future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    weights = (scores * attention.scaling).masked_fill(future, float("-inf")).softmax(-1)
    context = weights @ latent
    if round_o is not None:
        context = round_o(context)
    out = context @ w_uv.transpose(1, 2)
    return attention.o_proj(out.transpose(1, 2).reshape(1, tokens, -1)), None


def latent_attentions(model):
    """{name: module} of a model's multi-head latent attentions."""
    kinds = (modeling_deepseek_v2.DeepseekV2Attention, modeling_deepseek_v3.DeepseekV3Attention)
    return {n: m for n, m in model.named_modules() if isinstance(m, kinds)}


def absorb(attention, round_q=None, round_o=None):
    """Makes one attention module compute so; what W_uk and W_uv meet goes through round_q, round_o.

    Rows of both are (1, heads, tokens, nope) and (1, heads, tokens, latent).
    """

    def forward(self, *args, **kwargs):
        return _forward(self, *args, round_q=round_q, round_o=round_o, **kwargs)

    attention.forward = types.MethodType(forward, attention)
