"""DeepSeek-V3's transformer block and its multi-token prediction layer, in plain float32 torch.

Written from the papers (DeepSeek-AI 2024, "DeepSeek-V2" section 2.1, "DeepSeek-V3" sections 2.1 and
2.2), independent of transformers. Weights are those of a published checkpoint, {name: tensor},
experts apart.

The layer N behind the trunk's last, with the trunk's hidden h_t and the token x_{t+1} known:
  z_t = eh_proj [enorm(embed(x_{t+1})), hnorm(h_t)];  y = block(z), position t as the trunk's;
  logits for x_{t+2} = shared_head.head(shared_head.norm(y_t))
h_t is what the trunk's head sees, after the final norm: so transformers, vLLM and SGLang run V3's
weights; others take it before that norm. RMS norms forget a vector's length but not the final
norm's weights, so it makes a difference. Needs torch.
"""

import math

import torch
import torch.nn.functional as F


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def swiglu(x, weights, prefix):
    gate, up, down = (weights[f"{prefix}.{part}_proj.weight"] for part in ("gate", "up", "down"))
    return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T


def yarn_frequencies(dim, rope):
    """(dim / 2) angles a position, and what multiplies the softmax's scale."""
    theta = rope["rope_theta"]
    frequencies = [theta ** (-2 * i / dim) for i in range(dim // 2)]
    if rope["rope_type"] == "default":
        return torch.tensor(frequencies), 1.0
    original, factor = rope["original_max_position_embeddings"], rope["factor"]

    def corrected(rotations):
        return dim * math.log(original / (2 * math.pi * rotations)) / (2 * math.log(theta))

    low = max(math.floor(corrected(rope["beta_fast"])), 0)
    high = min(math.ceil(corrected(rope["beta_slow"])), dim - 1)
    if low == high:
        high += 0.001
    ramps = [min(max((i - low) / (high - low), 0), 1) for i in range(dim // 2)]
    scaled = [f / factor * r + f * (1 - r) for f, r in zip(frequencies, ramps, strict=True)]
    assert rope["mscale"] == rope["mscale_all_dim"]
    return torch.tensor(scaled), (0.1 * rope["mscale_all_dim"] * math.log(factor) + 1) ** 2


def rotate(x, frequencies):
    """Pairs (2 i, 2 i + 1) of x (…, tokens, dim) turned by position * frequency i."""
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    angles = torch.arange(x.shape[-2])[:, None] * frequencies
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


def attention(x, weights, prefix, config):
    """Multi-head latent attention of x (tokens, hidden), latents expanded to keys and values."""
    nope, rope_dim = config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    heads, latent, tokens = config["num_attention_heads"], config["kv_lora_rank"], len(x)
    frequencies, magnitude = yarn_frequencies(rope_dim, config["rope"])

    def w(name):
        return weights[f"{prefix}.{name}.weight"]

    q = rms_norm(x @ w("q_a_proj").T, w("q_a_layernorm"), 1e-6) @ w("q_b_proj").T
    q = q.reshape(tokens, heads, nope + rope_dim).transpose(0, 1)
    kv = x @ w("kv_a_proj_with_mqa").T
    shared_key = rotate(kv[:, latent:], frequencies)
    expanded = rms_norm(kv[:, :latent], w("kv_a_layernorm"), 1e-6) @ w("kv_b_proj").T
    expanded = expanded.reshape(tokens, heads, -1).transpose(0, 1)
    scores = q[..., :nope] @ expanded[..., :nope].transpose(1, 2)
    scores = scores + rotate(q[..., nope:], frequencies) @ shared_key.T
    future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    scores = scores * magnitude / math.sqrt(nope + rope_dim)
    out = scores.masked_fill(future, float("-inf")).softmax(-1) @ expanded[..., nope:]
    return out.transpose(0, 1).reshape(tokens, -1) @ w("o_proj").T


def choose(scores, bias, config):
    """Experts of one token: the best by score + bias within the best groups."""
    biased = (scores + bias).reshape(config["n_group"], -1)
    of_group = biased.topk(min(2, biased.shape[1]), -1).values.sum(-1)
    kept = of_group.topk(config["topk_group"]).indices
    masked = torch.full_like(biased, float("-inf"))
    masked[kept] = biased[kept]
    return sorted(masked.flatten().topk(config["num_experts_per_tok"]).indices.tolist())


def mixture(x, weights, prefix, config):
    """Sigmoid-scored experts and the shared one, a token at a time."""
    scores = (x @ weights[f"{prefix}.gate.weight"].T).sigmoid()
    rows = []
    for token, row in enumerate(x):
        chosen = choose(scores[token], weights[f"{prefix}.gate.e_score_correction_bias"], config)
        total = sum(scores[token, e] for e in chosen) + 1e-20 if config["norm_topk_prob"] else 1.0
        out = torch.zeros_like(row)
        for e in chosen:
            weight = scores[token, e] / total * config["routed_scaling_factor"]
            out = out + weight * swiglu(row, weights, f"{prefix}.experts.{e}")
        rows.append(out)
    return torch.stack(rows) + swiglu(x, weights, f"{prefix}.shared_experts")


def block(x, weights, layer, config):
    """Layer `layer` on x (tokens, hidden) at positions 0, 1, …"""
    prefix, eps = f"model.layers.{layer}", config["rms_norm_eps"]
    normed = rms_norm(x, weights[f"{prefix}.input_layernorm.weight"], eps)
    x = x + attention(normed, weights, f"{prefix}.self_attn", config)
    normed = rms_norm(x, weights[f"{prefix}.post_attention_layernorm.weight"], eps)
    if layer < config["first_k_dense_replace"]:
        return x + swiglu(normed, weights, f"{prefix}.mlp")
    return x + mixture(normed, weights, f"{prefix}.mlp", config)


def trunk(ids, weights, config):
    """(hidden before the final norm, hidden after it) of every token."""
    x = weights["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        x = block(x, weights, layer, config)
    return x, rms_norm(x, weights["model.norm.weight"], config["rms_norm_eps"])


def predict_after_next(ids, hidden, weights, config):
    """Logits for x_{t+2} at t = 0 … len(ids) - 2, by the multi-token prediction layer."""
    layer, eps = config["num_hidden_layers"], config["rms_norm_eps"]

    def w(name):
        return weights[f"model.layers.{layer}.{name}.weight"]

    embedded = rms_norm(w("embed_tokens")[ids[1:]], w("enorm"), eps)
    joined = torch.cat([embedded, rms_norm(hidden[:-1], w("hnorm"), eps)], dim=-1)
    y = block(joined @ w("eh_proj").T, weights, layer, config)
    return rms_norm(y, w("shared_head.norm"), eps) @ w("shared_head.head").T


def read_config(config):
    """A config.json in the manner of transformers 4 or 5, with its rope under "rope"."""
    rope = config.get("rope_parameters")
    if rope is None:
        scaling = dict(config["rope_scaling"] or {"type": "default"})
        rope = {"rope_type": scaling.pop("type"), "rope_theta": config["rope_theta"], **scaling}
    return {**config, "rope": rope}
