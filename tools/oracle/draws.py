"""Random configurations of every family, for check_against_transformers.py. Needs numpy, torch."""

import numpy as np
import torch

from oracle.checkpoints import MLA_TYPES, Variant
from oracle.gguf_layouts import LatentLayout

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
LATENT_LAYOUTS = [
    LatentLayout(),
    LatentLayout(flat=True),
    LatentLayout(flat=True, keep_kv_b=True, new_keys=False),
    LatentLayout(split=False, new_keys=False),
    LatentLayout(split=False),
]


def draw_rope(rng, family):
    """A random rope_parameters object."""
    kinds = ["default", "default", "linear", "yarn", "dynamic"] + ["llama3"] * (family == "llama")
    rope = {
        "rope_type": str(rng.choice(kinds)),
        "rope_theta": float(rng.choice([1e4, 1e5, 5e5, 1e6])),
    }
    if rope["rope_type"] != "default":
        rope["factor"] = float(rng.choice([2.0, 3.0, 4.0, 8.0]))
    if rope["rope_type"] == "llama3":
        rope |= {
            "low_freq_factor": 1.0,
            "high_freq_factor": float(rng.choice([2.0, 4.0])),
            "original_max_position_embeddings": int(rng.choice([32, 64, 128])),
        }
    if rope["rope_type"] == "yarn":
        rope["original_max_position_embeddings"] = int(rng.choice([32, 100, 128, 256]))
        optional = {
            "beta_fast": float(rng.choice([4.0, 8.0, 16.0])),
            "beta_slow": float(rng.choice([0.5, 2.0])),
            "attention_factor": float(rng.choice([0.8, 1.0, 1.5])),
            "truncate": False,
        }
        rope |= {k: v for k, v in optional.items() if rng.random() < 0.25}
    return rope


