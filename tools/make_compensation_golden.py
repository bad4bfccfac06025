#!/usr/bin/env python3
"""Makes tests/data/compensation/: rows of Q4_0 whose roundings make up for each other, by the definition.

Needs numpy only. Run from anywhere: tools/make_compensation_golden.py [--check]

Optimal brain quantisation with a fixed order (Frantar et al. 2022, arXiv 2210.17323, section 3.1), in double: after a column is
rounded, the columns that are left take the values that make the change of the products least, by the inverse of the moments that
are left. From the last column to the first. A block's scale is that of GGUF's plain rounding of what its columns are to be when its
turn comes. Little-endian:

  moments.f32   (columns, columns) H
  rows.f32      (rows, columns)
  rows.q4_0     (rows, columns / 32) blocks of 18 bytes
"""

import argparse
import itertools
import pathlib
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "compensation"
COLUMNS, ROWS, BLOCK = 64, 12, 32
DAMPING = 0.01  # Compensation::kDamping
MARGIN = 5e-4  # steps that no value may be from halfway, so that floats agree with doubles


class NearTie(Exception):
    pass


def q4_0_scale(values):
    extreme = values[np.argmax(np.abs(values))]
    return np.float32(np.float32(extreme) / np.float32(-8))


def compensated_row(row, inverse):
    """Bytes of a row. inverse: of the damped moments of all columns."""
    values, inverse, blocks = row.copy(), inverse.copy(), []
    for first in range(COLUMNS - BLOCK, -1, -BLOCK):
        seen = values[first : first + BLOCK].copy()
        exact = q4_0_scale(seen)
        scale, codes = np.float16(exact), np.zeros(BLOCK, dtype=int)
        for i in reversed(range(BLOCK)):
            column = first + i
            # What nothing has changed since is rounded as GGUF does, by the scale before it became a half.
            position = values[column] / np.float64(exact if values[column] == seen[i] else scale) + 8
            if abs(position - np.floor(position) - 0.5) < MARGIN:
                raise NearTie
            codes[i] = int(np.clip(np.rint(position), 0, 15))
            error = values[column] - np.float64(scale) * (codes[i] - 8)
            values[:column] -= error / inverse[column, column] * inverse[column, :column]
            rest = inverse[:column, :column] - np.outer(inverse[:column, column], inverse[column, :column]) / inverse[column, column]
            inverse[:column, :column] = rest
        blocks.append(scale.astype("<f2").tobytes() + bytes(int(codes[j] | codes[j + 16] << 4) for j in range(16)))
    return b"".join(reversed(blocks))


def make(seed):
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(200, COLUMNS)) @ random.normal(size=(COLUMNS, COLUMNS)) + 0.5 * random.normal(size=(200, 1))
    inputs[:, 7] = 0  # an input that never is
    inputs[:, 40] *= 30
    moments = (inputs.T @ inputs).astype(np.float32)
    moments = np.tril(moments) + np.tril(moments, -1).T
    rows = random.normal(scale=0.05, size=(ROWS, COLUMNS)).astype(np.float32)
    damped = moments.astype(np.float64)
    damped += DAMPING * np.mean(np.diag(damped)) * np.eye(COLUMNS)
    inverse = np.linalg.inv(damped)
    return {
        "moments.f32": moments.astype("<f4").tobytes(),
        "rows.f32": rows.astype("<f4").tobytes(),
        "rows.q4_0": b"".join(compensated_row(row.astype(np.float64), inverse) for row in rows),
    }


def make_without_ties():
    for seed in itertools.count():
        try:
            return make(seed)
        except NearTie:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check
    FOLDER.mkdir(parents=True, exist_ok=True)
    differing = []
    for name, data in make_without_ties().items():
        path = FOLDER / name
        if not check:
            path.write_bytes(data)
        elif path.read_bytes() != data:
            differing.append(name)
    if differing:
        sys.exit(f"differ: {', '.join(differing)}")


if __name__ == "__main__":
    main()
