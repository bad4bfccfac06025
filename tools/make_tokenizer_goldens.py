#!/usr/bin/env python3
"""Compares Sampan's tokenizers with Hugging Face `tokenizers` and tiktoken, and makes the committed goldens.

  make_tokenizer_goldens.py compare --data DIR --work DIR --program "sampan" [--count 20000] [--families a,b]
      For every family with real vocabularies under --data (the layout is in real_families() below), --count strings
      (natural text in many scripts, code, emoji, combining marks, unassigned code points, long runs, special-token
      text) go through the reference and through `PROGRAM tokenize FOLDER --lines FILE`, with special tokens parsed and
      as plain text (--no-special). Prints mismatches a family; exit status 1 if there are any. Texts of other sources
      may be added with --texts FILE.jsonl (one JSON string a line).
  make_tokenizer_goldens.py golden
      Rewrites tests/data/tokenizers/: for each family a small tokenizer trained here (1,000 merges, the family's
      pre-tokenizer, normalizer and added-token flags) with the reference's ids of the strings in texts.jsonl, and the
      ids of models/nano's tokenizer. ids.txt has a line a string: ids, and behind "|" those with special tokens as
      plain text where they differ.
  make_tokenizer_goldens.py time --program build/.../tokenizer_bench [--rounds 5] --folder MODEL [--folder ...] FILE...
      Encoding speed of Sampan (bench/text/tokenizer_bench.cpp) beside the reference's (Hugging Face `tokenizers` for a
      folder with tokenizer.json, tiktoken for one with tiktoken.model) on the same text files, as a Markdown table: MB a
      second of one thread's processor time, the best of three passes, the median of the rounds; the two take turns.
      Ratios are of the same round: the median, the lowest and the highest.

Needs: pip install tokenizers==0.23.* tiktoken==0.14.* zstandard gguf
"""
import argparse
import base64
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import tiktoken
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/data/tokenizers"

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + TAIL)
SEED = (CONTRACTIONS + "|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|" +
        "\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+{CONTRACTIONS}?|"
         rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*{CONTRACTIONS}?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL)
NO_HAN = r"&&[^\p{Han}]"
KIMI = (rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{NO_HAN}]*[{LOWER}{NO_HAN}]+{CONTRACTIONS}?|"
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{NO_HAN}]+[{LOWER}{NO_HAN}]*{CONTRACTIONS}?|"
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL)
DEEPSEEK3 = ["\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
             "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
             " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_LETTERS = (
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7d"
    "ᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿ"
    "ﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+")
DEEPSEEK_LLM = ["[\r\n]", DEEPSEEK_LETTERS, "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", "\\s+$", CJK]
DEEPSEEK_CODER = ["[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK]


def splits(patterns, digits=False):
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


# family: (pre-tokenizer, NFC, ignore_merges)
FAMILIES = {
    "gpt-2": (pre_tokenizers.ByteLevel(add_prefix_space=False), False, False),
    "llama-bpe": (splits([LLAMA3]), False, True),
    "qwen2": (splits([QWEN2]), True, False),
    "qwen35": (splits([QWEN35]), True, False),
    "llama4": (splits([O200K]), False, True),
    "seed-coder": (splits([SEED]), False, False),
    "deepseek-v3": (splits(DEEPSEEK3), False, False),
    "deepseek-llm": (splits(DEEPSEEK_LLM, digits=True), False, False),
    "deepseek-coder": (splits(DEEPSEEK_CODER, digits=True), False, False),
    "kimi-k2": (splits([KIMI]), False, True),
    # Not a published family: an unknown pattern (run by PCRE2) and the other behaviours of Split and Punctuation.
    "generic": (pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"(?:\r?\n)+(?!\r?\n)"), "merged_with_next"),
        pre_tokenizers.Split("-", "merged_with_previous"),
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Split(Regex(r"\p{Lu}?\p{Ll}+|\p{Han}|(?<=\p{Nd})\p{Nd}{2}"), "isolated"),
        pre_tokenizers.Split(Regex(r"\s{3,}"), "removed"),
        pre_tokenizers.Split(Regex(r"[^\s]+"), "contiguous", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=True)]), True, False),
}

