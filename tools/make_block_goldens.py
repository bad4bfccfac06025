#!/usr/bin/env python3
"""Makes tests/data/gguf_blocks/: raw blocks of each GGUF type beside the gguf package's values.

    pip install gguf==0.19.0 numpy
    python tools/make_block_goldens.py

  <type>.blocks     raw blocks one after the other: random bytes with finite scales; the first have
                    zero, negative zero, subnormal, smallest, negative and largest scales
  <type>.f32        gguf.quants.dequantize of them, little-endian float32
  input.f32         16 rows of 256 float32: ordinary, tiny, large, zero, constant, tied values …
  <type>.quantized  gguf.quants.quantize of those rows, for the types that the package can quantise
  manifest.json     {"blocks": [{"type", "ggml_type", "block_elements", "block_bytes", "count"}],
                     "input": {"rows", "columns"}, "quantized": [type …]}

Every comparison is to the bit. No value is NaN; F16, BF16 and MXFP4 have infinities.
"""

import json
import pathlib

import gguf
import numpy as np

from oracle import blocks as ggml_blocks

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "gguf_blocks"
QUANTIZABLE = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4"]
ROWS, COLUMNS = 16, 256

# Half-precision bit patterns that trip conversions, each with its negative: zero, the smallest and
# largest subnormal, the smallest normal, one, the largest.
HALVES = np.array([0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF], dtype=np.uint16)
HALVES = np.stack([HALVES, HALVES | 0x8000], axis=1).ravel().view(np.float16)
MXFP4_EXPONENTS = [0, 1, 2, 3, 4, 23, 126, 127, 128, 252, 253, 254, 255]


def block_set(name, rng):
    """Raw blocks of one type."""
    count = 64 if ggml_blocks.block_size(name)[0] == 32 else 40
    raw = ggml_blocks.random_blocks(name, count, rng)
    if name == "MXFP4":
        raw[: len(MXFP4_EXPONENTS), 0] = MXFP4_EXPONENTS
        return raw
    scales = np.exp(rng.uniform(-9, 2, count)) * rng.choice([-1, 1], count)
    minimums = np.exp(rng.uniform(-9, 2, count)) * rng.choice([-1, 1], count)
    scales[: len(HALVES)] = HALVES
    minimums[: len(HALVES)] = np.roll(HALVES, 5)
    ggml_blocks.set_scales(name, raw, scales, minimums)
    return raw


def float_set(name, rng):
    """Bit patterns of a 16-bit float type, every exponent and the borders between them; no NaN."""
    mantissa_bits = {"F16": 10, "BF16": 7}[name]
    exponents = np.arange(2 ** (15 - mantissa_bits), dtype=np.uint32) << mantissa_bits
    top = 2**mantissa_bits - 1
    mantissas = [0, 1, 2, top // 2, top - 1, top, *rng.integers(0, top, 2)]
    bits = np.concatenate([exponents | m for m in mantissas])
    infinity = exponents[-1]
    bits = bits[bits <= infinity]
    bits = np.concatenate([bits, bits | 0x8000, rng.integers(0, infinity, 256)])
    return bits.astype("<u2").view(np.uint8).reshape(-1, 2)


def input_rows(rng):
    """Rows that a quantiser meets, and some that it hopes not to."""
    rows = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    rows[1] *= 0.02
    rows[2] *= 1e-3
    rows[3] *= 1e-7  # scales become subnormal halves, or nothing
    rows[4] *= 100.0
    rows[5] = np.abs(rows[5])
    rows[6] = -np.abs(rows[6])
    rows[7] = 0.0
    rows[8] = 0.75
    rows[9] = np.tile(np.arange(-16, 16, dtype=np.float32) / 8, COLUMNS // 32)
    rows[10] = np.round(rows[10] * 4) / 4  # ties for the largest magnitude, halves to round
    rows[11, ::32] *= 50.0  # one outlier a block
    rows[12] = rng.uniform(-1, 1, COLUMNS)
    rows[13] = np.where(rng.random(COLUMNS) < 0.9, 0.0, rows[13])
    rows[14] = np.sign(rows[14])
    rows[15] = rng.standard_t(2, COLUMNS)
    return rows


def write_blocks(name, raw):
    """Writes <type>.blocks and <type>.f32; returns the manifest's entry."""
    values = ggml_blocks.dequantize(name, raw)
    if np.isnan(values).any():
        raise SystemExit(f"{name}: a value is not a number")
    (OUTPUT / f"{name}.blocks").write_bytes(raw.tobytes())
    (OUTPUT / f"{name}.f32").write_bytes(values.astype("<f4").tobytes())
    elements, size = ggml_blocks.block_size(name)
    return {
        "type": name,
        "ggml_type": int(ggml_blocks.qtype(name)),
        "block_elements": elements,
        "block_bytes": size,
        "count": len(raw),
    }


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, name in enumerate(ggml_blocks.TYPES):
        entries.append(write_blocks(name, block_set(name, np.random.default_rng(1000 + number))))
    for number, name in enumerate(["F16", "BF16"]):
        entries.append(write_blocks(name, float_set(name, np.random.default_rng(2000 + number))))
    rows = input_rows(np.random.default_rng(3000))
    (OUTPUT / "input.f32").write_bytes(rows.astype("<f4").tobytes())
    for name in QUANTIZABLE:
        raw = gguf.quants.quantize(rows, ggml_blocks.qtype(name))
        (OUTPUT / f"{name}.quantized").write_bytes(raw.tobytes())
    manifest = {
        "blocks": entries,
        "input": {"rows": ROWS, "columns": COLUMNS},
        "quantized": QUANTIZABLE,
    }
    (OUTPUT / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
