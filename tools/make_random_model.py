#!/usr/bin/env python3
"""Makes a random-weight checkpoint of a published shape, to benchmark without its weights.

    pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0 safetensors numpy
    python tools/make_random_model.py qwen3-0.6b /tmp/bench-models

Writes OUTPUT/<shape>/ (config.json, model.safetensors: BF16, normal weights of deviation 0.02) and
OUTPUT/<shape>-bf16.gguf with a stand-in tokenizer, which other engines load and quantise.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file

from oracle import gguf_export, gguf_tokenizers

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("output", type=pathlib.Path)
    args = parser.parse_args()
    config = SHAPES[args.shape]
    folder = args.output / args.shape
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(1)
    tensors = {n: random_tensor(s, generator) for n, s in shapes_of_tensors(config).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    gguf_export.convert(
        folder,
        args.output / f"{args.shape}-bf16.gguf",
        "BF16",
        tokenizer=lambda w: gguf_tokenizers.add_dummy_tokenizer(w, config["vocab_size"]),
    )


if __name__ == "__main__":
    main()
