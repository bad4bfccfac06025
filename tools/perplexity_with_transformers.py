#!/usr/bin/env python3
"""Perplexity of a text by transformers in float32, with the checkpoint's weights or a GGUF file's.

    pip install torch==2.13.0 transformers==5.24.0 tokenizers gguf==0.19.0 safetensors numpy
    python tools/perplexity_with_transformers.py models/nano models/nano/heldout.txt \
        --weights nano-Q4_K.gguf

The method of the embedded model's card: the whole file's ids without special tokens in consecutive
windows; each token but the first of a window is scored from those before it in the window. With
--weights the matrices are what the gguf package dequantises, so that the figure shows a quantiser's
loss alone, free of any engine's rounding.
"""

import argparse
import math
import pathlib

import tokenizers
import torch

from oracle import checkpoints, gguf_export


def perplexity(model, ids, window):
    """(perplexity, scored tokens) of token ids in consecutive windows."""
    total, scored = 0.0, 0
    for start in range(0, len(ids), window):
        part = torch.tensor([ids[start : start + window]])
        if part.shape[1] < 2:
            continue
        with torch.no_grad():
            log_p = model(part).logits[0, :-1].log_softmax(-1)
        total -= log_p.gather(1, part[0, 1:, None]).double().sum().item()
        scored += part.shape[1] - 1
    return math.exp(total / scored), scored


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--weights", type=pathlib.Path, help="a GGUF of this checkpoint")
    parser.add_argument("--window", type=int, default=512)
    args = parser.parse_args()
    model = checkpoints.load(args.folder)
    if args.weights:
        gguf_export.put_weights_of_gguf(model, args.folder, args.weights)
    tokenizer = tokenizers.Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    ids = tokenizer.encode(args.text.read_text(), add_special_tokens=False).ids
    value, scored = perplexity(model, ids, args.window)
    print(f"perplexity {value:.4f} over {scored} tokens")


if __name__ == "__main__":
    main()
