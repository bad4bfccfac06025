#!/usr/bin/env python3
"""Makes tests/data/models/*.gguf from the checkpoints of make_tiny_models.py, and ggufs.json.

    pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0 safetensors numpy
    python tools/make_tiny_ggufs.py            (after make_tiny_models.py)

ggufs.json lists {"file", "golden", "checkpoint", "matrices"}: a file whose weights equal its
checkpoint's to the bit has the checkpoint's golden, the others have one of their own, computed by
transformers from the weights that the gguf package dequantises. Some files come from checkpoints
that are not kept (null): quantised ones, one with random blocks of every type, and mixtures of
experts of the shapes that GGUF can say (the two arrangements of latent attention among them, with
the metadata of their time). For block types "rounded_golden" has the logits of the short prompts
when activations are rounded to 8 bits as well (oracle/activations.py), which an engine that does so
meets far more closely.
"""

import argparse
import pathlib
import tempfile

import numpy as np
import torch

from make_tiny_models import LLAMA3, MODELS, prompts, rope, sizes
from make_tiny_moe_models import KIMI_YARN, experts, latent, routed, yarn
from oracle import activations, blocks, checkpoints, gguf_export, gguf_tokenizers, goldens
from oracle.checkpoints import Variant
from oracle.gguf_layouts import LatentLayout

# (file, checkpoint, type of the matrices, further arguments of convert)
CONVERSIONS = [
    ("llama_f32", "llama", "F32", {"tokenizer": "llama-bpe"}),
    ("llama3_rope_f16", "llama3_rope_bf16", "F16", {}),
    ("llama_linear_f32", "llama_linear", "F32", {}),
    ("qwen2_f32", "qwen2", "F32", {"tokenizer": "qwen2"}),
    ("qwen2_untied_bf16", "qwen2_untied_bf16", "BF16", {}),
    ("qwen3_f32", "qwen3", "F32", {}),
    ("qwen3_yarn_bf16", "qwen3_yarn_bf16", "BF16", {}),
    ("seed_oss_f32", "seed_oss", "F32", {}),
    ("deepseek2_mtp_bf16", "deepseek_v3_mtp_bf16", "BF16", {"latent": LatentLayout()}),
    ("qwen3_split_f16", "qwen3_untied_f16", "F16", {"shards": 2, "tokenizer": "qwen2"}),
]

# fmt: off
QUANTISED = [
    ("llama_q8_0", "Q8_0",
     Variant("llama_q8_0", "llama",
             sizes(256, 64, 4, 2, 97, head_dim=16, tie_word_embeddings=True, **LLAMA3),
             weight_std=0.12)),
    ("qwen3_q4_0", "Q4_0",
     Variant("qwen3_q4_0", "qwen3", sizes(256, 96, 4, 1, 107, head_dim=24, **rope(theta=1e6)),
             weight_std=0.12)),
    ("qwen3_all_types", None,
     Variant("qwen3_all_types", "qwen3", sizes(256, 64, 4, 2, 101, layers=3, head_dim=16, **rope()),
             weight_std=0.12)),
]

LEGACY = LatentLayout(split=False, new_keys=False)
FLAT = LatentLayout(flat=True, keep_kv_b=True, new_keys=False)

