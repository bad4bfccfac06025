"""Tokenizers in GGUF metadata: a stand-in for random models, a real byte-level BPE. Needs gguf."""

import json
import pathlib

import gguf


def _byte_alphabet():
    """GPT-2's printable character of each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b if b in plain else next(others)) for b in range(256)]


def add_dummy_tokenizer(writer, vocab_size, pre="qwen2"):
    """A byte-level BPE of bytes (as many as fit), one merged token, unused names and an end."""
    tokens = _byte_alphabet()[: vocab_size - 2] + ["!!"]
    types = [gguf.TokenType.NORMAL] * len(tokens)
    fillers = vocab_size - 1 - len(tokens)
    tokens += [f"[unused{i}]" for i in range(fillers)] + ["<|endoftext|>"]
    types += [gguf.TokenType.UNUSED] * fillers + [gguf.TokenType.CONTROL]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(["! !"])
    writer.add_bos_token_id(vocab_size - 1)
    writer.add_eos_token_id(vocab_size - 1)
    writer.add_add_bos_token(False)


def _merge_lines(merges):
    """Merges as "a b", whichever way tokenizer.json writes them."""
    return [m if isinstance(m, str) else " ".join(m) for m in merges]


def add_tokenizer(writer, folder, vocab_size, pre="qwen2"):
    """The byte-level BPE and chat template of a checkpoint folder, padded to `vocab_size`."""
    folder = pathlib.Path(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    tokens = [f"[PAD{i}]" for i in range(vocab_size)]
    types = [gguf.TokenType.UNUSED] * vocab_size
    for text, number in tokenizer["model"]["vocab"].items():
        tokens[number], types[number] = text, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], kind
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(_merge_lines(tokenizer["model"]["merges"]))
    if isinstance(config.get("bos_token_id"), int):
        writer.add_bos_token_id(config["bos_token_id"])
    eos = config.get("eos_token_id")
    if eos is not None:
        writer.add_eos_token_id(eos if isinstance(eos, int) else eos[0])
    writer.add_add_bos_token(False)
    template = folder / "chat_template.jinja"
    if template.exists():
        writer.add_chat_template(template.read_text())
