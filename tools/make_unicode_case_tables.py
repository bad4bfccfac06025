#!/usr/bin/env python3
"""Writes src/text/jinja/unicode_tables.h: what Python's str methods know of characters and utf8proc does not.

Needs Python only (any version from 3.9). Run from the checkout: python3 tools/make_unicode_case_tables.py
"""

import pathlib
import unicodedata

TARGET = pathlib.Path(__file__).parent.parent / "src/text/jinja/unicode_tables.h"


def assigned():
    for code in range(0x110000):
        if not 0xD800 <= code <= 0xDFFF and unicodedata.category(chr(code)) != "Cn":
            yield code, chr(code), unicodedata.category(chr(code))


def ranges(codes):
    out = []
    for code in codes:
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return out


def range_table(name, comment, codes):
    rows = ", ".join(f"{{0x{a:X}, 0x{b:X}}}" for a, b in ranges(codes))
    return f"// {comment}\ninline constexpr CodeRange {name}[] = {{{rows}}};\n"


def case_table(name, comment, pairs):
    rows = ", ".join(
        f'{{0x{code:X}, U"' + "".join(f"\\U{ord(c):08X}" for c in text) + '"}' for code, text in pairs
    )
    return f"// {comment}\ninline constexpr LongCase {name}[] = {{{rows}}};\n"


def main():
    chars = list(assigned())
    parts = [
        "#pragma once\n\n// Made by tools/make_unicode_case_tables.py from Python's unicodedata; do not edit.\n\n"
        "namespace sampan::jinja {\n\n"
        "struct CodeRange {\n  char32_t first;\n  char32_t last;\n};\n\n"
        "struct LongCase {\n  char32_t code;\n  const char32_t* text;\n};\n",
        case_table("kLongUpper", "Characters whose upper case has several characters.",
                   [(n, c.upper()) for n, c, _ in chars if len(c.upper()) > 1]),
        case_table("kLongTitle", "Characters whose title case has several characters.",
                   [(n, c.title()) for n, c, _ in chars if len(c.title()) > 1]),
        range_table("kOtherLower", "Lower case (str.islower) outside category Ll.",
                    [n for n, c, k in chars if c.islower() and k != "Ll"]),
        range_table("kOtherUpper", "Upper case (str.isupper) outside category Lu.",
                    [n for n, c, k in chars if c.isupper() and k != "Lu"]),
        range_table("kOtherDigit", "Digits (str.isdigit) outside category Nd.",
                    [n for n, c, k in chars if c.isdigit() and k != "Nd"]),
        range_table("kOtherNumeric", "Numeric characters (str.isnumeric) outside categories Nd, Nl, No.",
                    [n for n, c, k in chars if c.isnumeric() and k not in ("Nd", "Nl", "No")]),
        "}  // namespace sampan::jinja\n",
    ]
    TARGET.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
