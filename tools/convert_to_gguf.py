#!/usr/bin/env python3
"""Converts a dense checkpoint (llama, qwen2, qwen3, seed_oss) to GGUF with the gguf package.

    pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0 safetensors numpy
    python tools/convert_to_gguf.py models/nano nano-bf16.gguf --type BF16

Independent of sampan's own reader and quantiser, to compare them with. The tokenizer is copied when
the folder has a byte-level BPE in tokenizer.json, else a stand-in of the right size is written.
"""

import argparse
import json
import pathlib

from oracle import gguf_export, gguf_tokenizers


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--type", default="F32", choices=sorted(gguf_export.FILE_TYPES))
    parser.add_argument("--pre", default="qwen2", help="name of the pre-tokenizer")
    args = parser.parse_args()
    vocab_size = json.loads((args.folder / "config.json").read_text())["vocab_size"]

    def tokenizer(writer):
        if (args.folder / "tokenizer.json").exists():
            gguf_tokenizers.add_tokenizer(writer, args.folder, vocab_size, args.pre)
        else:
            gguf_tokenizers.add_dummy_tokenizer(writer, vocab_size, args.pre)

    gguf_export.convert(args.folder, args.output, args.type, tokenizer=tokenizer)


if __name__ == "__main__":
    main()