# Written for these tests; one or two sentences a script.
SENTENCES = """\
The quick brown fox can't jump over 13 lazy dogs, so it's sleeping.  We'll see what they've got; I'M SURE YOU'RE RIGHT!
Größere Übungen im Straßenverkehr kosten 1.234,56 € und dauern länger, als man glaubt.
Où est passé l'été ? Ça n'a pas d'importance : l'œuvre naïve du garçon coûte 3½ francs.
Γρήγορα τρέχει η αλεπού στο δάσος· πού πάει άραγε;
Быстрая лиса прыгает через ленивую собаку, но ёжик не спешит. Це їжак і ґанок.
السلام عليكم ورحمة الله، كيف حالك اليوم؟ عندي ٣ كتب و١٢ قلماً.
שלום לכולם, מה שלומכם היום? יש לי 3 ספרים ו-12 עטים.
नमस्ते, आप कैसे हैं? मेरे पास ३ किताबें और १२ कलम हैं। हिन्दी में क़लम लिखिए।
আমি বাংলায় গান গাই, আমার কাছে ৩টি বই আছে।
ਮੇਰੇ ਕੋਲ ੩ ਕਿਤਾਬਾਂ ਹਨ। તમે કેમ છો? ମୁଁ ଭଲ ଅଛି।
வணக்கம், நீங்கள் எப்படி இருக்கிறீர்கள்? என்னிடம் 3 புத்தகங்கள் உள்ளன.
నమస్కారం, మీరు ఎలా ఉన్నారు? ನಮಸ್ಕಾರ, ಹೇಗಿದ್ದೀರಿ? നമസ്കാരം, സുഖമാണോ? ආයුබෝවන්, කොහොමද?
สวัสดีครับ วันนี้อากาศดีมาก ผมมีหนังสือ ๓ เล่ม ສະບາຍດີ ຂ້ອຍມີປື້ມ ໓ ຫົວ
មានមនុស្សជាច្រើនកំពុងអាន ៣ សៀវភៅ။ မင်္ဂလာပါ၊ နေကောင်းလား။ བཀྲ་ཤིས་བདེ་ལེགས།
გამარჯობა, როგორ ხარ? Բարեւ, ինչպե՞ս ես: ሰላም፣ እንዴት ነህ? ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ
今天天气很好，我们去公园散步吧。价格是３５.５元，不是“免费”的！《红楼梦》第〇三回。
吾輩は猫である。名前はまだ無い。カタカナとひらがな、ﾊﾝｶｸも１２３個あります。
안녕하세요, 오늘 날씨가 참 좋네요. 책 3권이 있습니다. ㅋㅋㅋ
Xin chào, hôm nay trời đẹp quá; tôi có 3 quyển sách. Tiếng Việt có nhiều dấu: Cửa Việt.
İstanbul'da ığdır çayı içtik; ŞİİR ve ÖĞÜT. Zażółć gęślą jaźń, příliš žluťoučký kůň.
😀😃 👩‍👩‍👧‍👦 family, 👍🏽 ok, 🏳️‍🌈🇩🇪🇨🇳 ❤️‍🔥 #️⃣ 1️⃣ 🦙🦙 (emoji) ✅ ☕︎
∑_{i=1}^{n} x² ≤ ∫₀^∞ e^{-x²} dx ⇒ √π/2 ≈ 0.886; H₂O, ½ + ⅓, Ⅻ, ①②③, ™ © ® £ ¥ ₹ ₿
""".splitlines()

