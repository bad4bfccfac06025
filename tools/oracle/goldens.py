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

from oracle import routing

GREEDY_TOKENS = 64
MIN_GAP = 1e-3  # of max|logit|: a smaller lead of the best token would test rounding, not the model
MIN_DISTINCT = 12
MAX_NOISE = 2e-5  # of max|logit|: float32 against float64
MAX_ROUNDING = 0.07  # of the logits' root mean square: what 8-bit activations may change
MIN_ROUTING_ROUNDED = 0.01
MIN_ROUTING = 1e-4  # of the router scores' deviation: a smaller lead of an expert tests rounding


@dataclasses.dataclass
class Answer:
    """What the oracle says about one prompt."""

    ids: list
    logits: np.ndarray  # (len(ids), vocab_size)
    greedy: list | None = None
    greedy_recomputed: list | None = None
    min_gap: float = float("inf")  # smallest lead of the best token along the greedy paths
    min_routing: float = float("inf")  # smallest lead of a chosen expert, see oracle/routing.py


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
    with routing.watched(model) as margin:
        result = Answer(ids=list(ids), logits=logits(model, ids))
        if with_greedy:
            result.greedy, result.min_gap = greedy(model, ids)
            if with_recomputed and _is_dynamic(model):
                result.greedy_recomputed, gap = greedy_recomputed(model, ids)
                result.min_gap = min(result.min_gap, gap)
    result.min_routing = margin.smallest
    return result


class HalfPrecisionCache(transformers.DynamicCache):
    """A key-value (or latent) cache that rounds what it keeps to float16, as engines may."""

    def update(self, key_states, value_states, *args, **kwargs):
        halves = [x.to(torch.float16).to(x.dtype) for x in (key_states, value_states)]
        return super().update(*halves, *args, **kwargs)


def _survives_half_precision(model, answer):
    """Whether the greedy continuation is the same with a cache of float16."""
    if _is_dynamic(model):  # one pass has one rope base, the continuation had several
        return True
    ids = answer.ids + answer.greedy[:-1]
    with torch.no_grad():
        rows = model(torch.tensor([ids]), cache=HalfPrecisionCache(config=model.config)).logits[0]
    return rows[len(answer.ids) - 1 :].argmax(-1).tolist() == answer.greedy


def objection(model64, answers, min_distinct=MIN_DISTINCT, min_routing=MIN_ROUTING):
    """Why these answers make a poor test, or None."""
    scale = max(np.abs(a.logits).max() for a in answers)
    for a in answers:
        if a.min_routing < min_routing:
            return f"an expert leads by {a.min_routing:.1e} of its router's deviation"
        if a.min_gap < MIN_GAP * scale:
            return f"smallest lead {a.min_gap / scale:.1e} of max|logit|"
        if a.greedy and len(set(a.greedy)) < min_distinct:
            return f"only {len(set(a.greedy))} different tokens in {len(a.greedy)}"
    for a in answers:
        noise = np.abs(logits(model64, a.ids) - a.logits).max() / scale
        if noise > MAX_NOISE:
            return f"float32 noise {noise:.1e} of max|logit|"
    has_experts = any(a.min_routing < float("inf") for a in answers)
    if has_experts and not all(_survives_half_precision(model64, a) for a in answers if a.greedy):
        return "greedy ids differ with a float16 cache"
    return None


def objection_to_rounding(exact, rounded_model, prompt_ids):
    """Why an engine that rounds activations would meet these answers poorly, or None.

    `exact` are the stored logits of the prompts by the model without rounding.
    """
    for ids, expected in zip(prompt_ids, exact, strict=True):
        with routing.watched(rounded_model) as margin:
            rows = logits(rounded_model, ids)[_rows_to_store(len(ids))]
        if len(ids) < 12 and margin.smallest < MIN_ROUTING_ROUNDED:
            return f"an expert leads by {margin.smallest:.1e} where activations are rounded"
        error = float(np.sqrt(np.mean((rows - expected) ** 2) / np.mean(expected**2)))
        if error > MAX_ROUNDING:
            return f"rounded activations change the logits by {error:.2f} of their size"
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


def write_rows(path, ids, rows, notes=None):
    """Writes a golden of one prompt with the given logits rows, of its first positions."""
    path = pathlib.Path(path)
    path.with_suffix(".f32").write_bytes(rows.astype("<f4").tobytes())
    golden = {
        "vocab_size": int(rows.shape[1]),
        "max_abs_logit": float(np.abs(rows).max()),
        "logits_file": path.with_suffix(".f32").name,
        "made_with": {"torch": torch.__version__},
        **(notes or {}),
        "prompts": [{"ids": list(ids), "rows": list(range(len(rows))), "first_row": 0}],
    }
    path.write_text(_compact_json(golden) + "\n")


def read(path):
    """The JSON part of a golden."""
    return json.loads(pathlib.Path(path).read_text())


def read_logits(path):
    """The stored logits of a golden, an array (rows, vocab_size) a prompt."""
    path, golden = pathlib.Path(path), read(path)
    rows = np.frombuffer((path.parent / golden["logits_file"]).read_bytes(), "<f4")
    rows = rows.reshape(-1, golden["vocab_size"])
    return [rows[p["first_row"] :][: len(p["rows"])] for p in golden["prompts"]]


def _compact_json(golden):
    """JSON with one line a key, and one line a prompt's list."""
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items() if k != "prompts"]
    prompts = []
    for prompt in golden["prompts"]:
        fields = [f"   {json.dumps(k)}: {json.dumps(v)}" for k, v in prompt.items()]
        prompts.append("  {\n" + ",\n".join(fields) + "\n  }")
    lines.append(' "prompts": [\n' + ",\n".join(prompts) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}"
