#!/usr/bin/env python3
"""Renders the chat templates under tests/data/chat_templates with transformers, and random templates with Jinja, and
writes what they give as the goldens of tests/text/chat_template_golden_test.cpp.

Needs transformers >= 5 and jinja2 >= 3.1.6 (no PyTorch):   pip install transformers jinja2
Run from the checkout:                                      python3 tools/make_template_goldens.py

Writes into tests/data/chat_templates:
  conversations.json  name -> the JSON texts of messages, tools and variables
  renderings.json     template -> conversation -> FNV-1a 64 of the rendered bytes, or "error"; and some texts in full
  cases.json          random templates with their variables and what Jinja makes of them (null: an error)

With --driver PROGRAM and --cases N it compares instead: N random templates are also given to PROGRAM, one JSON line
{"template": …, "vars": {…}} each, which answers {"ok": text} or {"error": message, "code": n}; differences are printed.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import random
import re
import subprocess
import warnings

from template_cases import Statements
from template_conversations import CONVERSATIONS

os.environ["TZ"] = "UTC"
warnings.simplefilter("ignore")

import transformers.utils.chat_template_utils as chat_template_utils  # noqa: E402
from transformers.tokenization_utils_base import PreTrainedTokenizerBase  # noqa: E402

DATA = pathlib.Path(__file__).parent.parent / "tests/data/chat_templates"
CLOCK = 1721998805  # 2024-07-26 13:00:05 UTC
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
IN_FULL = ["turns_prompt", "tool_calls_parallel", "reasoned_last", "forged_tokens"]


class FixedDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(CLOCK)


chat_template_utils.datetime = FixedDatetime


def fnv1a(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def apply(template, messages, tools, variables):
    """transformers' own function, on a tokenizer that has nothing but the template and its special tokens."""
    tokenizer = PreTrainedTokenizerBase.__new__(PreTrainedTokenizerBase)
    tokenizer.__dict__.update(
        chat_template=template, _special_tokens_map=dict(SPECIAL_TOKENS), chat_control_tokens=None,
        SPECIAL_TOKENS_ATTRIBUTES=list(SPECIAL_TOKENS),
    )
    return tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, **variables)


def render(template, variables):
    """The rendering of a template in transformers' environment; None for an error."""
    try:
        return chat_template_utils._compile_jinja_template(template).render(**variables)
    except Exception:
        return None


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=0, separators=(",", ":"))
    (DATA / name).write_text(text + "\n", encoding="utf-8")
    print(name, len(text.encode()), "bytes")


def make_renderings():
    conversations = {}
    renderings = {}
    texts = {}
    for name, (messages, tools, variables) in CONVERSATIONS.items():
        conversations[name] = {
            "messages": json.dumps(messages, ensure_ascii=len(name) % 2 == 0),
            "tools": "" if tools is None else json.dumps(tools, ensure_ascii=False),
            "variables": json.dumps(variables) if variables else "",
        }
    for path in sorted(DATA.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        row = renderings[path.name] = {}
        for name, (messages, tools, variables) in CONVERSATIONS.items():
            try:
                text = apply(template, json.loads(json.dumps(messages)), tools, dict(variables))
            except Exception:
                row[name] = "error"
                continue
            row[name] = fnv1a(text.encode())
            if name in IN_FULL:
                texts.setdefault(path.name, {})[name] = text
    outcomes = collections.Counter(value == "error" for row in renderings.values() for value in row.values())
    print(f"{outcomes[False]} renderings, {outcomes[True]} errors")
    write("conversations.json", conversations)
    write("renderings.json", {"hashes": renderings, "texts": texts})


def is_stable(text):
    """Whether a rendering shows no address of an object and no name of a Python class of transformers'."""
    return text is None or not re.search(r"0x[0-9a-f]{6}|generator|object|transformers\.utils|<function|<built-in", text, re.I)


def random_cases(seed, count):
    rng = random.Random(seed)
    maker = Statements(rng)
    for i in range(count):
        variables = maker.environment()
        if i % 3 == 0:
            template = maker.template()
        else:
            template = "{{ " + maker.expression(rng.choice([1, 2, 2, 3])) + " }}"
        used = {name: value for name, value in variables.items() if name in template}
        yield template, used


def make_cases():
    cases = []
    for template, variables in random_cases(20240726, 6000):
        text = render(template, json.loads(json.dumps(variables)))
        size = len(template) + len(json.dumps(variables)) + len(text or "")
        if size > 500 or not is_stable(text) or (text is None and len(cases) % 8 != 0):
            continue
        cases.append({"template": template, "variables": json.dumps(variables, ensure_ascii=False), "text": text})
        if len(cases) == 1000:
            break
    write("cases.json", cases)


def compare(program, seed, count):
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    outcomes = collections.Counter()
    for template, variables in random_cases(seed, count):
        text = render(template, json.loads(json.dumps(variables)))
        if not is_stable(text):
            continue
        line = json.dumps({"template": template, "vars": variables}, ensure_ascii=False)
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        same = answer.get("ok") == text
        if answer.get("code") in (3, 7):  # kUnsupported, kLimit
            outcomes["left out" if text is not None else "error"] += 1
        else:
            outcomes["same" if same and text is not None else "error" if same else "DIFFERENT"] += 1
        if not same and answer.get("code") not in (3, 7):
            print(repr(template), json.dumps(variables, ensure_ascii=False), "\n  jinja:", repr(text), "\n  ours: ", answer)
    print(dict(outcomes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver")
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.driver:
        compare(args.driver, args.seed, args.cases)
    else:
        make_renderings()
        make_cases()


if __name__ == "__main__":
    main()