CODE = """\
def fib(n: int) -> int:\n    \"\"\"Fibonacci.\"\"\"\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n
#include <vector>\nint main() {\n\tstd::vector<int> v{1, 2, 3};\n\tfor (auto &x : v) x *= 2;\r\n\treturn v[0] == 2 ? 0 : -1;\r\n}\n
SELECT u.id, COUNT(*) AS n FROM users u LEFT JOIN orders o ON o.user_id=u.id WHERE u.name LIKE '%a''b%' GROUP BY 1;\n
{"messages":[{"role":"user","content":"Hi\\u00e9\\n"}],"temperature":0.7,"tools":null,"x":[1,2.5e-3,-0]}\n
<div class="a b"><p>Don&#39;t &amp; won't</p><!-- comment --></div>\n
const f = async (x) => { if (x !== null && x?.y) { return `${x.y}`; } };  // TODO: camelCase HTTPServer XMLHttpRequest2\n
```bash\nfor i in $(seq 1 10); do echo "$i" | tee -a /tmp/log_$i.txt >> out; done\n```\n| a | b |\n|---|---|\n
""".split("\n\n")

ADDED = [  # content, special, normalized, single_word, lstrip, rstrip
    ("<|endoftext|>", True, False, False, False, False),
    ("<|im_start|>", True, False, False, False, False),
    ("<|im_end|>", True, False, False, False, False),
    ("<|im", False, False, False, False, False),
    ("<think>", False, False, False, False, False),
    ("</think>", False, False, False, False, False),
    ("<｜User｜>", False, True, False, False, False),
    ("<｜Assistant｜>", False, True, False, False, False),
    ("[MASK]", True, False, False, True, False),
    ("[SEP]", True, False, False, True, True),
    ("whole", False, False, True, False, False),
    ("é!", False, True, False, False, False),
    ("   ", False, True, False, False, False),
]


def unassigned(rng):
    ranges = [(0x378, 0x379), (0x7fb, 0x7fc), (0xe80, 0xe80), (0x2fe0, 0x2fef), (0x1bca4, 0x1bcff), (0x2ffff, 0x2ffff),
              (0xe0080, 0xe00ff), (0xfdd0, 0xfdef), (0x10ffff, 0x10ffff), (0x31350, 0x3347f), (0x1e4d0, 0x1e4f9),
              (0x11f00, 0x11f59), (0x1fa70, 0x1faff), (0x105c0, 0x105f3), (0x1c89, 0x1c8a), (0xa7cb, 0xa7dc)]
    return chr(rng.randint(*rng.choice(ranges)))


def code_point(rng):
    while True:
        c = rng.choice([rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x3100), rng.randrange(0x11000),
                        rng.randrange(0x30000), rng.randrange(0x110000)])
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


SPACES = ["\t", "\n", "\r", "\r\n", " ", "  ", "\u00a0", "\u2003", "\u3000", "\u0085", "\u2028", "\x0b", "\x0c", "\x1c",
          "\u180e", "\u200b", "\ufeff"]
MARKS = ["\u0301", "\u0308", "\u0323", "\u0327", "\u0345", "\u093c", "\u094d", "\u3099", "\u0338", "\u1ab0", "\u1df6",
         "\u0334", "\u05b0", "\u0711", "\u20dd", "\ufe0f", "\u1e08f", "\u1715", "\u11a8", "\u1161", "\u0344", "\u0e38"]
RUNS = ["a", "A", " ", "\n", "\t", "啊", "あ", "👩‍👩‍👧 ", "!", "'", "1", "١", "́", "é", "=", "-", "가", "\u3000", "_", "'s",
        "aA", "<", "\r\n", "ﷺ", "\x00", "ö", " a", "Ǆ", "ſ", "ı"]