def draw_config(rng, family):
    """Random sizes and flags of a family."""
    kv_heads = int(rng.choice([1, 1, 2, 3]))
    heads = kv_heads * int(rng.choice([1, 2, 3, 4, 7]))
    head_dim = int(rng.choice([4, 8, 10, 16, 24, 32]))
    explicit = family in ("qwen3", "qwen3_moe", "seed_oss") or (
        family == "llama" and rng.random() < 0.3
    )
    hidden = heads * head_dim
    if explicit:  # Llama's config wants a multiple of the heads all the same
        step = heads if family == "llama" else 1
        hidden = step * max(1, int(rng.integers(24, 80)) // step)
    config = {
        "hidden_size": hidden,
        "intermediate_size": int(rng.integers(20, 140)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": int(rng.integers(1, 5)),
        "vocab_size": int(rng.integers(70, 300)),
        "max_position_embeddings": 512,
        "rms_norm_eps": float(rng.choice([1e-6, 1e-5])),
        "tie_word_embeddings": bool(rng.random() < 0.5),
        "rope_parameters": draw_rope(rng, family),
    }
    if explicit:
        config["head_dim"] = head_dim
    if config["rope_parameters"]["rope_type"] == "dynamic":
        config["max_position_embeddings"] = int(rng.choice([96, 150, 280]))
    return config | draw_flags(rng, family)


def draw_flags(rng, family):
    """Random biases and windows, as far as the family has them."""
    flags = {}
    if family in ("llama", "qwen3", "qwen3_moe", "seed_oss"):
        flags["attention_bias"] = bool(rng.random() < 0.4)
    if family in ("llama", "seed_oss"):
        flags["mlp_bias"] = bool(rng.random() < 0.25)
    if family == "seed_oss":
        flags["attention_out_bias"] = bool(rng.random() < 0.3)
    if family in ("qwen2", "qwen3") and rng.random() < 0.35:
        flags["use_sliding_window"] = True
        # Not 1: there transformers caches every key, for it slices by minus zero.
        flags["sliding_window"] = int(rng.choice([2, 5, 32, 100]))
        flags["max_window_layers"] = int(rng.integers(0, 3))
    return flags


def draw_experts(rng, family, layers):
    """Random routing keys of Qwen's mixtures."""
    count = int(rng.integers(3, 11))
    keys = {
        "num_experts": count,
        "num_experts_per_tok": int(rng.integers(1, min(count, 4) + 1)),
        "moe_intermediate_size": int(rng.integers(4, 30)),
        "norm_topk_prob": bool(rng.random() < (0.75 if family == "qwen3_moe" else 0.25)),
    }
    if rng.random() < 0.3:
        keys["decoder_sparse_step"] = 2
    if rng.random() < 0.3:
        keys["mlp_only_layers"] = [int(rng.integers(0, layers))]
    if family == "qwen2_moe":
        keys["shared_expert_intermediate_size"] = int(rng.integers(6, 40))
        keys["qkv_bias"] = bool(rng.random() < 0.8)
    return keys


def draw_deepseek_rope(rng):
    """Random plain or YaRN rope with its two mscales, which mostly are equal."""
    rope = {"rope_type": "default", "rope_theta": float(rng.choice([1e4, 5e4, 1e6]))}
    if rng.random() < 0.35:
        return rope
    mscale = float(rng.choice([0.707, 1.0, 1.2]))
    rope |= {
        "rope_type": "yarn",
        "factor": float(rng.choice([4.0, 32.0, 40.0])),
        "original_max_position_embeddings": int(rng.choice([32, 64, 128])),
        "beta_fast": float(rng.choice([1.0, 16.0, 32.0])),
        "beta_slow": 1.0,
    }
    if rng.random() < 0.85:
        rope |= {"mscale": mscale, "mscale_all_dim": mscale}
    if "mscale" in rope and rng.random() < 0.2:
        rope["mscale_all_dim"] = 0.5
    return rope


def draw_routing(rng, family):
    """Random routing keys of DeepSeek's mixtures."""
    groups = int(rng.choice([1, 2, 3, 4]))
    size = int(rng.integers(2, 5))
    kept = int(rng.integers(1, groups + 1))
    keys = {
        "n_routed_experts": groups * size,
        "n_group": groups,
        "topk_group": kept,
        "num_experts_per_tok": int(rng.integers(1, min(kept * size, 4) + 1)),
        "moe_intermediate_size": int(rng.integers(4, 24)),
        "n_shared_experts": int(rng.integers(1, 4)),
        "routed_scaling_factor": float(rng.choice([1.0, 2.5, 4.0])),
    }
    if family == "deepseek_v2":  # its norm_topk_prob does nothing in transformers, see README.md
        keys["topk_method"] = "group_limited_greedy" if groups > 1 else "greedy"
    else:
        keys["norm_topk_prob"] = bool(rng.random() < 0.8)
    return keys


def draw_deepseek_config(rng, family):
    """Random sizes and flags of a model with multi-head latent attention."""
    heads = int(rng.choice([1, 2, 3, 4]))
    layers = int(rng.integers(1, 5))
    config = {
        "hidden_size": heads * int(rng.integers(24, 80) // heads),
        "intermediate_size": int(rng.integers(20, 100)),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "num_hidden_layers": layers,
        "first_k_dense_replace": int(rng.integers(0, layers + 1)),
        "vocab_size": int(rng.integers(70, 200)),
        "max_position_embeddings": 512,
        "rms_norm_eps": float(rng.choice([1e-6, 1e-5])),
        "tie_word_embeddings": bool(rng.random() < 0.2),
        "attention_bias": bool(rng.random() < 0.2),
        "q_lora_rank": int(rng.integers(8, 40)) if rng.random() < 0.6 else None,
        # Even ones, for transformers takes pairs of deepseek_v2's rows as complex numbers in place.
        "kv_lora_rank": 2 * int(rng.integers(4, 20)),
        "qk_nope_head_dim": 2 * int(rng.integers(2, 14)),
        "qk_rope_head_dim": int(rng.choice([4, 8, 10, 16])),
        "v_head_dim": int(rng.integers(4, 28)),
        "rope_parameters": draw_deepseek_rope(rng),
    }
    if family == "deepseek_v3" and rng.random() < 0.15:
        config["rope_interleave"] = False
    return config | draw_routing(rng, family)


def draw_variant(seed, families):
    """The checkpoint of a seed, and the name of its stored type."""
    rng = np.random.default_rng(seed)
    family = str(rng.choice(families))
    dtype = str(rng.choice(["F32", "F32", "BF16", "F16"]))
    shards = "40KB" if rng.random() < 0.2 else None
    if family in MLA_TYPES:
        config = draw_deepseek_config(rng, family)
    else:
        config = draw_config(rng, family)
    if family.endswith("_moe"):
        config |= draw_experts(rng, family, config["num_hidden_layers"])
    interleaved = config.get("rope_interleave", True)  # older configs cannot say that it is not
    variant = Variant(
        f"seed{seed}",
        family,
        config,
        DTYPES[dtype],
        classic=bool(rng.random() < 0.5) and interleaved,
        max_shard_size=None if family.startswith("kimi") else shards,
        weight_std=float(rng.choice([0.15, 0.2, 0.25])),
        fused_experts=bool(rng.random() < 0.25) and not family.startswith("kimi"),
    )
    return variant, dtype


def draw_latent_layout(seed):
    """How a conversion to GGUF arranges latent attention."""
    rng = np.random.default_rng([seed, 2])
    return LATENT_LAYOUTS[rng.integers(len(LATENT_LAYOUTS))]


def describe_experts(config):
    """A short word about the routing."""
    count = config.get("num_experts") or config["n_routed_experts"]
    groups = f" groups {config['topk_group']}/{config['n_group']}" if "n_group" in config else ""
    return f"experts {config['num_experts_per_tok']}/{count}{groups}"


def _has_gguf_mixture(variant, layout):
    """Whether GGUF can say the mixture and the latent attention."""
    c, family = variant.config, variant.model_type
    if family.endswith("_moe"):
        all_mixtures = c.get("decoder_sparse_step", 1) == 1 and not c.get("mlp_only_layers")
        return all_mixtures and c["norm_topk_prob"] == (family == "qwen3_moe")
    if family not in MLA_TYPES:
        return True
    rope = c["rope_parameters"]
    limited = c["topk_group"] < c["n_group"]
    return not (
        family.startswith("kimi")  # as deepseek_v3
        or c["first_k_dense_replace"] >= c["num_hidden_layers"]  # no mixture at all
        or (limited and not layout.new_keys)  # older files do not know of groups
        or c["attention_bias"]
        or not c.get("rope_interleave", True)
        or (rope["rope_type"] == "yarn" and rope.get("mscale") is None)
        or rope.get("mscale") != rope.get("mscale_all_dim")
    )


def has_gguf_form(variant, layout):
    """Whether llama.cpp's metadata can say this model."""
    rope = variant.config["rope_parameters"]
    return _has_gguf_mixture(variant, layout) and not (
        rope["rope_type"] == "dynamic"
        or "attention_factor" in rope
        or "truncate" in rope
        or variant.config.get("use_sliding_window")
    )
