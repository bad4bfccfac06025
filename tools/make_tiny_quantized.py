#!/usr/bin/env python3
"""Makes tests/data/quantized_models/<name>/: tiny checkpoints in the forms that makers publish.

    pip install torch==2.13.0 transformers==5.24.0 safetensors numpy
    python tools/make_tiny_quantized.py [--only NAME]

The forms and their layouts are described in oracle/published_forms.py; check_published_forms.py
compares its packers with the official ones. Each folder holds config.json with its
"quantization_config", model.safetensors, and two goldens in the format of oracle/goldens.py,
without greedy ids:

  exact.golden.json    transformers in float32 with the weights that the file means
  rounded.golden.json  the short prompts, with activations rounded to 8 bits in blocks of 32 before
                       products with quantised weights (oracle/activations.py), and E4M3 weights
                       rounded to integers times a power of two as well (published_forms.py)

A seed whose exact logits rounding would change by more than 7 % (an expert flipped, say) is passed
over.
"""

import dataclasses
import functools
import pathlib
import re
import tempfile

import numpy as np
import torch

from make_tiny_models import BF16, F16, prompts, rope, sizes
from make_tiny_moe_models import (
    KIMI_YARN,
    PUBLISHED_V3_OFF,
    experts,
    latent,
    routed,
    yarn,
)
from oracle import activations, checkpoints, command, goldens
from oracle import published_forms as forms
from oracle.checkpoints import Variant

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "quantized_models"
LINEAR = re.compile(r"\.layers\.\d+\.(self_attn|mlp)\..*_proj(_with_mqa)?\.weight$")
EXPERTS = re.compile(r"\.mlp\.experts\.\d+\.(gate|up|down)_proj\.weight$")


@dataclasses.dataclass(frozen=True)
class Quantised:
    """A checkpoint, the form of its quantised linears, which they are, and what its config says."""

    variant: Variant
    form: object
    config: dict
    linears: re.Pattern = LINEAR


def fp8_config(**more):
    """quantization_config of DeepSeek's and Qwen's FP8 files."""
    return {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [128, 128],
        **more,
    }


def gptq_config(form, **more):
    """quantization_config of GPTQ files."""
    return {
        "quant_method": "gptq",
        "bits": form.bits,
        "group_size": form.group,
        "desc_act": form.act_order,
        "sym": form.symmetric,
        "damp_percent": 0.01,
        "static_groups": False,
        "true_sequential": True,
        **more,
    }


def awq_config(form):
    """quantization_config of AWQ files."""
    return {
        "quant_method": "awq",
        "bits": 4,
        "group_size": form.group,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": None,
    }


def compressed_config(form, weights, inputs=None, ignore=("lm_head",)):
    """quantization_config of compressed-tensors files."""
    weights = {"dynamic": False, "group_size": None, "symmetric": True, **weights}
    group = {"targets": ["Linear"], "weights": weights, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": {**group, "input_activations": inputs}},
        "ignore": list(ignore),
        "kv_cache_scheme": None,
        "quantization_status": "compressed",
    }


def by_token(kind):
    """Activations a token at a time, which is advice to engines: sampan has its own blocks."""
    return {
        "num_bits": 8,
        "type": kind,
        "strategy": "token",
        "dynamic": True,
        "symmetric": True,
        "group_size": None,
    }


def integers(bits, group, symmetric=True):
    """compressed-tensors' description of grouped integers."""
    return {
        "num_bits": bits,
        "type": "int",
        "strategy": "group",
        "group_size": group,
        "symmetric": symmetric,
    }


KIMI_IGNORE = (
    "lm_head",
    "re:.*self_attn.*",
    "re:.*shared_experts.*",
    "re:.*mlp\\.(gate|up|gate_up|down)_proj.*",
)
QWEN3 = sizes(64, 96, 4, 2, 87, head_dim=16, **rope(theta=1e6))
QWEN2 = sizes(64, 128, 4, 2, 85, **rope(theta=1e6))
WIDE = sizes(160, 160, 4, 1, 67, layers=1, head_dim=40, **rope(theta=1e6))
V3 = {
    **latent(96, 64, 32, 32, 32),
    **routed(4, 2, 32, 1, 2, 1, 2.5),
    **yarn(1.0),
}
SYMMETRIC = forms.Gptq(4, 32)
ACT_ORDER = forms.Gptq(4, 64, act_order=True)
ASYMMETRIC = forms.Gptq(4, 32, symmetric=False)
EIGHT_BITS = forms.Gptq(8, 64, symmetric=False, v2=True)


def qwen3(name, config=None, dtype=BF16, **more):
    """A dense Qwen3."""
    return Variant(name, "qwen3", config or QWEN3, dtype, weight_std=0.2, **more)