def pieces(rng, natural):
    """One random string."""
    kind = rng.randrange(14)
    if kind <= 3:
        text = rng.choice(natural)
        start = rng.randrange(max(1, len(text) - 40))
        return text[start:start + rng.randint(1, 120)]
    if kind == 4:
        text = rng.choice(CODE)
        start = rng.randrange(max(1, len(text) - 20))
        return text[start:start + rng.randint(1, 90)]
    if kind == 5:
        return "".join(code_point(rng) for _ in range(rng.randint(1, 12)))
    if kind == 6:  # base letters with marks
        return "".join(rng.choice(rng.choice(natural)) + "".join(rng.choices(MARKS, k=rng.randint(0, 4)))
                       for _ in range(rng.randint(1, 8)))
    if kind == 7:
        return "".join(rng.choice([rng.choice(SPACES), rng.choice(SPACES), rng.choice("aZ1.,'é中")])
                       for _ in range(rng.randint(1, 12)))
    if kind == 8:
        return "".join(rng.choice([unassigned(rng), code_point(rng), " ", "a", "1", "."]) for _ in range(rng.randint(1, 8)))
    if kind == 9:
        run = rng.choice(RUNS)
        return rng.choice(["", "x", " ", "1"]) + run * rng.choice([1, 2, 3, 4, 7, 15, 16, 17, 33]) + rng.choice(["", "y", "\n", "."])
    if kind == 10:
        apostrophes = ["'s", "'S", "'ſ", "'t", "'RE", "'ve", "'Ve", "'m", "'LL", "'ll", "'d", "'D", "'x", "’s", "''s", "'ſa", "'lL"]
        return "".join(rng.choice(["I", "we", " you", "ABC", "1", "é", "中", " ", "", "\n"]) + rng.choice(apostrophes)
                       for _ in range(rng.randint(1, 5))) + rng.choice(["", "a", " b"])
    if kind == 11:
        return "".join(rng.choice(["12", "3", "١٢٣", "½", "Ⅷ", "１２", "1234567", ".", ",", " ", "a", "第"]) for _ in range(rng.randint(1, 8)))
    words = ["aB", "Ab", "ABc", "ab", "中文", "ʰA", "AʰB", "Ǆx", "ー", "々〇", "⼀", "가나", "ß", "ÅB", "e\u0301A", "\u0301", "HTTPServer",
             "iPhone", " ", " ", ".", "/", "\n", "-", "_", "1", "'s", "ﬁ", "ª", "ªB", "ͅ", "𝐀", "𝐚", "𝟏", "🄰", "㊀", "〩"]
    return "".join(rng.choice(words) for _ in range(rng.randint(1, 9)))


def special_text(rng, natural, names):
    out = ""
    for _ in range(rng.randint(1, 5)):
        out += rng.choice(["", " ", "\n", "  ", "\u00a0\n"])
        name = rng.choice(names)
        out += rng.choice([name, name, name, name[:-1], name[1:], name.upper(), "<" + name, name[:2] + name])
        out += rng.choice(["", " ", "\n", "a", "   ", pieces(rng, natural)[:20]])
    return out


def make_texts(seed, count, names, more=(), longest=None):
    """`count` strings, the same for the same arguments, cut to `longest` characters."""
    rng = random.Random(seed)
    natural = list(SENTENCES) * 3 + list(more)
    texts = ["", " ", "\n", "a", "é", "e\u0301", "中"] + SENTENCES + CODE
    while len(texts) < count:
        texts.append(special_text(rng, natural, names) if rng.randrange(7) == 0 else pieces(rng, natural))
    return [t[:longest] for t in texts[:count]]


# ---- reference tokenizers

def bpe_json(vocab, merges, family, added, ignore_merges=None):
    """A tokenizer.json of this family as a dict."""
    pre, nfc, ignore = FAMILIES[family]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges,
                                     ignore_merges=ignore if ignore_merges is None else ignore_merges))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [
        {"id": id, "content": c, "single_word": s, "lstrip": l, "rstrip": r, "normalized": n, "special": sp}
        for id, (c, sp, n, s, l, r) in added]
    return content


