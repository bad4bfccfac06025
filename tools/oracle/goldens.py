"""Reference answers for a checkpoint: logits and greedy continuations, written beside it.

golden.json lists the prompts; golden.f32 holds their logits rows one after the other, little-endian
float32, `vocab_size` values a row:

  {"vocab_size": V, "max_abs_logit": m, "logits_file": "golden.f32", "made_with": {...},
   "prompts": [{"ids": [...],          token ids of the prompt
                "rows": [...],         positions whose logits are stored
                "first_row": n,        where they start in the logits file, in rows
                "greedy": [...]}]}     64 new ids, EOS or not (absent for one-token prompts)

Models with dynamic NTK scaling also have "greedy_recomputed": each token from one whole pass, where
"greedy", as transformers' generate() gives it, caches keys with the rope base of their own time.
"""

import dataclasses
import json
import pathlib

import numpy as np
import torch
import transformers

GREEDY_TOKENS = 64
MIN_GAP = 1e-3  # of max|logit|: a smaller lead of the best token would test rounding, not the model
MIN_DISTINCT = 12
MAX_NOISE = 2e-5  # of max|logit|: float32 against float64


@dataclasses.dataclass
class Answer:
    """What the oracle says about one prompt."""

    ids: list
    logits: np.ndarray  # (len(ids), vocab_size)
    greedy: list | None = None
    greedy_recomputed: list | None = None
    min_gap: float = float("inf")  # smallest lead of the best token along the greedy paths


def _is_dynamic(model):
    return model.config.rope_parameters.get("rope_type") == "dynamic"


def _reset_dynamic_rope(model):
    """Dynamic NTK remembers the longest pass it saw; each prompt shall start afresh."""
    rotary = model.model.rotary_emb
    if hasattr(rotary, "original_inv_freq"):
        rotary.inv_freq = rotary.original_inv_freq.clone()
        rotary.max_seq_len_cached = rotary.original_max_seq_len


def logits(model, ids):
    """Logits of every position in one pass, as a float array (len(ids), vocab_size)."""
    _reset_dynamic_rope(model)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def _lead(row):
    best, second = np.sort(row)[::-1][:2]
    return float(best - second)


def greedy(model, ids, count=GREEDY_TOKENS):
    """Greedy continuation with the key-value cache: (new ids, smallest lead)."""
    _reset_dynamic_rope(model)
    prompt = torch.tensor([ids])
    output = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=count,
        output_logits=True,
        return_dict_in_generate=True,
    )
    new_ids = output.sequences[0, len(ids) :].tolist()
    assert len(new_ids) == count, f"{len(new_ids)} new tokens, {count} wanted"
    return new_ids, min(_lead(row[0].numpy()) for row in output.logits)


def greedy_recomputed(model, ids, count=GREEDY_TOKENS):
    """Greedy continuation, each token from one whole pass: (new ids, smallest lead)."""
    ids, new_ids, gap = list(ids), [], float("inf")
    for _ in range(count):
        row = logits(model, ids + new_ids)[-1]
        new_ids.append(int(row.argmax()))
        gap = min(gap, _lead(row))
    return new_ids, gap


def answer(model, ids, with_greedy=True, with_recomputed=True):
    """Asks the oracle about one prompt."""
    result = Answer(ids=list(ids), logits=logits(model, ids))
    if with_greedy:
        result.greedy, result.min_gap = greedy(model, ids)
        if with_recomputed and _is_dynamic(model):
            result.greedy_recomputed, gap = greedy_recomputed(model, ids)
            result.min_gap = min(result.min_gap, gap)
    return result


def objection(model64, answers, min_distinct=MIN_DISTINCT):
    """Why these answers make a poor test, or None."""
    scale = max(np.abs(a.logits).max() for a in answers)
    for a in answers:
        if a.min_gap < MIN_GAP * scale:
            return f"smallest lead {a.min_gap / scale:.1e} of max|logit|"
        if a.greedy and len(set(a.greedy)) < min_distinct:
            return f"only {len(set(a.greedy))} different tokens in {len(a.greedy)}"
    for a in answers:
        noise = np.abs(logits(model64, a.ids) - a.logits).max() / scale
        if noise > MAX_NOISE:
            return f"float32 noise {noise:.1e} of max|logit|"
    return None


def _rows_to_store(length):
    """All positions of short prompts; of long ones twelve, the first and the last included."""
    if length <= 12:
        return list(range(length))
    return sorted({round(i * (length - 1) / 11) for i in range(12)})


def write(path, answers, notes=None):
    """Writes `path` (….json) and the logits file beside it (….f32)."""
    path = pathlib.Path(path)
    logits_path = path.with_suffix(".f32")
    prompts, stored, first_row = [], [], 0
    for a in answers:
        rows = _rows_to_store(len(a.ids))
        prompt = {"ids": a.ids, "rows": rows, "first_row": first_row}
        for key in ("greedy", "greedy_recomputed"):
            if getattr(a, key) is not None:
                prompt[key] = getattr(a, key)
        prompts.append(prompt)
        stored.append(a.logits[rows].astype("<f4"))
        first_row += len(rows)
    stored = np.concatenate(stored)
    logits_path.write_bytes(stored.tobytes())
    golden = {
        "vocab_size": int(stored.shape[1]),
        "max_abs_logit": float(max(np.abs(a.logits).max() for a in answers)),
        "logits_file": logits_path.name,
        "made_with": {"torch": torch.__version__, "transformers": transformers.__version__},
        **(notes or {}),
        "prompts": prompts,
    }
    path.write_text(_compact_json(golden) + "\n")


def read(path):
    """The JSON part of a golden."""
    return json.loads(pathlib.Path(path).read_text())


def _compact_json(golden):
    """JSON with one line a key, and one line a prompt's list."""
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items() if k != "prompts"]
    prompts = []
    for prompt in golden["prompts"]:
        fields = [f"   {json.dumps(k)}: {json.dumps(v)}" for k, v in prompt.items()]
        prompts.append("  {\n" + ",\n".join(fields) + "\n  }")
    lines.append(' "prompts": [\n' + ",\n".join(prompts) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}"