# fmt: off
MODELS = [
    # Partial edge blocks of 128: 160 = 128 + 32 rows and columns, and fewer than 128
    Quantised(qwen3("qwen3_fp8", WIDE), forms.Fp8Block(BF16),
              fp8_config(modules_to_not_convert=["lm_head"])),
    # Three heads of 64 rows of kv_b: blocks of scales begin and end within heads
    Quantised(Variant("deepseek_v3_fp8", "deepseek_v3",
                      sizes(160, 96, 3, 3, 61, **{**V3, "q_lora_rank": 64}), BF16,
                      classic=True, published=PUBLISHED_V3_OFF, weight_std=0.15),
              forms.Fp8Block(), fp8_config()),
    Quantised(Variant("deepseek_v3_fp8_ue8m0", "deepseek_v3", sizes(64, 96, 2, 2, 83, **V3), BF16,
                      classic=True, published=PUBLISHED_V3_OFF, weight_std=0.2),
              forms.Fp8Block(ue8m0=True), fp8_config(scale_fmt="ue8m0")),
    Quantised(qwen3("qwen3_gptq_int4", dtype=F16), SYMMETRIC, gptq_config(SYMMETRIC)),
    Quantised(Variant("qwen2_gptq_act_order", "qwen2", QWEN2, F16, classic=True, weight_std=0.2),
              ACT_ORDER, gptq_config(ACT_ORDER, checkpoint_format="gptq")),
    Quantised(Variant("qwen2_gptq_asymmetric", "qwen2", QWEN2, F16, weight_std=0.2), ASYMMETRIC,
              gptq_config(ASYMMETRIC, checkpoint_format="gptq")),
    Quantised(qwen3("qwen3_gptq_int8_v2", {**QWEN3, "intermediate_size": 64}, F16), EIGHT_BITS,
              gptq_config(EIGHT_BITS, checkpoint_format="gptq_v2")),
    Quantised(Variant("qwen2_awq", "qwen2", QWEN2, F16, classic=True, weight_std=0.2),
              forms.Awq(64), awq_config(forms.Awq(64))),
    Quantised(qwen3("qwen3_awq", dtype=F16), forms.Awq(32), awq_config(forms.Awq(32))),
    Quantised(Variant("kimi_k2_int4", "kimi_k2",
                      sizes(64, 32, 2, 2, 79, rms_norm_eps=1e-5, **latent(32, 32, 16, 16, 32),
                            **routed(8, 3, 32, 1, scale=2.827), **KIMI_YARN),
                      BF16, classic=True, published=PUBLISHED_V3_OFF, weight_std=0.2),
              forms.PackedInt(), compressed_config("pack-quantized", integers(4, 32),
                                                   ignore=KIMI_IGNORE), EXPERTS),
    Quantised(Variant("kimi_k25_int4", "kimi_k25",
                      sizes(32, 32, 2, 2, 77, rms_norm_eps=1e-5, **latent(32, 32, 16, 16, 32),
                            **routed(4, 2, 64, 1, scale=2.827), **KIMI_YARN),
                      BF16, classic=True, published=PUBLISHED_V3_OFF, weight_std=0.2),
              forms.PackedInt(), compressed_config("pack-quantized", integers(4, 32),
                                                   ignore=KIMI_IGNORE), EXPERTS),
    Quantised(qwen3("qwen3_packed_asymmetric"), forms.PackedInt(symmetric=False),
              compressed_config("pack-quantized", integers(4, 32, False))),
    Quantised(Variant("qwen3_moe_packed_int8", "qwen3_moe",
                      sizes(64, 96, 4, 2, 75, head_dim=16, **experts(4, 2, 32, norm_topk_prob=True),
                            **rope(theta=1e6)), BF16, classic=True, weight_std=0.2),
              forms.PackedInt(8, 64, True),
              compressed_config("pack-quantized", integers(8, 64),
                                ignore=("lm_head", "re:.*mlp.gate$")),
              re.compile(r"self_attn\..*_proj\.weight$|experts\.\d+\.(gate|up)_proj\.weight$")),
    Quantised(qwen3("qwen3_fp8_channels"), forms.Fp8(),
              compressed_config("float-quantized",
                                {"num_bits": 8, "type": "float", "strategy": "channel"},
                                by_token("float"))),
    Quantised(qwen3("qwen3_fp8_tensors"), forms.Fp8(per_channel=False),
              compressed_config("float-quantized",
                                {"num_bits": 8, "type": "float", "strategy": "tensor"},
                                {**by_token("float"), "strategy": "tensor", "dynamic": False})),
    Quantised(qwen3("qwen3_int8_channels"), forms.Int8(),
              compressed_config("int-quantized",
                                {"num_bits": 8, "type": "int", "strategy": "channel"},
                                by_token("int"))),
    Quantised(qwen3("qwen3_mxfp4"), forms.Mxfp4(),
              compressed_config("mxfp4-pack-quantized",
                                {"num_bits": 4, "type": "float", "strategy": "group",
                                 "group_size": 32, "scale_dtype": "torch.uint8"})),
]
# fmt: on