class HuggingFace:
    def __init__(self, content):
        self.parsing = Tokenizer.from_str(json.dumps(content))
        self.plain = Tokenizer.from_str(json.dumps({**content, "added_tokens": []}))
        self.names = [t["content"] for t in content["added_tokens"]]

    def encode(self, texts, special):
        tokenizer = self.parsing if special else self.plain
        return [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


class Tiktoken:
    def __init__(self, ranks, pattern, special):
        self.encoding = tiktoken.Encoding("reference", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        self.names = list(special)

    def encode(self, texts, special):
        if special:
            return [self.encoding.encode(t, allowed_special="all") for t in texts]
        return [self.encoding.encode_ordinary(t) for t in texts]


def write_kimi_folder(folder, ranks, named):
    """tiktoken.model and tokenizer_config.json; returns the reference. `named`: offset behind the ranks -> content."""
    base = len(ranks)
    with open(folder / "tiktoken.model", "wb") as f:
        for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
            f.write(base64.b64encode(token) + b" %d\n" % rank)
    decoder = {str(base + i): {"content": c, "lstrip": False, "normalized": False, "rstrip": False,
                               "single_word": False, "special": not c.startswith("<think")}
               for i, c in named.items()}
    config = {"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder": decoder, "bos_token": "[BOS]",
              "eos_token": "[EOS]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False))
    special = {named.get(i, f"<|reserved_token_{base + i}|>"): base + i for i in range(256)}
    return Tiktoken(ranks, KIMI, special)


KIMI_NAMES = {0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>", 9: "[EOT]",
              10: "<|im_system|>", 11: "<|tool_calls_section_begin|>", 17: "<|im_middle|>", 22: "<think>", 23: "</think>",
              254: "[UNK]", 255: "[PAD]"}


def read_ranks(path):
    import zstandard
    text = zstandard.ZstdDecompressor().stream_reader(open(path, "rb")).read()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in text.splitlines() if line)}


def gguf_family(path, family):
    """The tokenizer.json that a GGUF vocabulary stands for; added tokens are neither stripped nor normalized."""
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    vocab = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind == 1}
    added = [(i, (t, kind == 3, kind == 4, False, False, False)) for i, (t, kind) in enumerate(zip(tokens, types))
             if kind in (3, 4) and t != f"[PAD{i}]"]
    return bpe_json(vocab, merges, family, added)


