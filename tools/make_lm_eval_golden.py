#!/usr/bin/env python3
"""Log-likelihoods by transformers in float32 of what lm-eval asks about the tasks in tests/clients/lm_eval_task.

    pip install torch==2.13.0 transformers==5.24.0 tokenizers safetensors numpy
    python tools/make_lm_eval_golden.py

Writes golden.json there, for each model:

  {"choices": [[[log-likelihood, is greedy], ...] ...],    of each document's choices
   "rolling": [log-likelihood, ...],                       of each text after the end token
   "generate": ["...", ...]}                               greedy continuations, of the embedded model alone

The tiny checkpoints have no tokenizer of their own: tiny_tokenizer.json, written too, has a token for each character
of the documents and fits all of them.
"""

import json
import pathlib

import tokenizers
import torch
from oracle import checkpoints

ROOT = pathlib.Path(__file__).resolve().parent.parent
TASKS = ROOT / "tests/clients/lm_eval_task"
TINY = ("qwen3", "qwen3_moe", "deepseek_v3")
END = "<|end|>"
END_ID = 2  # eos_token_id of the tiny checkpoints
CHARACTERS = "\n !\"'(),-.:?0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
UNTIL, MAX_TOKENS = ("\n", "Question:"), 24  # of sampan_generate.yaml


def documents(name):
    return [json.loads(line) for line in (TASKS / name).read_text().splitlines()]


def make_tiny_tokenizer():
    """Byte-level BPE without merges: a character of ASCII is a token."""
    to_letter = {" ": "Ġ", "\n": "Ċ"}  # as byte-level vocabularies write them
    letters = [to_letter.get(character, character) for character in CHARACTERS]
    letters.insert(END_ID, END)
    model = tokenizers.models.BPE({letter: i for i, letter in enumerate(letters)}, [])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    tokenizer.save(str(TASKS / "tiny_tokenizer.json"))
    return tokenizer


class Scorer:
    """What lm-eval computes from a model and a tokenizer."""

    def __init__(self, model, tokenizer, end):
        self.model, self.tokenizer, self.end = model, tokenizer, end

    def encode(self, text):
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        if self.tokenizer.decode(ids, skip_special_tokens=False) != text:
            raise SystemExit(f"the tokenizer does not give back {text!r}")
        return ids

    def score(self, context, continuation):
        """(log-likelihood of the continuation's ids after the context's, whether each is the likeliest)."""
        with torch.no_grad():
            log_p = self.model(torch.tensor([context + continuation])).logits[0, len(context) - 1 : -1].log_softmax(-1)
        ids = torch.tensor(continuation)
        picked = log_p.gather(1, ids[:, None])
        return picked.double().sum().item(), bool((log_p.argmax(-1) == ids).all())

    def choice(self, context, choice):
        """The choice's ids are what follows the context's in the ids of both together."""
        ids = self.encode(context)
        return self.score(ids, self.encode(context + " " + choice)[len(ids) :])

    def rolling(self, text):
        return self.score([self.end], self.encode(text))[0]

    def generate(self, context):
        ids, new = self.encode(context), []
        while len(new) < MAX_TOKENS:
            with torch.no_grad():
                token = self.model(torch.tensor([ids + new])).logits[0, -1].argmax().item()
            if token == self.end:
                break
            new.append(token)
            text = self.tokenizer.decode(new)
            for stop in UNTIL:
                if stop in text:
                    return text.split(stop)[0]
        return self.tokenizer.decode(new)


def golden_of(scorer, generates):
    questions = [(f"Question: {doc['question']}\nAnswer:", doc["choices"]) for doc in documents("choices.jsonl")]
    golden = {
        "choices": [[scorer.choice(question, choice) for choice in choices] for question, choices in questions],
        "rolling": [scorer.rolling(doc["text"]) for doc in documents("rolling.jsonl")],
    }
    if generates:
        golden["generate"] = [scorer.generate(question) for question, _ in questions]
    return golden


def main():
    nano = ROOT / "models/nano"
    tokenizer = tokenizers.Tokenizer.from_file(str(nano / "tokenizer.json"))
    golden = {"nano": golden_of(Scorer(checkpoints.load(nano), tokenizer, tokenizer.token_to_id("<|im_end|>")), True)}
    tiny = make_tiny_tokenizer()
    for name in TINY:
        golden[name] = golden_of(Scorer(checkpoints.load(ROOT / "tests/data/models" / name), tiny, END_ID), False)
    (TASKS / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