def quantise(folder, quantised, rng):
    """Packs the linears of a float folder in place: {tensor name: Packed}."""
    packed, out = {}, {}
    for name, tensor in checkpoints.read_tensors(folder).items():
        if not quantised.linears.search(name):
            out[name] = tensor
            continue
        packed[name] = quantised.form.pack(tensor.float(), rng)
        stem = name.removesuffix("weight")
        out |= {stem + suffix: value for suffix, value in packed[name].tensors.items()}
        if isinstance(quantised.form, forms.Fp8) and not quantised.form.per_channel:
            out[stem + "input_scale"] = torch.tensor([0.05])  # static activations: weights decide
    checkpoints.write_tensors(folder, out)

    def edit(config):
        inner = config.get("text_config", config)
        inner["quantization_config"] = quantised.config
        return config

    checkpoints.edit_config(folder, edit)
    return packed


def load_with(folder, weights, dtype=torch.float32):
    """The float folder's model with some weights {name: tensor} replaced."""
    with tempfile.TemporaryDirectory() as plain:
        plain = pathlib.Path(plain)
        for name in ("config.json", "generation_config.json"):
            (plain / name).write_bytes((folder / name).read_bytes())
        checkpoints.write_tensors(plain, checkpoints.read_tensors(folder) | weights)
        return checkpoints.load(plain, dtype)


def rounded_weights(packed, config):
    """What products read of each weight; kv_b's part of the keys is turned as exact floats."""
    weights = {}
    for name, p in packed.items():
        weights[name] = p.exact if p.rounded is None else p.rounded
        if name.endswith(".kv_b_proj.weight"):
            shape = (config.num_attention_heads, -1, p.exact.shape[1])
            mixed = weights[name].clone().reshape(shape)
            keys = config.qk_nope_head_dim
            mixed[:, :keys] = p.exact.reshape(shape)[:, :keys]
            weights[name] = mixed.reshape(p.exact.shape)
    return weights


def block_of_packed(packed):
    """block_of for activations.round_inputs."""
    names = {n.removeprefix("language_model.") for n in packed}

    def block_of(name):
        if name.endswith(".k_b_proj"):
            return 1
        name = name.replace(".v_b_proj", ".kv_b_proj")
        name = name.replace(".experts.gate_up_proj", ".experts.0.gate_proj")
        name = name.replace(".experts.down_proj", ".experts.0.down_proj")
        return 32 if f"{name}.weight" in names else 1

    return block_of


def order_of_packed(packed):
    """{Linear module: order in which its inputs are read}."""
    return {n.removesuffix(".weight"): p.order for n, p in packed.items() if p.order is not None}


def rounded_model(folder, packed):
    """The oracle with rounded activations (and E4M3 weights)."""
    model = load_with(folder, {n: p.exact for n, p in packed.items()})
    model = load_with(folder, rounded_weights(packed, model.config))
    activations.round_inputs(model, block_of_packed(packed), order_of_packed(packed))
    return model


def make_with_seed(quantised, folder, seed):
    """Writes one folder; returns why it would be a poor test, or None."""
    variant = quantised.variant
    checkpoints.save(checkpoints.build_model(variant, seed), variant, folder)
    with tempfile.TemporaryDirectory() as floats:
        floats = pathlib.Path(floats)
        for path in folder.iterdir():
            (floats / path.name).write_bytes(path.read_bytes())
        packed = quantise(folder, quantised, np.random.default_rng(seed + 2))
        exact = {name: p.exact for name, p in packed.items()}
        model = load_with(floats, exact)
        ids = prompts(variant.config["vocab_size"], np.random.default_rng(seed + 1))
        answers = [goldens.answer(model, i, with_greedy=False) for i in ids]
        reason = goldens.objection(load_with(floats, exact, torch.float64), answers)
        if reason is not None:
            return reason
        golden = folder / "exact.golden.json"
        goldens.write(golden, answers, {"seed": seed})
        rounded = rounded_model(floats, packed)
        reason = goldens.objection_to_rounding(goldens.read_logits(golden), rounded, ids)
        if reason is None:
            answers = [goldens.answer(rounded, i, with_greedy=False) for i in ids if len(i) < 12]
            note = {"activations": "8 bits in blocks of 32, oracle/activations.py"}
            goldens.write(folder / "rounded.golden.json", answers, note)
        return reason


def make(quantised, folder):
    """Writes one folder, trying seeds until the answers make a good test."""
    for seed in range(200):
        reason = make_with_seed(quantised, folder, seed)
        if reason is None:
            return seed
        print(f"  {folder.name}: seed {seed} passed over: {reason}")
    raise SystemExit(f"{folder.name}: no good seed")


def main():
    makers = {variant.variant.name: functools.partial(make, variant) for variant in MODELS}
    command.make_folders(__doc__.split("\n")[0], makers, OUTPUT)


if __name__ == "__main__":
    main()
