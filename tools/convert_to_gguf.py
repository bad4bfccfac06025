#!/usr/bin/env python3
"""Converts a checkpoint of a family that GGUF knows to GGUF with the gguf package.

    pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0 safetensors numpy
    python tools/convert_to_gguf.py models/nano nano-bf16.gguf --type BF16

The families: llama, qwen2, qwen3, seed_oss, qwen2_moe, qwen3_moe, deepseek_v2, deepseek_v3, their
weights in floats. Independent of sampan's own reader and quantiser, to compare them with. The
tokenizer is copied when the folder has a byte-level BPE in tokenizer.json, else a stand-in of the
right size is written. --legacy arranges latent attention as files of before 2025 have it.
"""

import argparse
import json
import pathlib

from oracle import gguf_export, gguf_tokenizers
from oracle.gguf_layouts import LatentLayout


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--type", default="F32", choices=sorted(gguf_export.FILE_TYPES))
    parser.add_argument("--legacy", action="store_true", help="attn_kv_b in one, older keys")
    parser.add_argument("--pre", default="qwen2", help="name of the pre-tokenizer")
    args = parser.parse_args()
    vocab_size = json.loads((args.folder / "config.json").read_text())["vocab_size"]

    def tokenizer(writer):
        if (args.folder / "tokenizer.json").exists():
            gguf_tokenizers.add_tokenizer(writer, args.folder, vocab_size, args.pre)
        else:
            gguf_tokenizers.add_dummy_tokenizer(writer, vocab_size, args.pre)

    latent = LatentLayout(split=False, new_keys=False) if args.legacy else LatentLayout()
    gguf_export.convert(args.folder, args.output, args.type, tokenizer=tokenizer, latent=latent)


if __name__ == "__main__":
    main()