# (file, type of the matrices, variant, layout of latent attention)
MIXTURES = [
    ("qwen2moe_bf16", "BF16",
     Variant("qwen2moe_bf16", "qwen2_moe",
             sizes(40, 36, 4, 2, 85, shared_expert_intermediate_size=28, **experts(8, 2, 16),
                   **rope(theta=1e6))), None),
    ("qwen3moe_f16", "F16",
     Variant("qwen3moe_f16", "qwen3_moe",
             sizes(40, 32, 4, 2, 87, head_dim=12, tie_word_embeddings=True,
                   **experts(8, 3, 12, norm_topk_prob=True), **rope(theta=1e6))), None),
    ("deepseek2_lite_legacy_f32", "F32",
     Variant("deepseek2_lite_legacy_f32", "deepseek_v2",
             sizes(32, 36, 4, 4, 75, topk_method="greedy", **latent(None, 20, 8, 8, 12),
                   **routed(8, 3, 10, 2), **yarn(0.707))), LEGACY),
    ("deepseek2_groups_bf16", "BF16",
     Variant("deepseek2_groups_bf16", "deepseek_v2",
             sizes(40, 36, 4, 4, 81, topk_method="group_limited_greedy",
                   **latent(24, 20, 12, 8, 16), **routed(8, 2, 16, 2, 4, 2, 4.0), **rope())),
     LatentLayout()),
    ("deepseek2_v3_bf16", "BF16",
     Variant("deepseek2_v3_bf16", "deepseek_v3",
             sizes(40, 36, 4, 4, 83, layers=3, **latent(24, 20, 12, 8, 16),
                   **routed(8, 3, 16, 1, 4, 2, 2.5), **yarn(1.0))), LatentLayout()),
    ("deepseek2_kimi_flat_f16", "F16",
     Variant("deepseek2_kimi_flat_f16", "deepseek_v3",
             sizes(40, 36, 4, 4, 89, rms_norm_eps=1e-5, **latent(24, 20, 12, 8, 16),
                   **routed(8, 3, 16, 1, scale=2.827), **KIMI_YARN)), FLAT),
    ("qwen3moe_q4_0", "Q4_0",
     Variant("qwen3moe_q4_0", "qwen3_moe",
             sizes(64, 32, 4, 2, 93, head_dim=16, **experts(8, 2, 32, norm_topk_prob=True),
                   **rope(theta=1e6)), weight_std=0.2), None),
    ("deepseek2_q8_0", "Q8_0",
     Variant("deepseek2_q8_0", "deepseek_v3",
             sizes(64, 96, 2, 2, 95, **latent(32, 64, 32, 32, 32), **routed(8, 2, 32, 1, 4, 2, 2.5),
                   **yarn(1.0)), weight_std=0.2), LatentLayout()),
    ("deepseek2_legacy_q4_0", "Q4_0",
     Variant("deepseek2_legacy_q4_0", "deepseek_v2",
             sizes(64, 96, 2, 2, 91, topk_method="greedy", **latent(None, 64, 32, 32, 32),
                   **routed(8, 3, 32, 2), **yarn(0.707)), weight_std=0.2), LEGACY),
]
# fmt: on
FLOATS = ("F32", "F16", "BF16")


def random_block_chooser(seed):
    """Gives each matrix random blocks; the types take turns, as far as the row length allows."""
    rng = np.random.default_rng(seed)
    large = [t for t in blocks.TYPES if blocks.block_size(t)[0] == 256]
    small = [t for t in blocks.TYPES if blocks.block_size(t)[0] == 32]
    turns = {256: 0, 32: 0}

    def choose(name, values):
        rows, columns = values.shape
        kinds = large if columns % 256 == 0 else small
        size = 256 if kinds is large else 32
        type_name = kinds[turns[size] % len(kinds)]
        turns[size] += 1
        return blocks.random_weights(type_name, rows, columns, 0.12, rng), blocks.qtype(type_name)

    return choose


def golden_of_gguf(folder, path, golden_path, prompt_ids, layout=None):
    """Writes a golden for the GGUF's own weights; returns why it would be a poor one, or None."""
    model = checkpoints.load(folder)
    gguf_export.put_weights_of_gguf(model, folder, path, layout)
    answers = [goldens.answer(model, i, with_greedy=len(i) > 1) for i in prompt_ids]
    model64 = checkpoints.load(folder, torch.float64)
    gguf_export.put_weights_of_gguf(model64, folder, path, layout)
    reason = goldens.objection(model64, answers)
    if reason is None:
        goldens.write(golden_path, answers, {"weights": "dequantised by the gguf package"})
    return reason


def rounded_model(folder, path, layout=None):
    """The oracle of a GGUF file with activations of 8 bits."""
    model = checkpoints.load(folder)
    gguf_export.put_weights_of_gguf(model, folder, path, layout)
    export = gguf_export.Export(folder, layout or LatentLayout())
    activations.round_inputs(model, activations.blocks_of_gguf(export, path))
    return model


def golden_of_rounded_activations(model, golden_path, prompt_ids):
    """Writes the logits of short prompts by an oracle whose activations have 8 bits."""
    answers = [goldens.answer(model, i, with_greedy=False) for i in prompt_ids if len(i) < 12]
    goldens.write(golden_path, answers, {"activations": "8 bits in blocks, oracle/activations.py"})


