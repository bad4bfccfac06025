#!/usr/bin/env python3
"""Makes tests/data/models/<name>/: tiny random mixtures of experts, with answers.

    pip install torch==2.13.0 transformers==5.24.0 safetensors numpy
    python tools/make_tiny_moe_models.py [--only NAME]

As make_tiny_models.py, for Qwen's and DeepSeek's mixtures and Kimi K2. Most folders hold their
experts apart, as they are published; the "fused" ones hold experts.gate_up_proj and
experts.down_proj, as transformers 5 may write them. The oracle of kimi_k2 and of kimi_k25 (a
wrapper with text_config, "language_model." names and some tensors of a vision tower) is
transformers' deepseek_v3, which is the same network.
"""

import functools

from make_tiny_models import BF16, F16, MODELS, make, rope, sizes
from oracle import command
from oracle.checkpoints import Variant


def experts(count, chosen, ffn, **more):
    """Qwen's config keys of a mixture."""
    return {
        "num_experts": count,
        "num_experts_per_tok": chosen,
        "moe_intermediate_size": ffn,
        **more,
    }


def latent(q_lora, kv_lora, nope, rotated, value):
    """Config keys of multi-head latent attention."""
    return {
        "q_lora_rank": q_lora,
        "kv_lora_rank": kv_lora,
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rotated,
        "v_head_dim": value,
    }


def routed(count, chosen, ffn, shared, groups=1, kept=1, scale=1.0, **more):
    """DeepSeek's config keys of a mixture; layer 0 is dense."""
    return {
        "n_routed_experts": count,
        "num_experts_per_tok": chosen,
        "moe_intermediate_size": ffn,
        "n_shared_experts": shared,
        "n_group": groups,
        "topk_group": kept,
        "routed_scaling_factor": scale,
        "first_k_dense_replace": 1,
        **more,
    }


def yarn(mscale, factor=40.0, original=64, theta=10000.0, **more):
    """DeepSeek's YaRN, its two mscales equal unless `more` says otherwise."""
    return rope(
        "yarn",
        theta,
        factor=factor,
        original_max_position_embeddings=original,
        **{"beta_fast": 32, "beta_slow": 1, "mscale": mscale, "mscale_all_dim": mscale, **more},
    )


# What the published files say as well, of which transformers' configs keep nothing.
PUBLISHED_V2 = {"moe_layer_freq": 1, "scoring_func": "softmax", "ep_size": 1, "seq_aux": True}
PUBLISHED_V3 = {"moe_layer_freq": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc"}
PUBLISHED_V3_OFF = {**PUBLISHED_V3, "num_nextn_predict_layers": 0}
KIMI_YARN = yarn(1.0, factor=32.0, theta=50000.0, beta_fast=1.0, beta_slow=1.0)

# fmt: off
VARIANTS = [
    # Qwen2-MoE: biases on q, k, v; a gated shared expert
    Variant("qwen2_moe", "qwen2_moe",
            sizes(40, 28, 4, 2, 83, layers=3, shared_expert_intermediate_size=20,
                  mlp_only_layers=[0], **experts(8, 2, 12), **rope(theta=1e6)),
            classic=True),
    Variant("qwen2_moe_fused_f16", "qwen2_moe",
            sizes(48, 32, 4, 4, 97, layers=3, shared_expert_intermediate_size=32,
                  tie_word_embeddings=True, decoder_sparse_step=2,
                  **experts(6, 3, 32, norm_topk_prob=True), **rope()),
            F16, fused_experts=True),
    # Qwen3-MoE: norms on q and k
    Variant("qwen3_moe", "qwen3_moe",
            sizes(40, 32, 4, 2, 79, layers=2, head_dim=12, **experts(8, 2, 12, norm_topk_prob=True),
                  **rope(theta=1e6))),
    Variant("qwen3_moe_fused_bf16", "qwen3_moe",
            sizes(48, 40, 4, 1, 101, layers=3, head_dim=16, mlp_only_layers=[1],
                  attention_bias=True, tie_word_embeddings=True,
                  **experts(8, 3, 24, norm_topk_prob=True),
                  **rope("yarn", factor=4.0, original_max_position_embeddings=128)),
            BF16, fused_experts=True, classic=True),
    # DeepSeek-V2: V2-Lite with its YaRN; V2 with its group limits
    Variant("deepseek_v2_lite", "deepseek_v2",
            sizes(32, 36, 4, 4, 89, layers=3, topk_method="greedy", **latent(None, 20, 8, 8, 12),
                  **routed(8, 3, 10, 2), **yarn(0.707)),
            classic=True, published=PUBLISHED_V2),
    Variant("deepseek_v2_groups_bf16", "deepseek_v2",
            sizes(48, 32, 4, 4, 105, layers=3, topk_method="group_limited_greedy",
                  **latent(32, 32, 16, 8, 24), **routed(8, 2, 16, 1, 4, 2, 16.0), **rope()),
            BF16),
    # DeepSeek-V3: sigmoid scores, a correction bias, groups by their two best
    Variant("deepseek_v3", "deepseek_v3",
            sizes(32, 36, 4, 4, 87, layers=3, **latent(20, 24, 12, 8, 16),
                  **routed(8, 3, 10, 1, 4, 2, 2.5), **yarn(1.0)),
            classic=True, published=PUBLISHED_V3_OFF),
    Variant("deepseek_v3_no_q_lora_f16", "deepseek_v3",
            sizes(48, 32, 4, 4, 95, layers=3, attention_bias=True, rms_norm_eps=1e-5,
                  **latent(None, 32, 16, 8, 24), **routed(8, 2, 16, 2, 2, 1, 1.5), **rope()),
            F16, fused_experts=True),
    Variant("deepseek_v3_mscales_bf16", "deepseek_v3",
            sizes(48, 64, 4, 4, 93, layers=2, norm_topk_prob=False, rope_interleave=False,
                  attention_bias=True,
                  **latent(24, 32, 16, 8, 24), **routed(8, 3, 24, 1, 4, 3, 2.5),
                  **yarn(0.8, mscale_all_dim=0.4)),
            BF16, published=PUBLISHED_V3),
    # Kimi K2: a step instead of YaRN's ramp, no groups
    Variant("kimi_k2_bf16", "kimi_k2",
            sizes(48, 72, 2, 2, 111, layers=3, rms_norm_eps=1e-5, **latent(24, 32, 16, 8, 24),
                  **routed(8, 3, 20, 1, scale=2.827), **KIMI_YARN),
            BF16, classic=True, published=PUBLISHED_V3_OFF),
    Variant("kimi_k25_f16", "kimi_k25",
            sizes(48, 32, 2, 2, 91, layers=2, rms_norm_eps=1e-5, **latent(32, 32, 16, 8, 24),
                  **routed(8, 2, 24, 1, scale=2.827), **KIMI_YARN),
            F16, classic=True, published=PUBLISHED_V3_OFF),
]
# fmt: on


def main():
    makers = {variant.name: functools.partial(make, variant) for variant in VARIANTS}
    command.make_folders(__doc__.split("\n")[0], makers, MODELS)


if __name__ == "__main__":
    main()
