#!/usr/bin/env python3
"""Measures sampan beside a peer's llama-bench on the same files, interleaved in one run, and writes a table.

    python3 tools/compare_with_peers.py build/release/apps/sampan/sampan --peer ik_llama.cpp=/path/to/llama-bench \\
        --output bench/results/NAME.md model-Q4_0.gguf model-Q8_0.gguf …

Each round runs every program once on a file; figures are medians over the rounds. sampan's line also gives its share of what the
machine can do, measured in the same call. The machine should be otherwise idle. Standard library only.
"""

import argparse
import json
import pathlib
import platform
import re
import statistics
import subprocess


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    fields = {k: re.search(rf"^{k}\s*:\s*(.*)$", text, re.MULTILINE).group(1) for k in ("model name", "cpu family", "model")}
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


def run_sampan(binary, model, options):
    command = [binary, "bench", model, "--json", "--repeats", "1", "--threads", str(options.threads)]
    command += ["--prompt", str(options.prompt), "--generate", str(options.generate)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run_peer(binary, model, options):
    """llama-bench prints one row a test with "pp512" or "tg64" and "value ± deviation" in tokens/s."""
    command = [binary, "-m", model, "-p", str(options.prompt), "-n", str(options.generate), "-t", str(options.threads), "-r", "1"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = lambda test: float(re.search(rf"\|\s*{test}\d+\s*\|\s*([\d.]+)", output).group(1))
    return {"prefill": rate("pp"), "decode": rate("tg")}


def measure(model, peers, options):
    ours, theirs = [], {name: [] for name in peers}
    for _ in range(options.rounds):
        ours.append(run_sampan(options.binary, model, options))
        for name, binary in peers.items():
            theirs[name].append(run_peer(binary, model, options))
    median = lambda rows, key: statistics.median(row[key] for row in rows)
    rows = []
    prefill, decode = median(ours, "prefill_tokens_per_second"), median(ours, "decode_tokens_per_second")
    peak = "peak_float_gmac_per_second" if "bf16" in model.lower() or "f16" in model.lower() else "peak_int8_gmac_per_second"
    rows.append(
        (
            pathlib.Path(model).name,
            "sampan",
            prefill,
            decode,
            f"{median(ours, 'prefill_gmac_per_second'):.0f} GMAC/s, {100 * median(ours, 'prefill_gmac_per_second') / max(r[peak] for r in ours):.0f} %",
            f"{median(ours, 'decode_gb_per_second'):.1f} GB/s, {100 * median(ours, 'decode_gb_per_second') / max(r['peak_read_gb_per_second'] for r in ours):.0f} %",
        )
    )
    for name, results in theirs.items():
        p, d = median(results, "prefill"), median(results, "decode")
        rows.append(("", name, p, d, f"sampan is {prefill / p:.2f}x", f"sampan is {decode / d:.2f}x"))
    return ours[0]["isa"], rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=LLAMA_BENCH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in options.peer)
    lines = []
    isa = ""
    for model in options.models:
        isa, rows = measure(model, peers, options)
        for name, program, prefill, decode, prefill_note, decode_note in rows:
            lines.append(f"| {name} | {program} | {prefill:.1f} | {prefill_note} | {decode:.1f} | {decode_note} |")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    text = "\n".join(
        [
            f"{cpu_name()}, {options.threads} threads, {isa}, Linux {platform.release()}, commit {commit}; medians of {options.rounds} interleaved rounds.",
            f"Prefill of {options.prompt} tokens and decode of {options.generate} tokens from an empty context; shares are of what the machine",
            "did in the same run (int8 or float products; streaming reads).",
            "",
            "| file | program | prefill, tokens/s | | decode, tokens/s | |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)


if __name__ == "__main__":
    main()
