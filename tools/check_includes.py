#!/usr/bin/env python3
"""Checks that #include edges between the folders of src/ point down only (docs/architecture.md), that each header has #pragma once and
that sources of an instruction set include nothing but contracts, intrinsics, their own folder and templates over registers."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# folder: the folders that it may include
ALLOWED = {
    "base": set(),
    "tensor": {"base"},
    "formats": {"base", "tensor"},
    "kernels": {"base", "tensor"},
    "text": {"base", "formats"},
    "hub": {"base"},
    "models": {"base", "tensor", "formats", "kernels"},
    "engine": {"base", "tensor", "kernels", "models"},
    "serve/trace": {"base"},
    "serve/http": {"base", "serve/trace"},
    "serve/host": {"base", "tensor", "formats", "kernels", "text", "models", "engine"},
    "serve/api": {"base", "text", "engine", "serve/trace", "serve/http", "serve/host"},
}
# Libraries that stop at the folders whose business they are.
LIBRARIES = {
    "nlohmann/": {"text", "hub", "models", "serve/trace", "serve/host", "serve/api"},
    "simdjson": {"text", "formats"},
    "curl/": {"hub", "serve/trace"},
    "boost/": {"serve/http"},
    "openssl/": {"hub", "serve/http", "serve/api"},
    "pcre2": {"text"},
    "utf8proc": {"text"},
}
# Compiled for one instruction set, so that no inline function of theirs may be merged with one of plain code: they see declarations, plain
# data and what has internal linkage.
INSTRUCTION_SET = re.compile(r"kernels/(avx2|avxvnni|avx512|neon|i8mm|vectors)/")
CONTRACTS = {
    "kernels/attention_table.h", "kernels/lanes.h", "kernels/math.h", "kernels/matmul_table.h", "kernels/ops_table.h", "kernels/pack_formats.h",
    "kernels/panels.h", "kernels/peaks.h", "kernels/unroll.h", "tensor/blocks.h",
    "immintrin.h", "arm_neon.h", "array", "cstddef", "cstdint", "type_traits",
}
SHARED = ("kernels/vectors/", "kernels/avx2/", "kernels/avxvnni/", "kernels/neon/", "kernels/i8mm/")  # two and two share their products
INCLUDE = re.compile(r'^\s*#include\s+["<]([^">]+)[">]', re.MULTILINE)


def folder_of(path):
    """The folder of the table that a path below src/ lies in, "serve/http" for two levels; None for any other."""
    parts = pathlib.PurePosixPath(path).parts
    for levels in (1, 2):
        folder = "/".join(parts[:levels])
        if folder in ALLOWED and len(parts) > levels:
            return folder
    return None


def problems_of(path):
    text = path.read_text()
    relative = path.relative_to(ROOT / "src").as_posix()
    folder = folder_of(relative)
    instruction_set = INSTRUCTION_SET.match(relative)
    if path.suffix == ".h" and "#pragma once" not in text:
        yield "no #pragma once"
    for include in INCLUDE.findall(text):
        target = folder_of(include)
        if target is not None and target != folder and target not in ALLOWED[folder]:
            yield f"includes {include}, but {folder}/ may include {', '.join(sorted(ALLOWED[folder])) or 'nothing'}"
        if instruction_set and include not in CONTRACTS and not include.startswith((instruction_set[0], *SHARED)):
            yield f"includes {include}, which is not a contract for sources of one instruction set"
        for library, folders in LIBRARIES.items():
            if include.startswith(library) and folder not in folders:
                yield f"includes {include}, which stops at {', '.join(sorted(folders))}"


def main():
    found = 0
    for path in sorted((ROOT / "src").rglob("*")):
        if path.suffix not in (".h", ".cpp"):
            continue
        if folder_of(path.relative_to(ROOT / "src")) is None:
            print(f"{path.relative_to(ROOT)}: folder is not in the table of tools/check_includes.py")
            found += 1
            continue
        for problem in problems_of(path):
            print(f"{path.relative_to(ROOT)}: {problem}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
