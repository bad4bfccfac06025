"""How GGUF arranges what checkpoints hold otherwise, and back. Needs numpy.

experts    stacked: ffn_{gate,up,down}_exps (experts, out, in), from one tensor an expert or from
           transformers 5's fused gate_up_proj
kv_b       of multi-head latent attention, rows [nope | value] a head: kept as attn_kv_b (files of
           before 2025), or split in attn_k_b (heads, latent, nope), each head's part transposed,
           and attn_v_b (heads, value, latent); "flat" ones have two dimensions, heads * rows
shared_expert_gate   a vector
"""

import dataclasses
import re

import numpy as np

EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(gate|up|down)_proj\.weight")


@dataclasses.dataclass(frozen=True)
class LatentLayout:
    """How the tensors of multi-head latent attention are written."""

    split: bool = True
    flat: bool = False
    keep_kv_b: bool = False  # beside the split ones
    new_keys: bool = True  # metadata, see gguf_metadata.py


def stack_experts(tensors):
    """The checkpoint's tensors {name: array} with experts stacked as X.experts.gate_proj.weight."""
    stacked, parts = {}, {}
    for name, values in tensors.items():
        if match := EXPERT.fullmatch(name):
            prefix, index, part = match[1], int(match[2]), match[3]
            parts.setdefault(f"{prefix}.{part}_proj.weight", {})[index] = values
        elif name.endswith(".experts.gate_up_proj"):
            gate, up = np.split(values, 2, axis=1)
            prefix = name.removesuffix("gate_up_proj")
            stacked[f"{prefix}gate_proj.weight"] = gate
            stacked[f"{prefix}up_proj.weight"] = up
        elif name.endswith(".experts.down_proj"):
            stacked[f"{name}.weight"] = values
        else:
            stacked[name] = values
    for name, by_index in parts.items():
        stacked[name] = np.stack([by_index[i] for i in range(len(by_index))])
    return stacked


def split_kv_b(tensors, config, layout):
    """The tensors with kv_b_proj as the layout has it."""
    out = {}
    for name, values in tensors.items():
        if not name.endswith(".kv_b_proj.weight") or not layout.split:
            out[name] = values
            continue
        if layout.keep_kv_b:
            out[name] = values
        heads = values.reshape(config.num_attention_heads, -1, values.shape[1])
        k_b = heads[:, : config.qk_nope_head_dim].swapaxes(1, 2)
        v_b = heads[:, config.qk_nope_head_dim :]
        if layout.flat:
            k_b, v_b = k_b.reshape(-1, k_b.shape[2]), v_b.reshape(-1, v_b.shape[2])
        out[name.replace("kv_b_proj", "k_b_proj")] = k_b
        out[name.replace("kv_b_proj", "v_b_proj")] = v_b
    return out


def join_kv_b(k_b, v_b, config):
    """kv_b_proj.weight from the split tensors, flat or not."""
    heads, latent = config.num_attention_heads, config.kv_lora_rank
    k = k_b.reshape(heads, latent, config.qk_nope_head_dim).swapaxes(1, 2)
    v = v_b.reshape(heads, config.v_head_dim, latent)
    return np.concatenate([k, v], axis=1).reshape(-1, latent)
