#!/usr/bin/env python3
"""Makes tests/data/models/deepseek_v3_mtp_bf16/: a checkpoint with a multi-token prediction layer.

    pip install torch==2.13.0 transformers==5.24.0 safetensors numpy
    python tools/make_tiny_mtp_model.py

A tiny DeepSeek-V3 as make_tiny_moe_models.py makes them, with its golden, and the layer behind the
last: model.layers.N.{enorm,hnorm,eh_proj,embed_tokens,shared_head.norm,shared_head.head}, both
tables being copies, and a mixture block. The layer's own golden, mtp.golden.json in the format of
oracle/goldens.py, is by oracle/deepseek_block.py, whose trunk and layer have to agree with those of
transformers first. Row t of a text of 40 tokens x has the logits for x_{t+2}, given x_0 … x_{t+1};
there are 39.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from transformers.cache_utils import MtpCache
from transformers.modeling_layers import MtpModel

from make_tiny_models import BF16, MODELS, prompts, sizes
from make_tiny_moe_models import PUBLISHED_V3, latent, routed, yarn
from oracle import checkpoints, deepseek_block, goldens
from oracle.checkpoints import Variant

LAYERS = 2
TOKENS = 40
MAX_DIFFERENCE = 1e-5  # of max|logit|, between the two oracles
VARIANT = Variant(
    "deepseek_v3_mtp_bf16",
    "deepseek_v3",
    sizes(
        40,
        36,
        4,
        4,
        83,
        layers=LAYERS + 1,
        **latent(20, 24, 12, 8, 16),
        **routed(8, 3, 12, 1, 4, 2, 2.5),
        **yarn(1.0),
    ),
    BF16,
    classic=True,
    published={**PUBLISHED_V3, "num_nextn_predict_layers": 1},
)


def add_prediction_layer(folder, rng):
    """Makes the last of the folder's layers the one of multi-token prediction."""
    tensors = checkpoints.read_tensors(folder)
    hidden = VARIANT.config["hidden_size"]
    prefix = f"model.layers.{LAYERS}"

    def random(*shape):
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    for name in ("enorm", "hnorm", "shared_head.norm"):
        tensors[f"{prefix}.{name}.weight"] = (1.0 + 0.3 * random(hidden)).to(BF16)
    # A new final norm too, one whose weights matter: hiddens before and after it shall differ.
    tensors["model.norm.weight"] = (1.0 + 0.5 * random(hidden)).to(BF16)
    eh_proj = VARIANT.weight_std * random(hidden, 2 * hidden)
    tensors[f"{prefix}.eh_proj.weight"] = eh_proj.to(BF16)
    tensors[f"{prefix}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors[f"{prefix}.shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    checkpoints.write_tensors(folder, tensors)
    checkpoints.edit_config(folder, lambda config: {**config, "num_hidden_layers": LAYERS})


def read(folder, dtype=torch.float32):
    """(weights, config) as oracle/deepseek_block.py takes them."""
    config = json.loads((folder / "config.json").read_text())
    tensors = checkpoints.read_tensors(folder)
    weights = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    return weights, deepseek_block.read_config(config)


def logits_of_layer(folder, ids, dtype=torch.float32):
    """The prediction layer's logits as an array (len(ids) - 1, vocab_size)."""
    weights, config = read(folder, dtype)
    hidden = deepseek_block.trunk(ids, weights, config)[1]
    return deepseek_block.predict_after_next(ids, hidden, weights, config).numpy()


def logits_of_layer_by_transformers(model, ids):
    """The same by transformers' draft model."""
    # Where it looks for the layer: 61 is all that the library knows of.
    model._keys_to_ignore_on_load_unexpected = [rf"layers\.{LAYERS}"]
    draft = MtpModel.from_pretrained(model).eval()
    tokens = torch.tensor([ids])
    with torch.no_grad():
        hidden = model(tokens, output_hidden_states=True).hidden_states[-1]
        cache = MtpCache(config=model.config.get_mtp_config())
        positions = torch.arange(1, len(ids))[None]
        last = draft.forward_layer(0, hidden[:, :-1], positions, cache, input_ids=tokens[:, 1:])
        return draft.shared_head(last)[0].numpy()


def check(ours, theirs, what):
    """Both oracles must say the same."""
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"  {what} of both oracles agree to {difference:.1e} of max|logit|")
    if difference > MAX_DIFFERENCE:
        raise SystemExit("that is too much")


def check_trunk(folder, answer):
    """Compares the trunk's logits."""
    weights, config = read(folder)
    hidden = deepseek_block.trunk(answer.ids, weights, config)[1]
    check((hidden @ weights["lm_head.weight"].T).numpy(), answer.logits, "trunks")


def make_layer_golden(folder, model, ids):
    """Writes the layer's golden; returns why it would be a poor one, or None."""
    rows = logits_of_layer(folder, ids)
    noise = np.abs(rows - logits_of_layer(folder, ids, torch.float64)).max() / np.abs(rows).max()
    if noise > goldens.MAX_NOISE:
        return f"float32 noise {noise:.1e} of max|logit| in the prediction layer"
    check(rows, logits_of_layer_by_transformers(model, ids), "prediction layers")
    goldens.write_rows(folder / "mtp.golden.json", ids, rows)
    return None


def make_with_seed(folder, seed):
    """Writes the folder; returns why it would be a poor test, or None."""
    checkpoints.save(checkpoints.build_model(VARIANT, seed), VARIANT, folder)
    rng = np.random.default_rng(seed + 1)
    add_prediction_layer(folder, rng)
    model = checkpoints.load(folder)
    vocab_size = VARIANT.config["vocab_size"]
    ids = prompts(vocab_size, rng)
    answers = [goldens.answer(model, i, with_greedy=len(i) > 1) for i in ids]
    reason = goldens.objection(checkpoints.load(folder, torch.float64), answers)
    if reason is not None:
        return reason
    goldens.write(folder / "golden.json", answers, {"seed": seed})
    check_trunk(folder, answers[2])
    return make_layer_golden(folder, model, rng.integers(0, vocab_size, TOKENS).tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, default=MODELS)
    folder = parser.parse_args().output / VARIANT.name
    for seed in range(200):
        reason = make_with_seed(folder, seed)
        if reason is None:
            size = sum(f.stat().st_size for f in folder.iterdir())
            print(f"{folder.name}: seed {seed}, {size / 1000:.0f} kB")
            return
        print(f"  {folder.name}: seed {seed} passed over: {reason}")
    raise SystemExit(f"{folder.name}: no good seed")


if __name__ == "__main__":
    main()