def stored_prompts(golden_path):
    """The prompts of a golden."""
    return [p["ids"] for p in goldens.read(golden_path)["prompts"]]


def entry(path, golden, checkpoint, matrices):
    """One line of ggufs.json."""
    file = gguf_export.parts(path)[0].name
    return {"file": file, "golden": golden, "checkpoint": checkpoint, "matrices": matrices}


def convert_checkpoint(output, name, checkpoint, matrix_type, options):
    """One of CONVERSIONS."""
    folder, path = output / checkpoint, output / f"{name}.gguf"
    options = dict(options)
    if pre := options.pop("tokenizer", None):
        vocab_size = checkpoints.load(folder).config.vocab_size
        options["tokenizer"] = lambda w: gguf_tokenizers.add_dummy_tokenizer(w, vocab_size, pre)
    gguf_export.convert(folder, path, matrix_type, **options)
    if gguf_export.put_weights_of_gguf(checkpoints.load(folder), folder, path):
        return entry(path, f"{checkpoint}/golden.json", checkpoint, matrix_type)
    golden = output / f"{name}.golden.json"
    reason = golden_of_gguf(folder, path, golden, stored_prompts(folder / "golden.json"))
    if reason is not None:
        raise SystemExit(f"{name}: {reason}")
    return entry(path, golden.name, checkpoint, matrix_type)


def convert_quantised(output, name, matrix_type, variant, folder):
    """One of QUANTISED; tries seeds until the golden is a good test."""
    path, golden = output / f"{name}.gguf", output / f"{name}.golden.json"
    for seed in range(200):
        checkpoints.save(checkpoints.build_model(variant, seed), variant, folder)
        choose = random_block_chooser(seed) if matrix_type is None else None
        gguf_export.convert(folder, path, matrix_type or "mixed", choose=choose)
        ids = prompts(variant.config["vocab_size"], np.random.default_rng(seed))
        reason = golden_of_gguf(folder, path, golden, ids)
        if reason is None:
            rounded = output / f"{name}.rounded.golden.json"
            golden_of_rounded_activations(rounded_model(folder, path), rounded, ids)
            listed = entry(path, golden.name, None, matrix_type or "mixed")
            return listed | {"rounded_golden": rounded.name}
        print(f"  {name}: seed {seed} passed over: {reason}")
    raise SystemExit(f"{name}: no good seed")


def convert_mixture(output, name, matrix_type, variant, layout, folder):
    """One of MIXTURES; tries seeds until the golden is a good test."""
    path, golden = output / f"{name}.gguf", output / f"{name}.golden.json"
    for seed in range(200):
        checkpoints.save(checkpoints.build_model(variant, seed), variant, folder)
        gguf_export.convert(folder, path, matrix_type, latent=layout)
        ids = prompts(variant.config["vocab_size"], np.random.default_rng(seed))
        reason = golden_of_gguf(folder, path, golden, ids, layout)
        listed = entry(path, golden.name, None, matrix_type)
        if reason is None and matrix_type not in FLOATS:
            rounded = rounded_model(folder, path, layout)
            reason = goldens.objection_to_rounding(goldens.read_logits(golden), rounded, ids)
            listed["rounded_golden"] = f"{name}.rounded.golden.json"
        if reason is None:
            if matrix_type not in FLOATS:
                golden_of_rounded_activations(rounded, output / listed["rounded_golden"], ids)
            return listed
        print(f"  {name}: seed {seed} passed over: {reason}")
    raise SystemExit(f"{name}: no good seed")


def make_mixtures(output, only=None):
    """All of MIXTURES, or the one of this name: their entries of ggufs.json."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = [m for m in MIXTURES if only in (None, m[0])]
        return [convert_mixture(output, *m, pathlib.Path(folder) / "m") for m in chosen]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, default=MODELS)
    output = parser.parse_args().output
    for old in [*output.glob("*.gguf"), *output.glob("*.golden.*")]:
        old.unlink()
    entries = [convert_checkpoint(output, *c) for c in CONVERSIONS]
    with tempfile.TemporaryDirectory() as folder:
        entries += [convert_quantised(output, *q, pathlib.Path(folder) / "m") for q in QUANTISED]
    entries += make_mixtures(output)
    gguf_export.write_index(output / "ggufs.json", entries)
    for e in entries:
        print(e["file"], "->", e["golden"])


if __name__ == "__main__":
    main()
