#!/usr/bin/env python3
"""Writes src/text/unicode_data.cpp: what the tokenizers need to know of every code point.

The facts are measured from the libraries whose ids Sampan reproduces, not taken from a Unicode file, because each of
them carries a Unicode version of its own:
  - general category, script Han and white space: Hugging Face `tokenizers`' pre-tokenizer patterns (Oniguruma, Unicode
    16 in tokenizers 0.23), and tiktoken's (Rust regex, the same Unicode 16; the script checks that they agree);
  - \\w for the single_word flag of added tokens: Rust regex, through tiktoken;
  - numeric (the Digits pre-tokenizer) and punctuation (Punctuation): tokenizers' Rust code;
  - canonical combining class and NFC quick check: tokenizers' NFC normalizer, whose data are Unicode 9;
  - "newer": code points whose category Unicode 14 (the data of PCRE2 10.42) does not know; patterns that run in PCRE2
    are told of them.

Needs: pip install tokenizers==0.23.* tiktoken==0.14.* ; Python 3.11, whose unicodedata is Unicode 14.
Run:   tools/make_unicode_table.py > src/text/unicode_data.cpp   (about a minute), then clang-format -i it.
"""
import sys
import unicodedata

import tiktoken
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn").split()
BLOCK = 4096
NFC = normalizers.NFC()


def blocks():
    for i in range(0, len(CODE_POINTS), BLOCK):
        yield CODE_POINTS[i:i + BLOCK]


def oniguruma_set(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    found = set()
    for block in blocks():
        kept = {ord(c) for piece, _ in split.pre_tokenize_str("".join(map(chr, block))) for c in piece}
        found.update(c for c in block if c not in kept)
    return found


def tiktoken_set(pattern):
    encoding = tiktoken.Encoding("probe", pat_str=pattern, mergeable_ranks={bytes([i]): i for i in range(256)},
                                 special_tokens={})
    found = set()
    for block in blocks():
        found.update(map(ord, encoding.decode_bytes(encoding.encode_ordinary("".join(map(chr, block)))).decode()))
    return found


def isolated_set(pre_tokenizer):
    return {c for c in CODE_POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) == 3}


def combining_class(c):
    """The class that tokenizers' NFC uses: Python's, unless a lower mark after c does not move in front of it."""
    value = unicodedata.combining(chr(c))
    if value > 1:
        known = NFC.normalize_str("!" + chr(c) + "\u0334") == "!" + NFC.normalize_str("\u0334" + chr(c))
    elif value == 1:
        known = NFC.normalize_str("!\u0315" + chr(c)) == "!" + chr(c) + "\u0315"
    else:
        return 0
    return value if known else 0


def quick_check_fails():
    """Code points that NFC may change or compose with what stands before them (NFC_Quick_Check No or Maybe)."""
    found = {c for c in CODE_POINTS if NFC.normalize_str(chr(c)) != chr(c)}
    for c in CODE_POINTS:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            first, second = (chr(int(p, 16)) for p in parts)
            if NFC.normalize_str(first + second) == chr(c):
                found.add(ord(second))
    found.update(range(0x1161, 0x1176))  # Hangul vowels and final consonants compose by arithmetic
    found.update(range(0x11A8, 0x11C3))
    return found


def main():
    categories = {}
    for name in CATEGORIES:
        if name != "Cs":
            found = oniguruma_set(r"\p{%s}" % name)
            assert found == tiktoken_set(r"\p{%s}" % name), name
            categories.update(dict.fromkeys(found, name))
    assert len(categories) == len(CODE_POINTS)
    han, space = oniguruma_set(r"\p{Han}"), oniguruma_set(r"\s")
    assert han == tiktoken_set(r"\p{Han}") and space == tiktoken_set(r"\s")
    separators = {c for c in CODE_POINTS if categories[c][0] == "Z"}
    assert space == separators | {9, 10, 11, 12, 13, 0x85}
    word = tiktoken_set(r"\w")
    numeric = isolated_set(pre_tokenizers.Digits(individual_digits=True))
    punctuation = isolated_set(pre_tokenizers.Punctuation())
    quick_fails = quick_check_fails()
    ccc = {c: combining_class(c) for c in CODE_POINTS}

    def python_category(c):
        return unicodedata.category(chr(c))

    newer = {c for c in CODE_POINTS if python_category(c) != categories[c]}
    foreign = {c for c in CODE_POINTS if (python_category(c) != categories[c]) or
               (unicodedata.combining(chr(c)) and not ccc[c])}

    def flags(c):
        return sum(bit << i for i, bit in enumerate(
            c in s for s in (han, word, numeric, punctuation, quick_fails, newer, foreign)))

    def record(c):
        if 0xD800 <= c <= 0xDFFF:
            return (CATEGORIES.index("Cs"), 0, 0)
        return (CATEGORIES.index(categories[c]), ccc[c], flags(c))

    records, runs, last = [], [], None
    index = {}
    for c in range(0x110000):
        r = record(c)
        if r not in index:
            index[r] = len(records)
            records.append(r)
        if r == last:
            runs[-1][0] += 1
        else:
            runs.append([1, index[r]])
            last = r
    assert len(records) <= 255, len(records)

    print("// Generated by tools/make_unicode_table.py; do not edit.")
    print('#include "text/unicode_data.h"\n')
    print("namespace sampan::unicode_data {\n")
    print("const Record kRecords[] = {%s};" % ", ".join("{%d, %d, %d}" % r for r in records))
    print("const std::size_t kRecordCount = std::size(kRecords);\n")
    print("const std::uint32_t kRuns[] = {%s};" % ",".join(str(length << 8 | r) for length, r in runs))
    print("const std::size_t kRunCount = std::size(kRuns);\n")
    print("}  // namespace sampan::unicode_data")
    print(len(records), "records,", len(runs), "runs", file=sys.stderr)


if __name__ == "__main__":
    main()
