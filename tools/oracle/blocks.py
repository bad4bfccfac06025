"""Random raw blocks of GGUF's quantised types. Needs numpy and gguf."""

import gguf
import numpy as np

TYPES = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()

# Byte offset of the half-precision scale, and of the half-precision minimum where there is one.
SCALE_AT = {"Q2_K": 80, "Q3_K": 108, "Q6_K": 208}  # the others begin with it
MINIMUM_AT = {"Q4_1": 2, "Q5_1": 2, "Q2_K": 82, "Q4_K": 2, "Q5_K": 2}

# Minimum over scale that makes random blocks of the type average to about nothing; the types whose
# minimum is added have a negative one.
BALANCE = {"Q4_1": -7.5, "Q5_1": -15.5, "Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5}


def qtype(name):
    """The gguf package's type of this name."""
    return gguf.GGMLQuantizationType[name]


def block_size(name):
    """(elements, bytes) of a block."""
    return gguf.GGML_QUANT_SIZES[qtype(name)]


def _put_half(blocks, offset, values):
    halves = np.asarray(values).astype("<f2")
    blocks[:, offset : offset + 2] = halves.reshape(-1, 1).view(np.uint8)


def set_scales(name, blocks, scales, minimums):
    """Overwrites the scale (and minimum) of each block (n, bytes) in place; MXFP4 has none."""
    _put_half(blocks, SCALE_AT.get(name, 0), scales)
    if name in MINIMUM_AT:
        _put_half(blocks, MINIMUM_AT[name], minimums)


def random_blocks(name, count, rng):
    """`count` blocks of random bytes, as (count, bytes) uint8; scales may be anything."""
    return rng.integers(0, 256, (count, block_size(name)[1]), dtype=np.uint8)


def dequantize(name, blocks):
    """The gguf package's values of blocks (n, bytes): float32 (n, elements)."""
    with np.errstate(over="ignore"):
        return gguf.quants.dequantize(blocks, qtype(name))


def random_weights(name, rows, columns, std, rng):
    """A random matrix of about this standard deviation: (rows, bytes) uint8."""
    elements, size = block_size(name)
    blocks = random_blocks(name, rows * columns // elements, rng)
    if name == "MXFP4":
        blocks[:, 0] = 127 + round(np.log2(std / 3.0))
    else:
        unit = np.full(len(blocks), 2.0**-6)  # a scale without rounding, to measure the spread by
        set_scales(name, blocks, unit, unit * BALANCE.get(name, 0.0))
        unit *= std / dequantize(name, blocks).std()
        set_scales(name, blocks, unit, unit * BALANCE.get(name, 0.0))
    return blocks.reshape(rows, columns // elements * size)
