#!/usr/bin/env python3
"""Makes a random-weight checkpoint of a published shape, to benchmark without its weights.

    pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0 safetensors numpy
    python tools/make_random_model.py qwen3-0.6b /tmp/bench-models
    python tools/make_random_model.py qwen3-1.7b /tmp/bench-models --fp8
    python tools/make_random_model.py deepseek-v2-lite /tmp/bench-models --type Q4_0
    python tools/make_random_model.py qwen3-4b /tmp/bench-models --type Q4_K_M
    python tools/make_random_model.py qwen3-30b-a3b /tmp/bench-models --layers 12
    python tools/make_random_model.py small-v3 /tmp/bench-models --prediction foreseeing

For the small shapes OUTPUT/<shape>/ (config.json, model.safetensors: BF16, normal weights of
deviation 0.02) and OUTPUT/<shape>-bf16.gguf with a stand-in tokenizer, which other engines load and
quantise; with --fp8 only OUTPUT/<shape>-fp8/, its matrices in FP8 blocks as DeepSeek and Qwen publish
them. Those that are too big for that are written straight to OUTPUT/<shape>-<type>.gguf as
random blocks (oracle/random_gguf.py), "-<N>-layers" in the name where there are fewer.
"small-v3" has DeepSeek-V3's layer at a quarter of its width, experts, head and prediction layer
with about their share of the whole; its prediction is blind (no draft is right) or foreseeing (all
are).
"""

import argparse
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file

from oracle import gguf_export, gguf_tokenizers, published_forms, random_gguf

SHAPES = {
    "qwen3-0.6b": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "hidden_act": "silu",
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": 28,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "torch_dtype": "bfloat16",
    },
}
SHAPES["qwen3-1.7b"] = SHAPES["qwen3-0.6b"] | {"hidden_size": 2048, "intermediate_size": 6144}

# {shape: (transformers config, GGUF architecture, pre-tokenizer)}
LARGE = {
    "qwen3-4b": (
        transformers.Qwen3Config(
            vocab_size=151936,
            hidden_size=2560,
            intermediate_size=9728,
            num_hidden_layers=36,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=40960,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            tie_word_embeddings=True,
        ),
        "qwen3",
        "qwen2",
    ),
    "deepseek-v2-lite": (
        transformers.DeepseekV2Config(
            vocab_size=102400,
            hidden_size=2048,
            intermediate_size=10944,
            moe_intermediate_size=1408,
            num_hidden_layers=27,
            num_attention_heads=16,
            num_key_value_heads=16,
            n_routed_experts=64,
            n_shared_experts=2,
            num_experts_per_tok=6,
            first_k_dense_replace=1,
            n_group=1,
            topk_group=1,
            q_lora_rank=None,
            kv_lora_rank=512,
            max_position_embeddings=163840,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 40.0,
                "original_max_position_embeddings": 4096,
                "beta_fast": 32,
                "beta_slow": 1,
                "mscale": 0.707,
                "mscale_all_dim": 0.707,
            },
        ),
        "deepseek2",
        "deepseek-llm",
    ),
    "small-v3": (
        transformers.DeepseekV3Config(
            vocab_size=16384,
            hidden_size=2048,
            intermediate_size=5632,
            moe_intermediate_size=1024,
            num_hidden_layers=20,
            num_attention_heads=32,
            num_key_value_heads=32,
            n_routed_experts=64,
            n_shared_experts=1,
            num_experts_per_tok=8,
            first_k_dense_replace=1,
            n_group=8,
            topk_group=4,
            q_lora_rank=768,
            kv_lora_rank=512,
            max_position_embeddings=163840,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        "deepseek2",
        "deepseek-v3",
    ),
    "qwen3-30b-a3b": (
        transformers.Qwen3MoeConfig(
            vocab_size=151936,
            hidden_size=2048,
            intermediate_size=6144,
            moe_intermediate_size=768,
            num_hidden_layers=48,
            num_attention_heads=32,
            num_key_value_heads=4,
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            norm_topk_prob=True,
            max_position_embeddings=40960,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        "qwen3moe",
        "qwen2",
    ),
}


def shapes_of_tensors(config):
    """{tensor name: shape} of a Qwen3 checkpoint."""
    hidden, ffn, dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * dim, config["num_key_value_heads"] * dim
    layer = {
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
        "self_attn.q_norm": (dim,),
        "self_attn.k_norm": (dim,),
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "mlp.gate_proj": (ffn, hidden),
        "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for i in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    return shapes | {"model.norm.weight": (hidden,)}


def random_tensor(shape, generator):
    """Norms are ones, matrices normal of deviation 0.02."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    return (0.02 * torch.randn(shape, generator=generator)).to(torch.bfloat16)


def random_tensors(config):
    generator = torch.Generator().manual_seed(1)
    return {n: random_tensor(s, generator) for n, s in shapes_of_tensors(config).items()}


def write_checkpoint(folder, config, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_fp8(shape, output):
    """OUTPUT/<shape>-fp8/: matrices of the layers in FP8 blocks, the embedding in BF16."""
    tensors = {}
    for name, tensor in random_tensors(SHAPES[shape]).items():
        if name.endswith("_proj.weight"):
            packed = published_forms.Fp8Block().pack(tensor.float(), None)
            for suffix, part in packed.tensors.items():
                tensors[name.removesuffix("weight") + suffix] = part
        else:
            tensors[name] = tensor
    form = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    write_checkpoint(output / f"{shape}-fp8", SHAPES[shape] | {"quantization_config": form}, tensors)


def make_dense(shape, output):
    """OUTPUT/<shape>/ and OUTPUT/<shape>-bf16.gguf."""
    config = SHAPES[shape]
    folder = output / shape
    write_checkpoint(folder, config, random_tensors(config))
    gguf_export.convert(
        folder,
        output / f"{shape}-bf16.gguf",
        "BF16",
        tokenizer=lambda w: gguf_tokenizers.add_dummy_tokenizer(w, config["vocab_size"]),
    )


def make_large(shape, output, matrix_type, layers, prediction):
    """OUTPUT/<shape>-<type>.gguf."""
    config, arch, pre = LARGE[shape]
    name = shape
    if layers is not None and layers != config.num_hidden_layers:
        config.num_hidden_layers = layers
        name += f"-{layers}-layers"
    if prediction is not None:
        name += f"-{prediction}"
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{name}-{matrix_type}.gguf"
    random_gguf.write(config, arch, path, matrix_type, pre, prediction=prediction)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=sorted([*SHAPES, *LARGE]))
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--type", default="Q4_0", choices=["Q4_0", "Q4_K", "Q4_K_M", "Q8_0"])
    parser.add_argument("--layers", type=int, help="of a large shape, instead of all")
    parser.add_argument("--fp8", action="store_true", help="a small shape as published in FP8")
    parser.add_argument(
        "--prediction",
        choices=["blind", "foreseeing"],
        help="add a layer of multi-token prediction",
    )
    args = parser.parse_args()
    if args.fp8 and args.shape not in SHAPES:
        parser.error(f"--fp8: not for {args.shape}")
    if args.fp8:
        make_fp8(args.shape, args.output)
    elif args.shape in SHAPES:
        make_dense(args.shape, args.output)
    else:
        make_large(args.shape, args.output, args.type, args.layers, args.prediction)


if __name__ == "__main__":
    main()
