#!/usr/bin/env python3
"""What each block type costs in quality: quantises a model to every type and measures perplexity and divergence from it.

    python3 tools/quality_of_types.py build/release/apps/sampan/sampan nano models/nano/heldout.txt --output bench/results/NAME.md
    …  --calibrate OTHER.txt      each type a second time, its errors weighed by what the model's columns see in that text, and a third
                               time, compensated as well

Standard library only.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import tempfile

TYPES = ["Q8_0", "Q6_K", "Q5_1", "Q5_0", "Q5_K", "Q4_1", "Q4_K", "IQ4_NL", "Q4_0", "IQ4_XS", "MXFP4", "Q3_K", "Q2_K"]


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def row(options, name, model, size):
    command = [options.binary, "perplexity", model, "--file", options.text, "--against", options.model, "--json"]
    result = json.loads(run(*command))
    d = result["divergence"]
    cells = (
        name,
        f"{size / 1e6:.2f}",
        f"{result['perplexity']:.4f}",
        f"{d['mean']:.5f}",
        f"{d['percentile_99']:.4f}",
        f"{d['highest']:.3f}",
        f"{100 * d['same_top']:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--calibrate", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    plain = json.loads(run(options.binary, "perplexity", options.model, "--file", options.text, "--json"))
    lines = [
        f"`{pathlib.Path(options.model).name}` as published: perplexity {plain['perplexity']:.4f} over {plain['scored_tokens']} tokens. Divergence in nats a token.",
        "",
        "| type | MB | perplexity | mean divergence | 99th percentile | highest | same first choice, % |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        ways = [("", [])]
        if options.calibrate:
            ways.append((", calibrated", ["--calibrate", options.calibrate]))
            ways.append((", compensated", ["--calibrate", options.calibrate, "--compensate"]))
        for name, (suffix, arguments) in itertools.product(TYPES, ways):
            output = pathlib.Path(folder) / f"{name}.gguf"
            run(options.binary, "quantize", options.model, "--to", name, "--output", output, *arguments)
            line = row(options, name + suffix, output, output.stat().st_size)
            lines.append(line)
            print(line, flush=True)
            output.unlink()
    text = "\n".join([*lines, ""])
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