def read_merges(path):
    lines = path.read_text(encoding="utf-8").split("\n")
    return [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def real_families(data, work):
    """Yields (name, folder or file for the program, reference)."""
    def folder(name):
        path = work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def hf(name, content):
        path = folder(name)
        (path / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False))
        return name, path, HuggingFace(content)

    yield "nano", ROOT / "models/nano", HuggingFace(json.loads((ROOT / "models/nano/tokenizer.json").read_text()))
    qwen2 = json.loads(gzip.open(data / "qwen2/tokenizer.json.gz").read())
    yield hf("qwen2", qwen2)
    yield hf("deepseek-v3", json.loads(gzip.open(data / "deepseek-v3/tokenizer.json.gz").read()))

    path = folder("qwen3")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"):
        shutil.copy(data / "qwen3" / name, path / name)
    vocab, merges = json.loads((path / "vocab.json").read_text()), read_merges(path / "merges.txt")
    decoder = json.loads((path / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    added = [(int(i), (t["content"], t["special"], t["normalized"], t["single_word"], t["lstrip"], t["rstrip"]))
             for i, t in decoder.items()]
    yield "qwen3", path, HuggingFace(bpe_json(vocab, merges, "qwen2", added))
    yield hf("qwen35-pattern", bpe_json(vocab, merges, "qwen35", added))
    yield hf("seed-pattern", bpe_json(vocab, merges, "seed-coder", added))
    yield hf("generic-pattern", bpe_json(vocab, merges, "generic", added))

    vocab, merges = json.loads((data / "llama3/encoder.json").read_text()), read_merges(data / "llama3/vocab.bpe")
    named = {0: "<|begin_of_text|>", 1: "<|end_of_text|>", 4: "<|finetune_right_pad_id|>", 6: "<|start_header_id|>",
             7: "<|end_header_id|>", 8: "<|eom_id|>", 9: "<|eot_id|>", 10: "<|python_tag|>"}
    added = [(128000 + i, (named.get(i, f"<|reserved_special_token_{i}|>"), True, False, False, False, False))
             for i in range(256)]
    yield hf("llama3", bpe_json(vocab, merges, "llama-bpe", added))
    yield hf("llama4-pattern", bpe_json(vocab, merges, "llama4", added))
    yield hf("gpt2-pattern", bpe_json(vocab, merges, "gpt-2", added))
    for family in ("deepseek-llm", "deepseek-coder"):
        content = gguf_family(data / f"ggml-vocab/ggml-vocab-{family}.gguf", family)
        yield hf(family, content)
        yield f"{family}.gguf", data / f"ggml-vocab/ggml-vocab-{family}.gguf", HuggingFace(content)
    for name in ("llama3", "qwen2", "deepseek_v3"):
        path = folder(f"kimi-{name}-ranks")
        ranks = read_ranks(data / f"tiktoken-ranks/{name}.tiktoken.zst")
        ranks = {token: i for i, token in enumerate(sorted(ranks, key=ranks.get))}
        yield f"kimi-{name}-ranks", path, write_kimi_folder(path, ranks, KIMI_NAMES)


def compare(args):
    bad = 0
    extra = [json.loads(line) for file in args.texts for line in open(file, encoding="utf-8")]
    args.work.mkdir(parents=True, exist_ok=True)
    for name, model, reference in real_families(args.data, args.work):
        if args.families and name not in args.families.split(","):
            continue
        texts = make_texts(name, args.count, reference.names, extra)
        lines = args.work / "lines.jsonl"
        lines.write_text("".join(json.dumps(t) + "\n" for t in texts))
        for special in (True, False):
            command = args.program.split() + ["tokenize", str(model), "--lines", str(lines)]
            run = subprocess.run(command + ([] if special else ["--no-special"]), capture_output=True, text=True)
            if run.returncode:
                print(f"{name}: {run.stderr.strip()}")
                bad += 1
                break
            got = [json.loads(line) for line in run.stdout.splitlines()]
            wanted = reference.encode(texts, special)
            wrong = [i for i in range(len(texts)) if i >= len(got) or got[i] != wanted[i]]
            bad += len(wrong)
            print(f"{name}: {len(texts)} strings, special tokens {'parsed' if special else 'plain'}: "
                  f"{len(wrong)} mismatches", flush=True)
            for i in wrong[:3]:
                print(f"  {texts[i]!r}\n    wanted {wanted[i]}\n    got    {got[i] if i < len(got) else None}")
    return 1 if bad else 0


# ---- goldens

def train(family):
    """A vocabulary of 256 bytes and 1,000 merges, from the sentences above and this repository's sources."""
    pre, nfc, _ = FAMILIES[family]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    corpus = SENTENCES * 8 + CODE + [p.read_text(encoding="utf-8") for p in sorted((ROOT / "src/text").glob("b*.cpp"))]
    trainer = trainers.BpeTrainer(vocab_size=1256, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def write_ids(path, texts, reference):
    lines = []
    for parsed, plain in zip(reference.encode(texts, True), reference.encode(texts, False)):
        line = " ".join(map(str, parsed))
        lines.append(line if parsed == plain else line + "|" + " ".join(map(str, plain)))
    path.write_text("\n".join(lines) + "\n")


def golden(_):
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    names = [t[0] for t in ADDED] + ["[BOS]", "[EOS]", "<|reserved_token_1300|>"]
    texts = make_texts("goldens", 1000, names, longest=25)
    dump = lambda value: json.dumps(value, ensure_ascii=True)
    (GOLDEN / "texts.jsonl").write_text("".join(dump(t) + "\n" for t in texts))
    for family in FAMILIES:
        folder = GOLDEN / family
        folder.mkdir()
        vocab, merges = train(family)
        added = list(enumerate(ADDED, start=len(vocab)))
        if family == "kimi-k2":
            alphabet = {c: b for b, c in tiktoken_alphabet().items()}
            ranks = {bytes(alphabet[c] for c in token): id for token, id in vocab.items()}
            # tiktoken leaves it to chance which of two special tokens matches where one begins with the other.
            named = {**{i: t[0] for i, t in enumerate(ADDED) if t[0] != "<|im"}, 20: "[BOS]", 21: "[EOS]"}
            reference = write_kimi_folder(folder, ranks, named)
        else:
            content = bpe_json(vocab, merges, family, added)
            if family in ("gpt-2", "deepseek-v3"):  # the older spelling of merges
                content["model"]["merges"] = [" ".join(m) for m in merges]
            (folder / "tokenizer.json").write_text(
                json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
            reference = HuggingFace(content)
        write_ids(folder / "ids.txt", texts, reference)
    nano = HuggingFace(json.loads((ROOT / "models/nano/tokenizer.json").read_text()))
    (GOLDEN / "nano").mkdir()
    texts = make_texts("nano", 3000, nano.names, longest=23)
    (GOLDEN / "nano/texts.jsonl").write_text("".join(dump(t) + "\n" for t in texts))
    write_ids(GOLDEN / "nano/ids.txt", texts, nano)


def timed_reference(folder):
    """(name, load): load() makes a new function from text to an encoding, the reference's fastest."""
    if (folder / "tiktoken.model").exists():
        lines = (folder / "tiktoken.model").read_bytes().splitlines()
        ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
        special = {f"<|reserved_token_{len(ranks) + i}|>": len(ranks) + i for i in range(256)}
        return "tiktoken", lambda: Tiktoken(ranks, KIMI, special).encoding.encode_ordinary
    def load():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return lambda text: tokenizer.encode_batch_fast([text], add_special_tokens=False)
    return "tokenizers", load


def reference_speed(load, text):
    """MB/s of `text` whole and in documents, by a new tokenizer: no earlier text has filled its cache."""
    encode = load()
    size = len(text.encode())
    step = 10000 * len(text) // size  # characters in 10 kB
    speeds = []
    for parts in ([text], [text[i:i + step] for i in range(0, len(text), step)]):
        seconds = []
        for _ in range(3):
            start = time.process_time()
            for part in parts:
                encode(part)
            seconds.append(time.process_time() - start)
        speeds.append(size / min(seconds) / 1e6)
    return speeds


def time_both(args):
    """Interleaved, so that a busy machine matters to both; processor time, for the same reason."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = [file.read_bytes().decode() for file in args.files]
    samples = {}
    for _ in range(args.rounds):
        for folder in args.folder:
            run = subprocess.run([args.program, str(folder), *map(str, args.files)], capture_output=True, text=True,
                                 check=True)
            name, load = timed_reference(folder)
            for file, text, figures in zip(args.files, texts, map(json.loads, run.stdout.splitlines()[1:])):
                ours = [figures["mb_per_s"], figures["mb_per_s_in_documents"]]
                row = samples.setdefault((folder.name, file.stem, name), [])
                row.append([*ours, *reference_speed(load, text)])
    print("| vocabulary | text | reference | whole: sampan | reference | ratio | documents: sampan | reference | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (folder, file, name), rows in samples.items():
        cells = [folder, file, name]
        for i in (0, 1):  # whole, in documents
            ours, reference = [row[i] for row in rows], [row[i + 2] for row in rows]
            ratios = [a / b for a, b in zip(ours, reference)]
            cells += [f"{statistics.median(ours):.1f}", f"{statistics.median(reference):.2f}",
                      f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"]
        print("| " + " | ".join(cells) + " |", flush=True)


def tiktoken_alphabet():
    """byte -> character of the GPT-2 byte alphabet"""
    own = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("compare")
    command.add_argument("--data", type=Path, required=True)
    command.add_argument("--work", type=Path, required=True)
    command.add_argument("--program", required=True)
    command.add_argument("--count", type=int, default=20000)
    command.add_argument("--families")
    command.add_argument("--texts", action="append", default=[])
    command.set_defaults(run=compare)
    commands.add_parser("golden").set_defaults(run=golden)
    command = commands.add_parser("time")
    command.add_argument("--program", required=True)
    command.add_argument("--folder", type=Path, action="append", required=True)
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("files", type=Path, nargs="+")
    command.set_defaults(run=time_both)
    args = parser.parse_args()
    sys.exit(args.run(args))


if __name__ == "__main__":
    main()
