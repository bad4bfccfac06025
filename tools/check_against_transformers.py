#!/usr/bin/env python3
"""Compares a sampan binary with transformers on new tiny random checkpoints, one a seed.

    pip install torch==2.13.0 transformers==5.24.0 gguf==0.19.0 safetensors numpy
    python tools/check_against_transformers.py build/release/apps/sampan/sampan /tmp/check

Each seed draws a family, sizes, stored type, rope scaling, biases, windows, routing and the style
of the config (oracle/draws.py), and asks both for the logits of 1, 7 and 300 tokens and for greedy
continuations of 64 tokens, from the checkpoint and, where GGUF can say the model, from its
conversion by the gguf package. Logits may differ by 2e-4 of max|logit|, the ids not at all. Exit
code 1 when anything differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import torch

from oracle import checkpoints, draws, gguf_export, goldens

BOUND = 2e-4
TRIES = 25  # seeds of the weights per checkpoint, until no greedy step or routing is a near tie


def make_case(variant, folder, seed):
    """Writes the checkpoint; returns the oracle's answers, or None if every seed has a near tie."""
    for attempt in range(TRIES):
        checkpoints.save(checkpoints.build_model(variant, [seed, attempt]), variant, folder)
        model = checkpoints.load(folder)
        rng = np.random.default_rng([seed, attempt, 1])
        ids = [rng.integers(0, variant.config["vocab_size"], n).tolist() for n in (1, 7, 300)]
        answers = [goldens.answer(model, i, len(i) > 1, with_recomputed=False) for i in ids]
        model64 = checkpoints.load(folder, torch.float64)
        if goldens.objection(model64, answers, min_distinct=1) is None:
            return answers
    return None


class Sampan:
    """The program under test."""

    def __init__(self, binary, folder, extra):
        self._binary, self._folder, self._extra = str(binary), folder, extra

    def _run(self, *arguments):
        command = [self._binary, *arguments, *self._extra]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def logits(self, model, ids):
        """Logits of every position (tokens, vocabulary)."""
        output = self._folder / "logits.f32"
        output.unlink(missing_ok=True)
        self._run("logits", str(model), "--ids", ",".join(map(str, ids)), "--output", str(output))
        return np.fromfile(output, dtype="<f4").reshape(len(ids), -1)

    def greedy(self, model, ids):
        """The 64 new ids."""
        options = ["--max-tokens", str(goldens.GREEDY_TOKENS), "--greedy", "--ignore-eos", "--json"]
        text = self._run("generate", str(model), "--ids", ",".join(map(str, ids)), *options)
        return json.loads(text)["ids"]


def greedy_complaint(new, answer):
    """Where a continuation leaves the oracle's."""
    pairs = zip(new, answer.greedy, strict=False)
    same = next((i for i, (x, y) in enumerate(pairs) if x != y), len(new))
    return f"greedy differs from token {same}"


def compare(sampan, model, answers):
    """(largest difference as a share of max|logit|, list of complaints)."""
    scale = max(np.abs(a.logits).max() for a in answers)
    worst, complaints = 0.0, []
    for a in answers:
        try:
            ours = sampan.logits(model, a.ids)
            if ours.shape != a.logits.shape:
                complaints.append(f"{len(a.ids)} ids: logits {ours.shape}, not {a.logits.shape}")
                continue
            worst = max(worst, float(np.abs(ours - a.logits).max() / scale))
            if a.greedy is not None:
                new = sampan.greedy(model, a.ids)
                if new != a.greedy:
                    complaints.append(f"{len(a.ids)} ids: {greedy_complaint(new, a)}")
        except (RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            complaints.append(f"{len(a.ids)} ids: {error}")
    if not worst <= BOUND:
        complaints.append(f"logits differ by {worst:.1e}")
    return worst, complaints


def describe(variant, dtype):
    """A short line about a checkpoint."""
    c = variant.config
    flags = [k for k in ("attention_bias", "mlp_bias", "attention_out_bias") if c.get(k)]
    flags += [draws.describe_experts(c)] if "num_experts_per_tok" in c else []
    flags += ["fused"] if variant.fused_experts else []
    flags += ["tied"] if c["tie_word_embeddings"] else []
    flags += [f"window {c['sliding_window']}"] if c.get("use_sliding_window") else []
    flags += ["sharded"] if variant.max_shard_size else []
    heads = f"{c['num_attention_heads']}/{c['num_key_value_heads']}"
    head_dim = c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
    if "kv_lora_rank" in c:
        head_dim = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
        flags += [f"q{c['q_lora_rank']} kv{c['kv_lora_rank']} v{c['v_head_dim']}"]
    return (
        f"{variant.model_type:11} {dtype:4} L{c['num_hidden_layers']} H{c['hidden_size']:<3} "
        f"{heads:>5}x{head_dim:<2} {c['rope_parameters']['rope_type']:7} {' '.join(flags)}"
    )


def check_seed(seed, args, sampan):
    """Checks one seed; returns whether all was well."""
    variant, dtype = draws.draw_variant(seed, args.families)
    folder = args.folder / variant.name
    answers = make_case(variant, folder, seed)
    if answers is None:
        print(f"{seed:5} skipped: near ties in all {TRIES} tries; {describe(variant, dtype)}")
        return True
    forms = {"safetensors": folder}
    layout = draws.draw_latent_layout(seed)
    if draws.has_gguf_form(variant, layout):
        path = args.folder / f"{variant.name}.gguf"
        # Half-precision GGUF can't hold every BF16 value; float32 and BF16 hold theirs.
        gguf_export.convert(folder, path, "F32" if dtype == "F16" else dtype, latent=layout)
        forms["gguf"] = path
    well = True
    for form, model in forms.items():
        worst, complaints = compare(sampan, model, answers)
        verdict = "ok" if not complaints else "BAD"
        print(f"{seed:5} {verdict:3} {worst:8.1e} {form:11} {describe(variant, dtype)}", flush=True)
        for complaint in complaints:
            print(f"          {complaint}")
        well = well and not complaints
    return well


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path, help="where checkpoints may be written")
    parser.add_argument("--seeds", default="0:40", help="FIRST:END")
    parser.add_argument(
        "--families", default=",".join(checkpoints.CONFIGS), type=lambda s: s.split(",")
    )
    parser.add_argument(
        "--argument",
        action="append",
        default=[],
        help="passed to every sampan call, as --argument=--threads=1",
    )
    return parser.parse_args()


def main():
    args = parse_arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    sampan = Sampan(args.binary, args.folder, args.argument)
    first, end = map(int, args.seeds.split(":"))
    bad = [seed for seed in range(first, end) if not check_seed(seed, args, sampan)]
    print(f"{end - first - len(bad)} of {end - first} seeds agree; bad: {bad or None}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
